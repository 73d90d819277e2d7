"""What is sold: the packs of catalog.toml, and the percent for whoever invited the payer.

It knows the file and every way in which it can be wrong; it knows nothing of who sells it or takes the money.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast

from service.config import ConfigError
from service.currency import EXPONENTS
from service.text import Text

T = TypeVar("T")
Table = Mapping[str, Any]

BESIDE_THE_SERVICE = Path(__file__).resolve().parents[1]
# What an inline button's data (64 bytes) has room for, beside a word and the name of a processor.
_ID = re.compile(r"[a-z0-9_-]{1,32}")
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,2})?")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Pack:
    """A top-up: what the balance gets, and what it costs by currency, the preferred one first."""

    id: str
    credit_rub: Decimal
    prices: Mapping[str, Decimal]
    title: Text | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that is sold. `support` is whom people write to about a payment, or empty."""

    packs: tuple[Pack, ...]
    referral_percent: Decimal
    support: str = ""

    def pack(self, pack_id: str) -> Pack | None:
        return next((pack for pack in self.packs if pack.id == pack_id), None)


def load(path: Path) -> Catalog:
    """The catalogue in a file; a relative path is tried where the process runs, then beside the service.

    Raises ConfigError with every fault there is.
    """
    found = path if path.exists() else BESIDE_THE_SERVICE / path
    try:
        text = found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"CATALOG: {path}: cannot be read ({type(error).__name__})"]) from None
    try:
        return parse(text)
    except ConfigError as error:
        raise ConfigError([f"CATALOG: {path}: {fault}" for fault in error.faults]) from None


def parse(text: str) -> Catalog:
    """Raises ConfigError with every fault there is."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"is no TOML: {error}"]) from None
    reading = _Reading(document, "", [])
    catalog = Catalog(
        packs=reading.many("packs", _pack),
        referral_percent=reading.value("referral_percent", _percent, Decimal(0)),
        support=reading.value("support", _text, ""),
    )
    reading.end()
    ids = [pack.id for pack in catalog.packs if pack.id]
    reading.faults += [f"packs: {one} is there twice" for one in sorted({one for one in ids if ids.count(one) > 1})]
    if reading.faults:
        raise ConfigError(reading.faults)
    return catalog


class _Reading:
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

    def many(self, key: str, read: Callable[[_Reading], T]) -> tuple[T, ...]:
        """An array of tables, each read to its end."""
        tables = self.value(key, _tables, [])
        return tuple(self._one(f"{key} {number}: ", table, read) for number, table in enumerate(tables or (), 1))

    def _one(self, where: str, table: Table, read: Callable[[_Reading], T]) -> T:
        reading = _Reading(table, where, self.faults)
        made = read(reading)
        reading.end()
        return made

    def end(self) -> None:
        self.faults += [f"{self._where}{key}: is not known here" for key in self._left]


def _pack(reading: _Reading) -> Pack:
    return Pack(
        id=reading.value("id", _id),
        credit_rub=reading.value("credit_rub", _positive),
        prices=reading.value("prices", _prices),
        title=reading.value("title", _title, None),
    )


def _tables(value: Any) -> list[Table]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ValueError("must be tables, each under [[packs]]")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("must be a line of text")
    return value


def _id(value: Any) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError("must be 1 to 32 of a-z, 0-9, _ and -")
    return value


def _amount(value: Any) -> Decimal:
    """Text or a whole number: what TOML calls a float is not what was written."""
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not _AMOUNT.fullmatch(text):
        raise ValueError('must be an amount in quotes, such as "150.00"')
    return Decimal(text).quantize(Decimal("0.01"))


def _positive(value: Any) -> Decimal:
    amount = _amount(value)
    if not amount:
        raise ValueError("must be more than nothing")
    return amount


def _percent(value: Any) -> Decimal:
    percent = _amount(value)
    if percent > 100:
        raise ValueError("must be a percentage from 0 to 100")
    return percent


def _prices(value: Any) -> Mapping[str, Decimal]:
    if not isinstance(value, dict) or not value:
        raise ValueError('must be amounts by currency, such as { RUB = "150" }')
    faults, prices = [], {}
    for code, amount in value.items():
        try:
            prices[code] = _price(code, amount)
        except ValueError as fault:
            faults.append(f"{code} {fault}")
    if faults:
        raise ValueError(", ".join(faults))
    return prices


def _price(code: str, value: Any) -> Decimal:
    if code not in EXPONENTS:
        raise ValueError("is no currency that can be taken")
    price = _positive(value)
    if price.scaleb(EXPONENTS[code]) % 1:
        raise ValueError("has whole amounts only")
    return price


def _title(value: Any) -> Text:
    if not isinstance(value, dict) or value.keys() != {"en", "ru"}:
        raise ValueError('must be { en = "...", ru = "..." }')
    return Text(en=_text(value["en"]), ru=_text(value["ru"]))
