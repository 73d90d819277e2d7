"""What YooKassa takes and what it refuses, field by field, and how it lists.

It must not know what a payment goes through. Limits after https://yookassa.ru/developers/api
"""

from __future__ import annotations

import re
from collections.abc import Reversible, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson

from service.sandbox.processors.api import Answer, Ask, Json, Refused, new_uuid

CURRENCIES = frozenset(("RUB", "EUR", "USD", "KZT", "BYN", "UAH", "UZS", "TRY", "INR", "MDL", "AZN", "AMD"))
AMOUNT = re.compile(r"(0|[1-9][0-9]{0,9})\.[0-9]{2}")
DESCRIPTION_MOST = 128
RETURN_URL_MOST = 2_048
METADATA_MOST, METADATA_KEY_MOST, METADATA_VALUE_MOST = 16, 32, 512
LIMIT_DEFAULT, LIMIT_MOST = 10, 100
COMPARISONS = {
    "gte": lambda given, bound: given >= bound,
    "gt": lambda given, bound: given > bound,
    "lte": lambda given, bound: given <= bound,
    "lt": lambda given, bound: given < bound,
}


def refused(description: str, parameter: str = "", *, status: int = 400, code: str = "invalid_request") -> Refused:
    """An error in YooKassa's form: https://yookassa.ru/developers/using-api/response-handling/response-format"""
    body: Json = {"type": "error", "id": new_uuid(), "code": code, "description": description}
    return Refused(Answer(body | ({"parameter": parameter} if parameter else {}), status))


def json(ask: Ask) -> Json:
    """The body's object; of no body an empty one."""
    try:
        given = orjson.loads(ask.body or b"{}")
    except orjson.JSONDecodeError:
        raise refused("Invalid JSON") from None
    if not isinstance(given, dict):
        raise refused("Invalid JSON: an object is expected")
    return given


def amount(given: Any) -> Json:
    """{"value": "100.00", "currency": "RUB"}: a string, for a number has lost its fraction before it is read."""
    if not isinstance(given, dict):
        raise refused("Missing or illegal parameter", "amount")
    text, currency = given.get("value"), given.get("currency")
    if not isinstance(text, str) or not AMOUNT.fullmatch(text) or Decimal(text) == 0:
        raise refused("Amount must be a positive number with two digits after the dot", "amount.value")
    if not isinstance(currency, str) or currency not in CURRENCIES:
        raise refused("Illegal currency", "amount.currency")
    return {"value": text, "currency": currency}


def confirmation(given: Any) -> Json:
    """{"type": "redirect", "return_url": ...}; of the real one's types the sandbox knows this one."""
    if not isinstance(given, dict) or given.get("type") != "redirect":
        raise refused("Missing or illegal parameter", "confirmation.type")
    url = given.get("return_url")
    if not isinstance(url, str) or not url or len(url) > RETURN_URL_MOST:
        raise refused(f"Must be an address of at most {RETURN_URL_MOST} characters", "confirmation.return_url")
    return given


def described(given: Json) -> Json:
    """{"description": ...}, or nothing where there is none."""
    if (text := given.get("description")) is None:
        return {}
    if not isinstance(text, str) or len(text) > DESCRIPTION_MOST:
        raise refused(f"Must be at most {DESCRIPTION_MOST} characters", "description")
    return {"description": text}


def metadata(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > METADATA_MOST:
        raise refused(f"Must be an object of at most {METADATA_MOST} keys", "metadata")
    for key, text in given.items():
        if len(key) > METADATA_KEY_MOST or not isinstance(text, str) or len(text) > METADATA_VALUE_MOST:
            raise refused(
                f"Keys have at most {METADATA_KEY_MOST} characters, values are strings of {METADATA_VALUE_MOST}",
                f"metadata.{key[:METADATA_KEY_MOST]}",
            )
    return dict(given)


def value(of: Json) -> Decimal:
    return Decimal(of["value"])


def money(number: Decimal, currency: str) -> Json:
    return {"value": f"{number:.2f}", "currency": currency}


def moment(at: float) -> str:
    """Milliseconds, as in "2025-10-18T21:55:24.823Z"."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def page(things: Reversible[Json], ask: Ask, *, exact: Sequence[str]) -> Json:
    """One page of a list, newest first: https://yookassa.ru/developers/using-api/lists"""
    limit = ask.asked("limit") or str(LIMIT_DEFAULT)
    if not re.fullmatch(r"[0-9]{1,3}", limit) or not 1 <= int(limit) <= LIMIT_MOST:
        raise refused(f"Must be 1 to {LIMIT_MOST}", "limit")
    rest = [thing for thing in _after(ask.asked("cursor"), list(reversed(things))) if _fits(thing, ask, exact)]
    more = {"next_cursor": rest[int(limit) - 1]["id"]} if len(rest) > int(limit) else {}
    return {"type": "list", "items": rest[: int(limit)], **more}


def _after(cursor: str | None, things: Sequence[Json]) -> Sequence[Json]:
    if cursor is None:
        return things
    place = next((place for place, thing in enumerate(things) if thing["id"] == cursor), None)
    if place is None:
        raise refused("Illegal cursor", "cursor")
    return things[place + 1 :]


def _fits(thing: Json, ask: Ask, exact: Sequence[str]) -> bool:
    if any(ask.asked(name) not in (None, thing.get(name)) for name in exact):
        return False
    for name, bound in ask.query:
        field, _, how = name.partition(".")
        if field not in ("created_at", "captured_at") or how not in COMPARISONS:
            continue
        if field not in thing or not COMPARISONS[how](_time(thing[field], name), _time(bound, name)):
            return False
    return True


def _time(text: str, parameter: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise refused("Must be a moment in ISO 8601", parameter) from None
    return given if given.tzinfo else given.replace(tzinfo=UTC)
