"""The table of every setting: its name, default, parser, whether it is a secret, and what it means.

It is the one list that loading, the redacted listing, .env.example and the documents are held against; it
knows nothing of how values are combined.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.config import dsn, parse
from service.config.parse import Parser


@dataclass(frozen=True, slots=True)
class Option:
    """One setting. Defaults are written as a person would write them, and go through the same parser.

    `shown` is the attribute of Config whose value a listing shows; None for a part that goes into another.
    """

    name: str
    default: str | None
    parse: Parser
    meaning: str
    secret: bool = False
    in_production: str | None = None  # the default there, where it differs
    shown: str | None = ""

    def default_in(self, environment: str) -> str | None:
        return self.in_production if self.in_production and environment == "production" else self.default

    @property
    def attribute(self) -> str | None:
        return self.name.lower() if self.shown == "" else self.shown


DAY_S = 86_400
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - a platform's router reaches the process from outside
_LIFETIME = parse.seconds(1, 30 * DAY_S)
_DEADLINE = parse.seconds(0.1, 600)


def _secret(name: str, parser: Parser, meaning: str) -> Option:
    return Option(name, None, parser, meaning, secret=True)


OPTIONS = (
    Option("ENVIRONMENT", "development", parse.one_of("development", "production"), "where this runs"),
    Option("HOST", "127.0.0.1", parse.text, "address to listen on", in_production=EVERY_ADDRESS),
    Option("PORT", "8080", parse.whole(0, 65535), "port to listen on; 0 takes any free one"),
    Option(
        "DATABASE_URL",
        None,
        dsn.url,
        "postgresql:// URL, with several hosts and sslmode if need be; wins over DB_HOST and its sisters; "
        "neither, in development: an embedded server",
        secret=True,
        shown="database.where",
    ),
    Option("DB_HOST", "localhost", dsn.hosts, "host, several, or a socket's directory", shown=None),
    Option("DB_PORT", "5432", parse.whole(1, 65535), "port of the hosts that name none", shown=None),
    Option("DB_NAME", None, parse.text, "database", shown=None),
    Option("DB_USER", "postgres", parse.text, "user", shown=None),
    Option("DB_PASSWORD", None, parse.text, "password, without any encoding", secret=True, shown=None),
    Option("DB_POOL_MIN", "5", parse.whole(0, 1000), "connections kept warm", shown="database.pool_min"),
    Option("DB_POOL_MAX", "20", parse.whole(1, 1000), "most connections", shown="database.pool_max"),
    Option("DB_POOL_SIZE", "5", parse.whole(1, 1000), "older spelling of DB_POOL_MIN", shown=None),
    Option("DB_MAX_OVERFLOW", "15", parse.whole(0, 1000), "with DB_POOL_SIZE: DB_POOL_MAX", shown=None),
    Option("DB_COMMAND_TIMEOUT", "30", _DEADLINE, "seconds per statement", shown="database.command_timeout"),
    Option(
        "DB_ACQUIRE_TIMEOUT",
        "5",
        _DEADLINE,
        "seconds to wait for one, half of DOOR_TIMEOUT at most",
        shown="database.acquire_timeout",
    ),
    Option(
        "DB_POOLER",
        "none",
        parse.one_of("none", "pgbouncer"),
        "what stands between; pgbouncer in transaction mode",
        shown="database.pooler",
    ),
    Option("DOOR_TIMEOUT", "5", _DEADLINE, "seconds one update or callback may take in all"),
    Option("MIGRATE_ON_START", "on", parse.switch, "apply pending migrations at start", in_production="off"),
    _secret("TELEGRAM_BOT_TOKEN", parse.bot_token, "from @BotFather; none in development: the sandbox"),
    _secret("TELEGRAM_WEBHOOK_SECRET", parse.webhook_secret, "what Telegram sends back with every update"),
    Option("TELEGRAM_API_BASE", "https://api.telegram.org", parse.address, "the Bot API; or a local server"),
    Option("TELEGRAM_MODE", "webhook", parse.one_of("webhook", "polling"), "how updates come in"),
    Option("PUBLIC_URL", None, parse.address, "where we are reached; with it the webhook is set at start"),
    _secret("ADMIN_TOKEN", parse.text, "bearer token of the operator pages"),
    Option("ADMIN_IDS", "", parse.ids, "Telegram ids of operators, comma-separated"),
    Option("YOOKASSA_SHOP_ID", None, parse.text, "YooKassa: the shop"),
    _secret("YOOKASSA_SECRET_KEY", parse.text, "YooKassa: the key"),
    Option("YOOKASSA_API_BASE", "https://api.yookassa.ru/v3", parse.address, "YooKassa: the API"),
    Option("YOOKASSA_RECEIPT_EMAIL", None, parse.email, "YooKassa: where receipts (54-FZ) go; none: without receipts"),
    Option("YOOKASSA_VAT_CODE", "1", parse.whole(1, 12), "YooKassa: VAT on receipts; 1 is none"),
    _secret("STRIPE_SECRET_KEY", parse.text, "Stripe: the key"),
    _secret("STRIPE_WEBHOOK_SECRET", parse.words, "Stripe: the endpoint's secrets, comma-separated"),
    Option("STRIPE_API_BASE", "https://api.stripe.com", parse.address, "Stripe: the API"),
    _secret("POLAR_ACCESS_TOKEN", parse.text, "Polar: the token"),
    _secret("POLAR_WEBHOOK_SECRET", parse.text, "Polar: the endpoint's secret"),
    Option("POLAR_PRODUCT_ID", None, parse.text, "Polar: the product that a top-up is sold as, in dollars"),
    Option("POLAR_API_BASE", "https://api.polar.sh", parse.address, "Polar: the API"),
    _secret("TELEGRAM_PROVIDER_TOKEN", parse.text, "card payments inside Telegram; Stars need none"),
    Option("GENERATION_API_BASE", None, parse.address, "OpenAI-compatible; none: only local models run"),
    _secret("GENERATION_API_KEY", parse.text, "its key"),
    Option(
        "PREDICTIONS_API_BASE", None, parse.address, "Replicate, or who speaks as it does; none: without its models"
    ),
    _secret("PREDICTIONS_API_KEY", parse.text, "its key"),
    Option("CATALOG", "catalog.toml", parse.path, "file of models, top-up packs, referral percent"),
    Option("USER_CACHE_TTL", "600", _LIFETIME, "seconds a known person is remembered"),
    Option("RESERVATION_TTL", "3600", _LIFETIME, "seconds a reservation holds money"),
    Option("JOB_HEARTBEAT_TTL", "60", _LIFETIME, "seconds without a beat that make an instance dead"),
    Option("IDEMPOTENCY_TTL", "86400", _LIFETIME, "seconds an idempotency key is kept"),
    Option("PROBE_INTERVAL", "15", parse.seconds(0.1, 3600), "seconds between looks at the tables"),
    Option("BACKUP_TO", None, parse.text, "folder or s3://bucket/folder/ for scheduled backups; none: no schedule"),
    Option("BACKUP_EVERY", "24", parse.whole(1, 744), "hours between scheduled backups"),
    Option("BACKUP_VERIFY", "off", parse.switch, "verify each scheduled backup; needs PostgreSQL's server programs"),
    Option("BACKUP_RECIPIENTS", "", parse.words, "public keys of age or ssh that backups are encrypted for"),
    Option("BACKUP_IDENTITY", None, parse.path, "file with the secret key that reads encrypted backups"),
    Option("S3_ENDPOINT", None, parse.address, "who answers at s3://; none: Amazon"),
    Option("S3_REGION", "us-east-1", parse.text, "its region"),
    Option("S3_ACCESS_KEY_ID", None, parse.text, "the key's name; none: as Amazon's own programs find it"),
    _secret("S3_SECRET_ACCESS_KEY", parse.text, "the key"),
    Option("LOG_LEVEL", "INFO", parse.one_of(*LEVELS), "the least that is logged"),
    Option("LOG_FORMAT", "text", parse.one_of("json", "text"), "json or text", in_production="json"),
    Option("SLOW_QUERY_MS", "20", parse.whole(0, 600_000), "a query that takes longer is logged by name"),
    _secret("SENTRY_DSN", parse.sentry_dsn, "where exceptions are reported; none: to nobody"),
)
