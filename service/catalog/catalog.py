"""What is sold: the models and the packs of catalog.toml, and the percent for whoever invited the payer.

It knows the file and every way in which it can be wrong; it knows nothing of who sells it or takes the money.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from service.catalog.reading import Reading, amount, identifier, line, percent, positive, prices, table, title, whole
from service.config import ConfigError
from service.text import Text

# What stands for what the file does not say.
JOBS_PER_PERSON = 10
PROMPT_MAX = 4_000  # characters; a message has 4096, and the command is part of it
TIMEOUT_S = 120
TIMEOUT_MAX_S = 86_400
AT_ONCE_MAX = 1_000

BESIDE_THE_SERVICE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Pack:
    """A top-up: what the balance gets, and what it costs by currency, the preferred one first."""

    id: str
    credit_rub: Decimal
    prices: Mapping[str, Decimal]
    title: Text | None = None


Params = Mapping[str, Any]
Check = Callable[[Params], Iterable[str]]
"""What a provider finds wrong with the parameters of a model."""


@dataclass(frozen=True, slots=True)
class Category:
    """A shelf of models."""

    id: str
    title: Text


@dataclass(frozen=True, slots=True)
class Model:
    """Something that makes things: what a try costs (0 is free), who makes it and how, and what it can bear.

    prompt_max: characters. timeout_s: seconds of one try. at_once: tries under way at once, over all instances.
    """

    id: str
    title: Text
    category: str
    price_rub: Decimal
    provider: str
    params: Params
    prompt_max: int
    timeout_s: int
    at_once: int | None = None

    @property
    def is_free(self) -> bool:
        return not self.price_rub


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that is sold. `support` is whom people write to about a payment, or empty.

    jobs_per_person: how many of a person's orders may be open at once.
    """

    packs: tuple[Pack, ...]
    referral_percent: Decimal
    support: str = ""
    categories: tuple[Category, ...] = ()
    models: tuple[Model, ...] = ()
    jobs_per_person: int = JOBS_PER_PERSON

    def model(self, model_id: str) -> Model | None:
        return next((model for model in self.models if model.id == model_id), None)

    def pack(self, pack_id: str) -> Pack | None:
        return next((pack for pack in self.packs if pack.id == pack_id), None)


def load(path: Path, providers: Mapping[str, Check]) -> Catalog:
    """The catalogue in a file; a relative path is tried where the process runs, then beside the service.

    `providers` check the parameters of their models. Raises ConfigError with every fault there is.
    """
    found = path if path.exists() else BESIDE_THE_SERVICE / path
    try:
        text = found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"CATALOG: {path}: cannot be read ({type(error).__name__})"]) from None
    try:
        return parse(text, providers)
    except ConfigError as error:
        raise ConfigError([f"CATALOG: {path}: {fault}" for fault in error.faults]) from None


def parse(text: str, providers: Mapping[str, Check]) -> Catalog:
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
        categories=reading.many("categories", _category),
        models=reading.many("models", _model),
        jobs_per_person=reading.value("jobs_per_person", whole(1, 1_000), JOBS_PER_PERSON),
    )
    reading.end()
    faults = [*reading.faults, *_twice(catalog), *_unknown(catalog, providers)]
    if faults:
        raise ConfigError(faults)
    return catalog


def _twice(catalog: Catalog) -> Iterable[str]:
    things = (("packs", catalog.packs), ("categories", catalog.categories), ("models", catalog.models))
    for where, ids in ((where, Counter(one.id for one in many if one.id)) for where, many in things):
        yield from (f"{where}: {one} is there twice" for one, times in sorted(ids.items()) if times > 1)


def _unknown(catalog: Catalog, providers: Mapping[str, Check]) -> Iterable[str]:
    """Faults between the parts: shelves that are not there, and what providers make of their parameters."""
    shelves = {category.id for category in catalog.categories}
    for number, model in enumerate(catalog.models, 1):
        if model.category and model.category not in shelves:
            yield f"models {number}: category: there is no {model.category}"
        if model.provider and model.provider not in providers:
            yield f"models {number}: provider: must be one of {', '.join(sorted(providers))}"
        elif model.provider:
            yield from (f"models {number}: params: {fault}" for fault in providers[model.provider](model.params or {}))


def _pack(reading: Reading) -> Pack:
    return Pack(
        id=reading.value("id", identifier),
        credit_rub=reading.value("credit_rub", positive),
        prices=reading.value("prices", prices),
        title=reading.value("title", title, None),
    )


def _category(reading: Reading) -> Category:
    return Category(id=reading.value("id", identifier), title=reading.value("title", title))


def _model(reading: Reading) -> Model:
    return Model(
        id=reading.value("id", identifier),
        title=reading.value("title", title),
        category=reading.value("category", identifier),
        price_rub=reading.value("price_rub", amount),
        provider=reading.value("provider", identifier),
        params=reading.value("params", table, {}),
        prompt_max=reading.value("prompt_max", whole(1, PROMPT_MAX), PROMPT_MAX),
        timeout_s=reading.value("timeout_s", whole(1, TIMEOUT_MAX_S), TIMEOUT_S),
        at_once=reading.value("at_once", whole(1, AT_ONCE_MAX), None),
    )
