"""What a form in Stripe's brackets says, and what Stripe refuses of it.

It must not know what is done with it. Errors after https://docs.stripe.com/api/errors
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import parse_qsl

from service.sandbox.processors.api import Answer, Ask, Json, Refused

AMOUNT_MOST = 99_999_999  # eight digits of the smallest unit
CURRENCIES = frozenset(("usd", "eur", "gbp", "kzt", "aed", "try", "inr", "pln", "czk", "jpy", "uzs", "amd", "gel"))
LEAST_AMOUNT = {"usd": 50, "eur": 50, "gbp": 30}  # in the smallest unit; the others' depend on the day's rate
NAME_MOST = 1_500  # characters of a product's name
METADATA_MOST, METADATA_KEY_MOST, METADATA_VALUE_MOST = 50, 40, 500
LIMIT_DEFAULT, LIMIT_MOST = 10, 100


def refused(message: str, *, param: str = "", code: str = "", status: int = 400, **more: str) -> Refused:
    """An error in Stripe's form."""
    error: Json = {"message": message, "type": "invalid_request_error"} | more
    error |= ({"param": param} if param else {}) | ({"code": code} if code else {})
    return Refused(Answer({"error": error}, status))


def missing(param: str) -> Refused:
    return refused(f"Missing required param: {param}.", param=param, code="parameter_missing")


def unknown(kind: str, thing_id: str, *, param: str = "id", status: int = 404) -> Refused:
    return refused(f"No such {kind}: '{thing_id}'", param=param, code="resource_missing", status=status)


def nested(pairs: Sequence[tuple[str, str]]) -> Json:
    """a[b][0][c]=d as {"a": {"b": {"0": {"c": "d"}}}}; a[]=b twice as {"a": {"0": ..., "1": ...}}."""
    form: Json = {}
    for name, text in pairs:
        first, *rest = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name) or [name]
        place, key = form, first
        for part in rest:
            inner = place.setdefault(key, {})
            if not isinstance(inner, dict):
                raise refused("Invalid object", param=name)
            place, key = inner, part or str(len(inner))
        place[key] = text
    return form


def body(ask: Ask, known: Collection[str]) -> Json:
    """The form in the body. Refuses what is no form, and parameters that are not known."""
    if ask.body and ask.content_type != "application/x-www-form-urlencoded":
        raise refused("Request body must be application/x-www-form-urlencoded.", status=400)
    form = nested(parse_qsl(ask.body.decode("utf-8", "replace"), keep_blank_values=True))
    for name in form:
        if name not in known:
            raise refused(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")
    return form


def section(form: Json, name: str, param: str = "") -> Json:
    """An inner object; of one that was not sent an empty one."""
    inner = form.get(name, {})
    if not isinstance(inner, dict):
        raise refused("Invalid object", param=param or name)
    return inner


def integer(text: Any, param: str, *, least: int = 0, most: int = AMOUNT_MOST) -> int:
    if text is None:
        raise missing(param)
    if not isinstance(text, str) or not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise refused(f"Invalid integer: {text}", param=param, code="parameter_invalid_integer")
    if int(text) < least:
        why = f"This value must be greater than or equal to {least}."
        raise refused(why, param=param, code="parameter_invalid_integer")
    if int(text) > most:
        raise refused(f"This value must be at most {most}.", param=param, code="amount_too_large")
    return int(text)


def currency(text: Any, param: str) -> str:
    if text is None:
        raise missing(param)
    if str(text).lower() not in CURRENCIES:
        raise refused(f"Invalid currency: {text}", param=param)
    return str(text).lower()


def text(form: Json, name: str, most: int, *, required: bool = False) -> str | None:
    given = form.get(name)
    if not given:
        if required:
            raise missing(name)
        return None
    if not isinstance(given, str) or len(given) > most:
        raise refused(f"Invalid string: must be at most {most} characters", param=name)
    return given


def line_items(form: Json) -> tuple[str, int, str]:
    """(names, total in the smallest unit, currency) of line_items, each with its own price_data."""
    items = [_line_item(item, f"line_items[{place}]") for place, item in section(form, "line_items").items()]
    if not items:
        raise missing("line_items")
    names, amounts, currencies = zip(*items, strict=True)
    if len(set(currencies)) > 1:
        raise refused("All line items must have the same currency.", param="line_items")
    return ", ".join(names), _enough(sum(amounts), currencies[0]), currencies[0]


def _line_item(item: Any, at: str) -> tuple[str, int, str]:
    if not isinstance(item, dict) or "price_data" not in item:
        raise missing(f"{at}[price_data]")
    price = section(item, "price_data", f"{at}[price_data]")
    product = section(price, "product_data", f"{at}[price_data][product_data]")
    name = text(product, "name", NAME_MOST)
    if name is None:
        raise missing(f"{at}[price_data][product_data][name]")
    each = integer(price.get("unit_amount"), f"{at}[price_data][unit_amount]")
    quantity = integer(item.get("quantity", "1"), f"{at}[quantity]", least=1)
    return name, each * quantity, currency(price.get("currency"), f"{at}[price_data][currency]")


def _enough(total: int, currency: str) -> int:
    least = LEAST_AMOUNT.get(currency, 1)
    if total < least:
        raise refused(f"The Checkout Session's total amount must be at least {least}.", code="amount_too_small")
    if total > AMOUNT_MOST:
        raise refused(f"The Checkout Session's total amount must be at most {AMOUNT_MOST}.", code="amount_too_large")
    return total


def metadata(form: Json, param: str = "metadata") -> dict[str, str]:
    given = section(form, "metadata", param)
    if len(given) > METADATA_MOST:
        raise refused(f"Metadata can have up to {METADATA_MOST} keys", param=param)
    for key, text in given.items():
        if len(key) > METADATA_KEY_MOST:
            raise refused(f"Metadata keys can have up to {METADATA_KEY_MOST} characters.", param=param)
        if not isinstance(text, str) or len(text) > METADATA_VALUE_MOST:
            raise refused(f"Metadata values can have up to {METADATA_VALUE_MOST} characters.", param=param)
    return dict(given)


def page(things: Sequence[Json], ask: Ask, *, exact: Sequence[str], kind: str) -> Json:
    """One page of a list, newest first: https://docs.stripe.com/api/pagination"""
    query = nested(ask.query)
    limit = integer(query.get("limit", str(LIMIT_DEFAULT)), "limit", least=1, most=LIMIT_MOST)
    found = [thing for thing in reversed(things) if _fits(thing, query, exact)]
    if (after := query.get("starting_after")) is not None:
        found = found[_place(found, after, "starting_after", kind) + 1 :]
    if (before := query.get("ending_before")) is not None:
        found = found[: _place(found, before, "ending_before", kind)]
    data = found[:limit] if before is None else found[-limit:]
    return {"object": "list", "url": ask.path, "has_more": len(found) > limit, "data": data}


def _place(found: Sequence[Json], thing_id: str, param: str, kind: str) -> int:
    place = next((place for place, thing in enumerate(found) if thing["id"] == thing_id), None)
    if place is None:
        raise unknown(kind, thing_id, param=param, status=400)
    return place


def _fits(thing: Json, query: Json, exact: Sequence[str]) -> bool:
    if any(query[name] != thing.get(name) for name in exact if name in query):
        return False
    if "types" in query and thing.get("type") not in section(query, "types").values():
        return False
    bounds, created = query.get("created", {}), thing["created"]
    if isinstance(bounds, str):
        return bool(created == integer(bounds, "created", most=2**53))
    at = {how: integer(text, f"created[{how}]", most=2**53) for how, text in bounds.items()}
    return bool(
        at.get("gte", 0) <= created <= at.get("lte", created) and at.get("gt", -1) < created < at.get("lt", created + 1)
    )
