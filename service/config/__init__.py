"""The settings of the process: the only reader of os.environ.

It knows every setting, reports all faults at once and never shows a secret; it knows nothing of what the
settings are used for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

from service.config import dsn
from service.config.options import OPTIONS, Option
from service.kernel.database.settings import DatabaseSettings

__all__ = ["OPTIONS", "Config", "ConfigError", "Option", "Setting", "from_environment", "load"]

Values = dict[str, Any]  # what the parsers of the table made, by name
REQUIRED_IN_PRODUCTION = ("TELEGRAM_BOT_TOKEN", "TELEGRAM_WEBHOOK_SECRET", "ADMIN_TOKEN")
FULL_TOKEN = re.compile(r"[0-9]+:[A-Za-z0-9_-]{30,}")


class ConfigError(Exception):
    """The settings are not usable; `faults` names each of them and what is wrong, without any secret."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("settings: " + "; ".join(faults))
        self.faults = tuple(faults)


class Setting(NamedTuple):
    """A line of the redacted listing."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True, repr=False)
class Config:
    """Every setting of docs/operations.md under its name in lower case. Times are seconds unless named otherwise.

    `repr` is the redacted listing; with slots there is no `vars()` to dump.
    """

    environment: Literal["development", "production"]
    host: str
    port: int
    database: DatabaseSettings
    door_timeout: float
    migrate_on_start: bool
    telegram_bot_token: str | None
    telegram_webhook_secret: str | None
    telegram_api_base: str
    telegram_mode: Literal["webhook", "polling"]
    public_url: str | None
    admin_token: str | None
    admin_ids: frozenset[int]
    yookassa_shop_id: str | None
    yookassa_secret_key: str | None
    yookassa_api_base: str
    yookassa_receipt_email: str | None
    yookassa_vat_code: int
    stripe_secret_key: str | None
    stripe_webhook_secret: tuple[str, ...] | None
    stripe_api_base: str
    polar_access_token: str | None
    polar_webhook_secret: str | None
    polar_product_id: str | None
    polar_api_base: str
    telegram_provider_token: str | None
    generation_api_base: str | None
    generation_api_key: str | None
    predictions_api_base: str | None
    predictions_api_key: str | None
    catalog: Path
    user_cache_ttl: float
    reservation_ttl: float
    job_heartbeat_ttl: float
    idempotency_ttl: float
    probe_interval: float
    backup_to: str | None
    backup_every: int
    backup_verify: bool
    backup_recipients: tuple[str, ...]
    backup_identity: Path | None
    s3_endpoint: str | None
    s3_region: str
    s3_access_key_id: str | None
    s3_secret_access_key: str | None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"]
    log_format: Literal["json", "text"]
    slow_query_ms: int
    sentry_dsn: str | None

    @property
    def development(self) -> bool:
        return self.environment == "development"

    @property
    def bot_id(self) -> int:
        """The bot's own id, which its token begins with; 0 without a token."""
        return int((self.telegram_bot_token or "0").partition(":")[0])

    def described(self) -> tuple[Setting, ...]:
        """What is in force, setting by setting, fit to be shown to anyone."""
        return tuple(
            Setting(option.name, _shown(option, attrgetter(option.attribute)(self)), option.meaning)
            for option in OPTIONS
            if option.attribute
        )

    def secrets(self) -> tuple[str, ...]:
        """Every secret that is set, the password inside DATABASE_URL too, for the log to hide."""
        values = [self.database.dsn, dsn.password(self.database.dsn or "")]
        for option in OPTIONS:
            if option.secret and not option.shown and option.attribute:
                value = getattr(self, option.attribute)
                values.extend(value if isinstance(value, tuple) else [value])
        return tuple(value for value in values if value)

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={value}' for name, value, _ in self.described())})"


def from_environment() -> Config:
    """The settings of this process. Raises ConfigError."""
    return load(os.environ)


def load(environ: Mapping[str, str]) -> Config:
    """Reads all settings; a blank one counts as not set. Raises ConfigError with every fault there is."""
    given = {option.name: text for option in OPTIONS if (text := environ.get(option.name, "").strip())}
    faults: list[str] = []
    values = _parsed(given, faults)
    faults += _combined_faults(given, values)
    if faults:
        raise ConfigError(faults)
    fields = {name: values[name.upper()] for name in Config.__slots__ if name != "database"}
    return Config(database=_database(given, values), **fields)


def _parsed(given: Mapping[str, str], faults: list[str]) -> Values:
    environment = given.get("ENVIRONMENT", "development").lower()
    values: Values = {}
    for option in OPTIONS:
        text = given.get(option.name, option.default_in(environment))
        try:
            values[option.name] = None if text is None else option.parse(text)
        except ValueError as fault:
            faults.append(f"{option.name}: {fault}")
    return values


def _combined_faults(given: Mapping[str, str], values: Values) -> list[str]:
    """What no parser can see: settings that are wrong together, or missing in production."""
    faults = []
    if _in_parts(given) and "DB_NAME" not in given:
        faults.append("DB_NAME: is not set, though another DB_ setting of the server is")
    low, high = values.get("DB_POOL_MIN"), values.get("DB_POOL_MAX")
    if {"DB_POOL_MIN", "DB_POOL_MAX"} <= given.keys() and low and high and low > high:
        faults.append("DB_POOL_MIN: is more than DB_POOL_MAX")
    if values.get("ENVIRONMENT") == "production":
        faults += _production_faults(given, values)
    return faults


def _production_faults(given: Mapping[str, str], values: Values) -> list[str]:
    faults = []
    if "DATABASE_URL" not in given and not _in_parts(given):
        faults.append("DATABASE_URL: is not set, nor DB_HOST and its sisters")
    faults += [f"{name}: is not set" for name in REQUIRED_IN_PRODUCTION if name not in given]
    token = values.get("TELEGRAM_BOT_TOKEN")
    if token and not FULL_TOKEN.fullmatch(token):
        faults.append("TELEGRAM_BOT_TOKEN: is too short for a token from @BotFather")
    return faults


def _in_parts(given: Mapping[str, str]) -> bool:
    """Whether DB_HOST and its sisters say where the database is."""
    parts = {"DB_HOST", "DB_NAME", "DB_USER", "DB_PASSWORD"}
    return "DATABASE_URL" not in given and not parts.isdisjoint(given)


def _database(given: Mapping[str, str], values: Values) -> DatabaseSettings:
    url = values["DATABASE_URL"]
    if _in_parts(given):
        names = ("host", "port", "name", "user", "password")
        url = dsn.from_parts(**{name: values[f"DB_{name.upper()}"] for name in names})
    low, high = _pool_bounds(given, values)
    return DatabaseSettings(
        dsn=url,
        pool_min=low,
        pool_max=high,
        command_timeout=values["DB_COMMAND_TIMEOUT"],
        acquire_timeout=values["DB_ACQUIRE_TIMEOUT"],
        pooler=values["DB_POOLER"],
        slow_query_s=values["SLOW_QUERY_MS"] / 1000,
        door_timeout=values["DOOR_TIMEOUT"],
    )


def _pool_bounds(given: Mapping[str, str], values: Values) -> tuple[int, int]:
    """The older spelling stands where the newer is not given; a bound that is given moves the other one."""
    low = values["DB_POOL_MIN"] if "DB_POOL_MIN" in given else values["DB_POOL_SIZE"]
    if "DB_POOL_MAX" in given:
        return min(low, values["DB_POOL_MAX"]), values["DB_POOL_MAX"]
    return low, max(low, values["DB_POOL_SIZE"] + values["DB_MAX_OVERFLOW"])


def _shown(option: Option, value: object) -> str:
    if value is None:
        return "not set"
    if option.secret and not option.shown:
        return "set"
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, sorted(value))) if isinstance(value, frozenset) else str(value)
