"""The catalogue that ships works in development as it is: every model of it, with what its provider stands for."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from service import catalog
from service.catalog import Model
from service.features.generation.providers import CHECKS, KINDS
from service.features.generation.providers.provider import Output, Pending, Request
from tests.features.generation.providers.makers import Makers

SHIPPED = catalog.load(Path(__file__).parents[4] / "catalog.toml", CHECKS).models


@pytest.mark.parametrize("model", SHIPPED, ids=lambda model: model.id)
async def test_a_model_makes_something(makers: Makers, model: Model) -> None:
    asked, provider = Request(uuid4(), model, "Привет, мир! " * 3), makers.get(model.provider)
    made = await provider.start(asked)
    if isinstance(made, Pending):
        makers.sandbox.finish(made.reference)
        made = await provider.check(asked, made.reference)
    assert isinstance(made, Output)
    assert made.text or made.file


@pytest.mark.parametrize("letter", ["a", "Щ", "🎂"])
@pytest.mark.parametrize("model", [model for model in SHIPPED if model.provider == "local"], ids=lambda model: model.id)
async def test_the_longest_prompt_of_a_free_model_can_be_drawn(makers: Makers, model: Model, letter: str) -> None:
    """Of letters; emoji have four bytes each, and a QR code holds half as many."""
    count = model.prompt_max // (2 if letter == "🎂" else 1)
    made = await makers.get("local").start(Request(uuid4(), model, "a" + letter * (count - 1)))
    assert isinstance(made, Output)


def test_no_two_providers_have_one_name() -> None:
    assert len(CHECKS) == len(KINDS)
