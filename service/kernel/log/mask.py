"""Takes secrets out of a line before it is written.

It knows what a secret looks like and the secrets it was told; it knows nothing of records or streams.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import orjson

MASK = "***"
SHORTEST = 6  # characters: a shorter "secret" stands inside ordinary words, and masking it would eat the log

# The colon comes first so that the search can hop from one to the next; the bot's id before it is no secret.
_BOT_TOKEN = re.compile(r":(?<=[0-9]{6}:)[A-Za-z0-9_-]{30,}")
_DATABASE_LOGIN = re.compile(r"(postgres[a-z]*(?:\+[a-z]+)?://)[^\s\"']*@")
_PASSWORD = re.compile(r"(password=)[^\s\"'&]+")

_hidden: dict[str, None] = {}  # ordered, longest first: a secret inside another must not break it apart


def hide(*secrets: str) -> None:
    """From now on masks each of these, also as JSON and URLs would spell it."""
    for secret in secrets:
        if len(secret) >= SHORTEST:
            spellings = (secret, orjson.dumps(secret)[1:-1].decode(), quote(secret, safe=""))
            _hidden.update(dict.fromkeys(spellings))
    ordered = sorted(_hidden, key=len, reverse=True)
    _hidden.clear()
    _hidden.update(dict.fromkeys(ordered))


def mask(line: str) -> str:
    """The line without bot tokens, database logins and hidden secrets."""
    for secret in _hidden:
        if secret in line:
            line = line.replace(secret, MASK)
    line = _BOT_TOKEN.sub(":" + MASK, line)
    if "postgres" in line:
        line = _DATABASE_LOGIN.sub(rf"\1{MASK}@", line)
    if "password=" in line:
        line = _PASSWORD.sub(rf"\1{MASK}", line)
    return line
