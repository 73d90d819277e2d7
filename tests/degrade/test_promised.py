"""The manifests say what people are promised: no table has another effect, and none is forgotten."""

from __future__ import annotations

from collections.abc import Iterable

import asyncpg
import pytest

from service.feature import Feature, relations_of
from service.features import FEATURES
from service.telegram.router import Key
from service.telegram.texts import UNAVAILABLE
from tests.degrade.promised import PROMISED, SORRY, SORRY_IN_ENGLISH, Names

TABLES = """
SELECT relname::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND relname NOT SIMILAR TO '%yoyo%'
"""


def written(key: Key) -> str:
    """A route as promises name it."""
    by, what = key
    return {"command": f"/{what}", "text": what, "callback": f"{what}:", "kind": f"({what})"}[by]


def taken_with(features: Iterable[Feature]) -> dict[str, Names]:
    """All that is off when these are."""
    features = tuple(features)
    return {
        "off": frozenset(one.name for one in features),
        "says": frozenset(written(key) for one in features if one.router for key in one.router.routes),
        "closed": frozenset(f"{route.method} {route.path}" for one in features for route in one.routes),
        "rests": frozenset(job.name for one in features for job in one.jobs),
    }


@pytest.mark.parametrize("relation", sorted(PROMISED))
def test_a_table_takes_what_is_promised(relation: str) -> None:
    needing = [feature for feature in FEATURES if relation in feature.needs]
    row = PROMISED[relation]
    assert taken_with(needing) == {"off": row.off, "says": row.says, "closed": row.closed, "rests": row.rests}


async def test_there_is_a_row_for_each_table(raw: asyncpg.Connection) -> None:
    there = {row["relname"] for row in await raw.fetch(TABLES)}
    assert there == set(PROMISED), "migrations and promises"
    assert relations_of(FEATURES) == set(PROMISED), "manifests and promises"


def test_one_table_shuts_the_doors() -> None:
    essential = {relation for feature in FEATURES if feature.essential for relation in feature.needs}
    assert essential == {relation for relation, row in PROMISED.items() if row.shut} == {"users"}


def test_the_words() -> None:
    assert (UNAVAILABLE.ru, UNAVAILABLE.en) == (SORRY, SORRY_IN_ENGLISH)


def test_what_needs_neither_a_table_nor_a_setting() -> None:
    """It goes on whatever is missing."""
    always = {feature.name for feature in FEATURES if not feature.needs and not feature.requires}
    assert always == {"generation", "operators"}


@pytest.mark.parametrize("relation", sorted(PROMISED))
def test_a_manifest_that_forgets_it_is_noticed(relation: str) -> None:
    needing = [feature for feature in FEATURES if relation in feature.needs]
    for forgetful in needing:
        others = [feature for feature in needing if feature is not forgetful]
        assert taken_with(others)["off"] != PROMISED[relation].off
