"""Turns a log record into one line: JSON for machines, text for people.

It knows how a record is spelt; it knows nothing of secrets or of where the line goes.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from traceback import format_exception

import orjson

# The id of the request that is being answered, in every line that is logged meanwhile.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def json_line(record: logging.LogRecord) -> str:
    """{"ts", "level", "room", "msg", "request_id"?, fields..., "traceback"?}; ts is RFC 3339 in UTC."""
    line: dict[str, object] = {
        "ts": datetime.fromtimestamp(record.created, UTC),
        "level": record.levelname,
        "room": record.name,
        "msg": record.getMessage(),
    }
    if request := request_id.get():
        line["request_id"] = request
    line.update(_fields(record))
    if record.exc_info:
        line["traceback"] = _traceback(record)
    return _json(line)


def canonical_json(at: float, room: str, message: str, fields: dict[str, object]) -> bytes:
    """As json_line, without the detour over a record; `at` is seconds since the epoch."""
    head = {"ts": datetime.fromtimestamp(at, UTC), "level": "INFO", "room": room, "msg": message}
    return orjson.dumps({**head, **fields}, option=orjson.OPT_UTC_Z)


def text_line(record: logging.LogRecord) -> str:
    """12:30:01.250 WARNING telegram: what happened  field=value; a traceback follows on its own lines."""
    at = datetime.fromtimestamp(record.created).astimezone()
    head = f"{at:%H:%M:%S}.{record.msecs:03.0f} {record.levelname:7} {record.name}: {record.getMessage()}"
    fields = "".join(f" {name}={_word(value)}" for name, value in _fields(record).items())
    trace = f"\n{_traceback(record).rstrip()}" if record.exc_info else ""
    return f"{head}{' ' if fields else ''}{fields}{trace}"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields


def _traceback(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return "".join(format_exception(error)) if error else ""


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_UTC_Z).decode()
    except TypeError:  # a number beyond 64 bits, a lone surrogate, a key that is no text
        if isinstance(value, dict):
            return orjson.dumps({str(name): ascii(item) for name, item in value.items()}).decode()
        return ascii(value)


def _word(value: object) -> str:
    """A value that cannot be mistaken for two, nor begin a line of its own."""
    word = str(value)
    return word if word.isprintable() and " " not in word and word else _json(word)
