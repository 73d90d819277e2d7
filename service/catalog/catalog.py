"""What is sold: the packs of catalog.toml, and the percent for whoever invited the payer.

It knows the file and every way in which it can be wrong; it knows nothing of who sells it or takes the money.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from service.catalog.reading import Reading, identifier, line, percent, positive, prices, title
from service.config import ConfigError
from service.text import Text

BESIDE_THE_SERVICE = Path(__file__).resolve().parents[2]


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
    reading = Reading(document, "", [])
    catalog = Catalog(
        packs=reading.many("packs", _pack),
        referral_percent=reading.value("referral_percent", percent, Decimal(0)),
        support=reading.value("support", line, ""),
    )
    reading.end()
    ids = [pack.id for pack in catalog.packs if pack.id]
    reading.faults += [f"packs: {one} is there twice" for one in sorted({one for one in ids if ids.count(one) > 1})]
    if reading.faults:
        raise ConfigError(reading.faults)
    return catalog


def _pack(reading: Reading) -> Pack:
    return Pack(
        id=reading.value("id", identifier),
        credit_rub=reading.value("credit_rub", positive),
        prices=reading.value("prices", prices),
        title=reading.value("title", title, None),
    )
