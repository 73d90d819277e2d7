"""Reads one setting's text into its value.

It knows what a well-formed value is and says what is wrong in a sentence; it knows no setting by name, and
repeats no value, since the value may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

Parser = Callable[[str], object]  # raises ValueError with a sentence that follows "NAME: "

SWITCH = dict.fromkeys(("on", "true", "yes", "1"), True) | dict.fromkeys(("off", "false", "no", "0"), False)


def text(value: str) -> str:
    """Any text on one line: it may become a header, where a control character would split it."""
    if not value.isprintable():
        raise ValueError("must be one line of printable characters")
    return value


def path(value: str) -> Path:
    return Path(text(value)).expanduser()


def words(value: str) -> tuple[str, ...]:
    """Several texts, comma-separated."""
    return tuple(text(word.strip()) for word in value.split(",") if word.strip())


def ids(value: str) -> frozenset[int]:
    """Telegram ids, comma-separated; none where the text is empty."""
    if not all(re.fullmatch(r"[0-9]{1,16}", word) for word in words(value)):
        raise ValueError("must be Telegram ids separated by commas")
    return frozenset(int(word) for word in words(value))


def switch(value: str) -> bool:
    if value.lower() not in SWITCH:
        raise ValueError("must be on or off")
    return SWITCH[value.lower()]


def one_of(*allowed: str) -> Parser:
    """One of the words, in any case; the word comes back as it is spelt here."""
    spelling = {word.lower(): word for word in allowed}

    def parse(value: str) -> str:
        if value.lower() not in spelling:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return spelling[value.lower()]

    return parse


def whole(low: int, high: int) -> Parser:
    """A whole number within its bounds, both included."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


def seconds(low: float, high: float) -> Parser:
    """A time in seconds within its bounds, both included; fractions are allowed."""

    def parse(value: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", value) or not low <= float(value) <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return float(value)

    return parse


def address(value: str) -> str:
    """An http or https address without a slash at its end, so that a path can be put after it."""
    url = urlsplit(text(value))
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise ValueError("must be an address like https://example.org, without ? or #")
    if url.username or url.password:
        raise ValueError("must not contain a user or a password")
    return value.rstrip("/")


def sentry_dsn(value: str) -> str:
    """As Sentry shows it under Client Keys: https://KEY@HOST/NUMBER."""
    url = urlsplit(text(value))
    if url.scheme not in ("http", "https") or not (url.username and url.hostname and re.search(r"/[0-9]+$", url.path)):
        raise ValueError("must be a DSN like https://KEY@o1.ingest.sentry.io/1")
    return value


def email(value: str) -> str:
    if not re.fullmatch(r"[^\s@]{1,64}@[^\s@]{1,190}", text(value)):
        raise ValueError("must be an e-mail address")
    return value


def bot_token(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,16}:[A-Za-z0-9_-]+", value):
        raise ValueError("must look like 123456789:letters, as @BotFather gives it")
    return value


def webhook_secret(value: str) -> str:
    """What Telegram allows in secret_token. https://core.telegram.org/bots/api#setwebhook"""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", value):
        raise ValueError("must be 1 to 256 characters of A-Z a-z 0-9 _ -")
    return value
