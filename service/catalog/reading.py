"""From a table of TOML to values, with every fault by its place. It knows shapes, and nothing of what they are for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeVar, cast

from service.catalog.currency import EXPONENTS
from service.text import Text

T = TypeVar("T")
Table = Mapping[str, Any]

# What an inline button's data (64 bytes) has room for, beside a word and the name of a processor.
_ID = re.compile(r"[a-z0-9_-]{1,32}")
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,2})?")
_MISSING = object()


class Reading:
    """A table that is being read: its faults gather, and keys that nobody asked for are among them."""

    def __init__(self, table: Table, where: str, faults: list[str]) -> None:
        self._left, self._where, self.faults = dict(table), where, faults

    def value(self, key: str, read: Callable[[Any], T], otherwise: Any = _MISSING) -> T:
        """What stands there. Where it is wrong, or missing without an `otherwise`, that is a fault."""
        given = self._left.pop(key, _MISSING)
        if given is _MISSING and otherwise is not _MISSING:
            return cast("T", otherwise)
        try:
            if given is _MISSING:
                raise ValueError("is missing")
            return read(given)
        except ValueError as fault:
            self.faults.append(f"{self._where}{key}: {fault}")
            return cast("T", None)  # nobody looks: the faults are raised first

    def many(self, key: str, read: Callable[[Reading], T]) -> tuple[T, ...]:
        """An array of tables, each read to its end."""
        found = self.value(key, tables, []) or []
        return tuple(self._one(f"{key} {number}: ", table, read) for number, table in enumerate(found, 1))

    def _one(self, where: str, table: Table, read: Callable[[Reading], T]) -> T:
        reading = Reading(table, where, self.faults)
        made = read(reading)
        reading.end()
        return made

    def end(self) -> None:
        self.faults += [f"{self._where}{key}: is not known here" for key in self._left]


def tables(value: Any) -> list[Table]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("must be a list of tables")
    return value


def table(value: Any) -> Table:
    if not isinstance(value, dict):
        raise ValueError("must be a table")
    return value


def whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return read


def line(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("must be a line of text")
    return value


def identifier(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("must be 1 to 32 of a-z, 0-9, _ and -")
    return value


def amount(value: Any) -> Decimal:
    """Text or a whole number: what TOML calls a float is not what was written."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        raise ValueError('must be an amount in quotes, such as "150.00"')
    return Decimal(text).quantize(Decimal("0.01"))


def positive(value: Any) -> Decimal:
    given = amount(value)
    if not given:
        raise ValueError("must be more than nothing")
    return given


def percent(value: Any) -> Decimal:
    given = amount(value)
    if given > 100:
        raise ValueError("must be a percentage from 0 to 100")
    return given


def prices(value: Any) -> Mapping[str, Decimal]:
    if not isinstance(value, dict) or not value:
        raise ValueError('must be amounts by currency, such as { RUB = "150" }')
    faults, found = [], {}
    for code, price in value.items():
        try:
            found[code] = _price(code, price)
        except ValueError as fault:
            faults.append(f"{code} {fault}")
    if faults:
        raise ValueError(", ".join(faults))
    return found


def _price(code: str, value: Any) -> Decimal:
    if code not in EXPONENTS:
        raise ValueError("is no currency that can be taken")
    price = positive(value)
    if price.scaleb(EXPONENTS[code]) % 1:
        raise ValueError("has whole amounts only")
    return price


def title(value: Any) -> Text:
    if not isinstance(value, dict) or value.keys() != {"en", "ru"}:
        raise ValueError('must be { en = "...", ru = "..." }')
    return Text(en=line(value["en"]), ru=line(value["ru"]))
