import dataclasses
import pprint
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from service.config import OPTIONS, Config, ConfigError, load

CONTRACT = [
    "ENVIRONMENT", "HOST", "PORT", "DATABASE_URL", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER",
    "DB_PASSWORD", "DB_POOL_MIN", "DB_POOL_MAX", "DB_COMMAND_TIMEOUT", "DB_ACQUIRE_TIMEOUT", "DB_POOLER",
    "DOOR_TIMEOUT", "MIGRATE_ON_START", "TELEGRAM_BOT_TOKEN", "TELEGRAM_WEBHOOK_SECRET",
    "TELEGRAM_API_BASE", "TELEGRAM_MODE", "PUBLIC_URL", "ADMIN_TOKEN", "ADMIN_IDS", "YOOKASSA_SHOP_ID",
    "YOOKASSA_SECRET_KEY", "YOOKASSA_API_BASE", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET",
    "STRIPE_API_BASE", "POLAR_ACCESS_TOKEN", "POLAR_WEBHOOK_SECRET", "POLAR_API_BASE",
    "TELEGRAM_PROVIDER_TOKEN", "GENERATION_API_BASE", "GENERATION_API_KEY", "PREDICTIONS_API_BASE",
    "PREDICTIONS_API_KEY", "CATALOG", "USER_CACHE_TTL",
    "RESERVATION_TTL", "JOB_HEARTBEAT_TTL", "IDEMPOTENCY_TTL", "PROBE_INTERVAL", "LOG_LEVEL",
    "LOG_FORMAT", "SLOW_QUERY_MS",
]  # fmt: skip
SINCE = [
    "YOOKASSA_RECEIPT_EMAIL", "YOOKASSA_VAT_CODE", "POLAR_PRODUCT_ID",
    "BACKUP_TO", "BACKUP_EVERY", "BACKUP_VERIFY", "BACKUP_RECIPIENTS", "BACKUP_IDENTITY",
    "S3_ENDPOINT", "S3_REGION", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "SENTRY_DSN",
]  # fmt: skip
OLDER_SPELLINGS = ["DB_POOL_SIZE", "DB_MAX_OVERFLOW"]

TOKEN = "123456789:" + "a" * 35
PRODUCTION = {
    "ENVIRONMENT": "production",
    "DATABASE_URL": "postgresql://owner:pa55-w0rd@db.internal:6432/ballast?sslmode=require",
    "TELEGRAM_BOT_TOKEN": TOKEN,
    "TELEGRAM_WEBHOOK_SECRET": "hook-secret-1",
    "ADMIN_TOKEN": "operator-secret-1",
}
EVERY_SECRET = PRODUCTION | {
    "YOOKASSA_SECRET_KEY": "yookassa-secret-1",
    "STRIPE_SECRET_KEY": "stripe-secret-1",
    "STRIPE_WEBHOOK_SECRET": "stripe-hook-1, stripe-hook-2",
    "POLAR_ACCESS_TOKEN": "polar-token-1",
    "POLAR_WEBHOOK_SECRET": "polar-hook-1",
    "TELEGRAM_PROVIDER_TOKEN": "provider-token-1",
    "GENERATION_API_KEY": "generation-key-1",
    "PREDICTIONS_API_KEY": "predictions-key-1",
    "S3_SECRET_ACCESS_KEY": "s3-secret-1",
    "SENTRY_DSN": "https://sentry-key-1@sentry.example.org/1",
}
HIDDEN = [
    TOKEN, "hook-secret-1", "operator-secret-1", "pa55-w0rd", "owner", "db.internal", "6432",
    "yookassa-secret-1", "stripe-secret-1", "stripe-hook-1", "stripe-hook-2", "polar-token-1", "polar-hook-1",
    "provider-token-1", "generation-key-1", "s3-secret-1", "sentry-key-1",
]  # fmt: skip


def faults(**environ: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(environ)
    return caught.value.faults


def test_the_table_holds_the_contract_s_names() -> None:
    assert sorted(option.name for option in OPTIONS) == sorted(CONTRACT + SINCE + OLDER_SPELLINGS)


def test_every_setting_is_a_field_or_part_of_the_database() -> None:
    fields = {field.name for field in dataclasses.fields(Config)} - {"database"}
    shown = {option.attribute for option in OPTIONS if option.attribute}
    assert {name for name in shown if not name.startswith("database.")} == fields


def test_the_example_file_lists_every_setting_with_its_default() -> None:
    lines = (Path(__file__).parents[2] / ".env.example").read_text(encoding="utf-8").splitlines()
    settings = [line.removeprefix("#") for line in lines if line and not line.startswith("# ")]
    listed = dict(line.split("=", 1) for line in settings)
    assert listed == {option.name: option.default or "" for option in OPTIONS}


def test_development_needs_nothing() -> None:
    config = load({})
    assert config.development
    assert config.database.dsn is None
    assert (config.host, config.port) == ("127.0.0.1", 8080)
    assert (config.log_format, config.migrate_on_start) == ("text", True)
    assert config.admin_token is None
    assert config.bot_id == 0


def test_production_changes_its_defaults() -> None:
    config = load(PRODUCTION)
    assert (config.host, config.log_format, config.migrate_on_start) == ("0.0.0.0", "json", False)
    assert config.bot_id == 123456789


def test_production_names_everything_that_is_missing() -> None:
    named = [fault.partition(":")[0] for fault in faults(ENVIRONMENT="production")]
    assert named == ["DATABASE_URL", "TELEGRAM_BOT_TOKEN", "TELEGRAM_WEBHOOK_SECRET", "ADMIN_TOKEN"]


def test_production_takes_the_database_in_parts() -> None:
    environ = {name: value for name, value in PRODUCTION.items() if name != "DATABASE_URL"}
    config = load(environ | {"DB_HOST": "db", "DB_NAME": "mybot", "DB_PASSWORD": "x"})
    assert config.database.dsn == "postgresql://postgres:x@db:5432/mybot"


def test_a_blank_setting_is_not_set() -> None:
    assert "ADMIN_TOKEN: is not set" in faults(**PRODUCTION | {"ADMIN_TOKEN": "  "})


def test_all_faults_come_at_once_and_repeat_no_value() -> None:
    told = faults(
        PORT="99999", DB_POOLER="pgpool", TELEGRAM_WEBHOOK_SECRET="not allowed!", LOG_LEVEL="loud",
        DATABASE_URL="mysql://u:hush@h/d", TELEGRAM_BOT_TOKEN="hush", ADMIN_IDS="me", PUBLIC_URL="ftp://x",
        MIGRATE_ON_START="maybe",
    )  # fmt: skip
    assert len(told) == 9
    assert "PORT: must be a whole number from 0 to 65535" in told
    assert "hush" not in " ".join(told)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENVIRONMENT", "staging"),
        ("PORT", "-1"),
        ("PORT", "80.5"),
        ("PORT", "٨٠"),
        ("DB_COMMAND_TIMEOUT", "0"),
        ("DB_COMMAND_TIMEOUT", "nan"),
        ("DOOR_TIMEOUT", "1e3"),
        ("DB_POOL_MAX", "0"),
        ("TELEGRAM_WEBHOOK_SECRET", "x" * 257),
        ("TELEGRAM_WEBHOOK_SECRET", "пароль"),
        ("TELEGRAM_BOT_TOKEN", "123456789"),
        ("TELEGRAM_API_BASE", "https://user:password@example.org"),
        ("PUBLIC_URL", "example.org"),
        ("YOOKASSA_RECEIPT_EMAIL", "receipts at example.org"),
        ("YOOKASSA_VAT_CODE", "13"),
        ("ADMIN_IDS", "1;2"),
        ("ADMIN_TOKEN", "two\nlines"),
        ("DB_HOST", "http://db"),
        ("DATABASE_URL", "postgresql://"),
        ("DATABASE_URL", "postgresql://u:p/w@h/d"),
        ("DATABASE_URL", "postgresql://u:p#w@h/d"),
        ("DATABASE_URL", "postgresql://u:p@[h/d"),
        ("DATABASE_URL", "postgresql://u:p@h:port/d"),
        ("DATABASE_URL", "postgresql://u:p@h/d?sslmode=sometimes"),
        ("DATABASE_URL", "postgresql://u:p@h/d?sslmode"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    given = {"DB_NAME": "x", name: value} if name == "DB_HOST" else {name: value}
    assert [fault.partition(":")[0] for fault in faults(**given)] == [name]


def test_a_short_token_is_for_development_only() -> None:
    assert load({"TELEGRAM_BOT_TOKEN": "42:sandbox"}).bot_id == 42
    assert faults(**PRODUCTION | {"TELEGRAM_BOT_TOKEN": "42:sandbox"}) == (
        "TELEGRAM_BOT_TOKEN: is too short for a token from @BotFather",
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("postgres://u:p@h:1/d", "postgresql://u:p@h:1/d"),
        ("postgresql+asyncpg://u:p@h/d", "postgresql://u:p@h/d"),
        ("postgresql+asyncpg://u@h/d?a=1&ssl=require", "postgresql://u@h/d?a=1&sslmode=require"),
        ("postgresql://u@a:1,b:2/d?sslmode=require&target_session_attrs=read-write",) * 2,
        ("postgresql://u:p%40%3A%25@h/d",) * 2,
        ("postgresql://u:p@w@h/d", "postgresql://u:p%40w@h/d"),
        ("postgresql:///d?host=/var/run/postgresql",) * 2,
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/d",) * 2,
        ("postgresql://u:p@[::1]:5432/d",) * 2,
    ],
)
def test_database_urls(given: str, kept: str) -> None:
    assert load({"DATABASE_URL": given}).database.dsn == kept


@pytest.mark.parametrize("password", ["@", "a:b/c?d#e%f", "пароль", "100%41", "plain"])
def test_a_password_in_parts_needs_no_encoding(password: str) -> None:
    dsn = load({"DB_HOST": "h", "DB_NAME": "d", "DB_USER": "an owner", "DB_PASSWORD": password}).database.dsn
    assert dsn is not None
    url = urlsplit(dsn)
    assert unquote(url.password or "") == password
    assert (unquote(url.username or ""), url.hostname, url.port, url.path) == ("an owner", "h", 5432, "/d")


def test_hosts_in_parts() -> None:
    assert load({"DB_HOST": "a, b:2", "DB_NAME": "d"}).database.dsn == "postgresql://postgres@a:5432,b:2/d"
    assert load({"DB_HOST": "::1", "DB_NAME": "d"}).database.dsn == "postgresql://postgres@[::1]:5432/d"
    socket = load({"DB_HOST": "/run/postgresql", "DB_NAME": "d"}).database.dsn
    assert socket == "postgresql://postgres@/d?host=/run/postgresql&port=5432"


def test_the_url_wins_over_the_parts() -> None:
    config = load({"DATABASE_URL": "postgresql://u@one/d", "DB_HOST": "two", "DB_NAME": "e"})
    assert config.database.dsn == "postgresql://u@one/d"


def test_parts_need_the_name() -> None:
    assert faults(DB_HOST="h") == ("DB_NAME: is not set, though another DB_ setting of the server is",)


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        ({}, (5, 20)),
        ({"DB_POOL_SIZE": "3", "DB_MAX_OVERFLOW": "5"}, (3, 8)),
        ({"DB_POOL_SIZE": "3", "DB_MAX_OVERFLOW": "5", "DB_POOL_MIN": "1", "DB_POOL_MAX": "4"}, (1, 4)),
        ({"DB_POOL_MAX": "2"}, (2, 2)),
        ({"DB_POOL_MIN": "30"}, (30, 30)),
    ],
)
def test_pool_bounds(given: dict[str, str], bounds: tuple[int, int]) -> None:
    database = load(given).database
    assert (database.pool_min, database.pool_max) == bounds


def test_pool_bounds_that_contradict() -> None:
    assert faults(DB_POOL_MIN="9", DB_POOL_MAX="8") == ("DB_POOL_MIN: is more than DB_POOL_MAX",)


def test_no_way_of_printing_shows_a_secret() -> None:
    config = load(EVERY_SECRET)
    shown = [
        repr(config), str(config), f"{config}", pprint.pformat(config), str(config.described()),
        repr(config.database), config.database.where,
    ]  # fmt: skip
    assert not [(secret, text) for secret in HIDDEN for text in shown if secret in text]
    for value in (config, config.database):
        with pytest.raises(TypeError):
            vars(value)


def test_the_log_is_told_every_secret() -> None:
    config = load(EVERY_SECRET)
    told = set(config.secrets())
    settings = {option.name for option in OPTIONS if option.secret} - {"DB_PASSWORD"}
    assert len(told) == len(settings) + 2  # STRIPE_WEBHOOK_SECRET is two, and DATABASE_URL has a password
    assert {TOKEN, "stripe-hook-1", "stripe-hook-2", config.database.dsn, "pa55-w0rd"} <= told


def test_the_listing_shows_what_is_in_force() -> None:
    shown = {name: value for name, value, _ in load(PRODUCTION | {"ADMIN_IDS": "7, 5"}).described()}
    assert shown["DATABASE_URL"] == "database ballast"
    assert shown["ADMIN_TOKEN"] == "set"
    assert shown["STRIPE_SECRET_KEY"] == "not set"
    assert shown["ADMIN_IDS"] == "5,7"
    assert shown["MIGRATE_ON_START"] == "off"
    assert shown["DB_POOL_MAX"] == "20"


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("postgresql://u:p@h/my%20bot", "database my bot"),
        ("postgresql://u:p@h?dbname=mybot", "database mybot"),
        ("postgresql://u:p@h", "database (default)"),
    ],
)
def test_where_is_the_name_alone(url: str, where: str) -> None:
    assert load({"DATABASE_URL": url}).database.where == where
