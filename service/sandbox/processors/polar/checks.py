"""What Polar takes and what it refuses, field by field, and how it lists.

It must not know what a checkout goes through. Limits after https://polar.sh/docs/api-reference
"""

from __future__ import annotations

import math
import re
from collections.abc import Reversible, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from service.sandbox.processors.api import Answer, Ask, Json, Refused

UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
CURRENCIES = frozenset(("usd", "eur", "gbp", "cad", "aud", "kzt", "aed", "try", "inr", "pln", "jpy"))  # no rub
LEAST_AMOUNT, AMOUNT_MOST = 50, 99_999_999  # in the smallest unit
METADATA_MOST, METADATA_KEY_MOST, METADATA_VALUE_MOST = 50, 40, 500
LIMIT_DEFAULT, LIMIT_MOST = 10, 100
BY_PAYER = "external_customer_id"  # which an order has in its customer


def refused(error: str, detail: str, status: int) -> Refused:
    return Refused(Answer({"error": error, "detail": detail}, status))


def invalid(where: Sequence[str], message: str, given: Any = None, kind: str = "value_error") -> Refused:
    """422 in the form of a failed validation."""
    detail = [{"type": kind, "loc": list(where), "msg": message, "input": given}]
    return Refused(Answer({"error": "RequestValidationError", "detail": detail}, 422))


def json(ask: Ask) -> Json:
    try:
        given = orjson.loads(ask.body)
    except orjson.JSONDecodeError:
        raise invalid(("body",), "JSON decode error", kind="json_invalid") from None
    if not isinstance(given, dict) or ask.content_type != "application/json":
        raise invalid(("body",), "Input should be a valid dictionary", kind="model_attributes_type")
    return given


def uuid(given: Any, *where: str) -> str:
    if not isinstance(given, str) or not UUID.fullmatch(given):
        kind = "missing" if given is None else "uuid_parsing"
        raise invalid(("body", *where), "Input should be a valid UUID", given, kind)
    return given.lower()


def products(given: Json) -> list[str]:
    """The product ids of a checkout; the older product_id stands for a list of one."""
    listed = [given["product_id"]] if "product_id" in given else given.get("products")
    if not isinstance(listed, list) or not listed:
        raise invalid(("body", "products"), "List should have at least 1 item", listed, "too_short")
    ids = [uuid(one, "products") for one in listed]
    if len(set(ids)) < len(ids):
        raise invalid(("body", "products"), "Product IDs must be unique.", listed)
    return ids


def integer(given: Any, where: str, *, least: int) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise invalid(("body", where), "Input should be a valid integer", given, "int_type")
    if not least <= given <= AMOUNT_MOST:
        raise invalid(("body", where), f"Input should be {least} to {AMOUNT_MOST}", given, "greater_than_equal")
    return given


def price(given: Json, product_id: str) -> tuple[int, str]:
    """(amount in the smallest unit, currency): of an ad-hoc fixed price, else what the person is to pay by `amount`."""
    prices = given.get("prices") or {}
    if not isinstance(prices, dict):
        raise invalid(("body", "prices"), "Input should be a valid dictionary", prices, "dict_type")
    listed = prices.get(product_id) or [{}]
    if not isinstance(listed, list) or not isinstance(first := listed[0], dict):
        raise invalid(("body", "prices", product_id), "Input should be a valid list", listed, "list_type")
    if first.get("amount_type", "custom") == "fixed":
        amount = integer(first.get("price_amount"), "price_amount", least=LEAST_AMOUNT)
    else:
        amount = integer(given.get("amount"), "amount", least=LEAST_AMOUNT)
    currency = first.get("price_currency") or given.get("currency") or "usd"
    if not isinstance(currency, str) or currency not in CURRENCIES:
        raise invalid(("body", "currency"), "Input should be a supported currency", currency, "enum")
    return amount, currency


def text(given: Json, name: str) -> str | None:
    found = given.get(name)
    if found is not None and not isinstance(found, str):
        raise invalid(("body", name), "Input should be a valid string", found, "string_type")
    return found


def address(given: Json, name: str) -> str | None:
    found = text(given, name)
    if found is not None and not re.match(r"https?://[^/]", found):
        raise invalid(("body", name), "Input should be a valid URL", found, "url_parsing")
    return found


def metadata(given: Json) -> Json:
    found = given.get("metadata", {})
    if not isinstance(found, dict) or len(found) > METADATA_MOST:
        raise invalid(("body", "metadata"), f"Dictionary should have at most {METADATA_MOST} items", found, "too_long")
    for key, one in found.items():
        if not 1 <= len(key) <= METADATA_KEY_MOST or not isinstance(one, str | int | float):
            raise invalid(("body", "metadata", key), "Input should be a short key with a plain value", one)
        if isinstance(one, str) and not 1 <= len(one) <= METADATA_VALUE_MOST:
            why = f"String should have 1 to {METADATA_VALUE_MOST} characters"
            raise invalid(("body", "metadata", key), why, one, "string_too_long")
    return dict(found)


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def page(things: Reversible[Json], ask: Ask, *, exact: Sequence[str]) -> Json:
    """One page of a list, newest first: https://polar.sh/docs/api-reference/introduction#pagination"""
    number, limit = _positive(ask, "page", 1), min(_positive(ask, "limit", LIMIT_DEFAULT), LIMIT_MOST)
    found = [thing for thing in reversed(things) if _fits(thing, ask, exact)]
    start = (number - 1) * limit
    pages = {"total_count": len(found), "max_page": math.ceil(len(found) / limit)}
    return {"items": found[start : start + limit], "pagination": pages}


def _positive(ask: Ask, name: str, default: int) -> int:
    given = ask.asked(name) or str(default)
    if not re.fullmatch(r"[1-9][0-9]{0,5}", given):
        raise invalid(("query", name), "Input should be greater than 0", given, "greater_than")
    return int(given)


def _fits(thing: Json, ask: Ask, exact: Sequence[str]) -> bool:
    for name in exact:
        given = thing["customer"]["external_id"] if (name, "customer" in thing) == (BY_PAYER, True) else thing[name]
        if (several := ask.all_asked(name)) and given not in several:
            return False
    for name, wanted in ask.query:
        key = name.removeprefix("metadata[").removesuffix("]")
        if name.startswith("metadata[") and str(thing["metadata"].get(key)) != wanted:
            return False
    created = datetime.fromisoformat(thing["created_at"])
    after, before = _bound(ask, "created_after"), _bound(ask, "created_before")
    return not (after and created <= after) and not (before and created >= before)


def _bound(ask: Ask, name: str) -> datetime | None:
    if not (given := ask.asked(name)):
        return None
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        raise invalid(("query", name), "Input should be a valid datetime", given, "datetime_parsing") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
