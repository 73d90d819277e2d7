"""Whatever table is missing, exactly the features that need it are off, say so, and come back by themselves.

Made from the manifests alone: the relations that features need, and the updates that their routes match. A new
feature is held to this by standing in the list. Under traffic, and with two missing, tests/degrade has it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import asyncpg
import pytest

from service.feature import Feature
from service.features import FEATURES
from service.telegram.router import Key, Route
from service.telegram.texts import UNAVAILABLE
from tests.cast import OPERATOR, STRANGER, Person
from tests.serving import ADMIN_TOKEN, Served, message, pressed, update_ids
from tests.serving import serving as serving_anybody

RELATIONS = sorted({relation for feature in FEATURES for relation in feature.needs})
ESSENTIAL = {relation for feature in FEATURES if feature.essential for relation in feature.needs}
PLACE = re.compile(r"{\w+}")  # in a route's path
# Everybody speaks once, and each operator seldom, so that the flood guard has no part in this.
numbers = itertools.count(50_000)
OPERATORS = range(OPERATOR.user_id, OPERATOR.user_id + 2_000)
operators = itertools.cycle(OPERATORS)
serving = partial(serving_anybody, ADMIN_IDS=",".join(map(str, OPERATORS)))


def needing(*relations: str) -> set[str]:
    return {feature.name for feature in FEATURES if feature.needs.keys() & set(relations)}


def update_for(key: Key, route: Route) -> dict[str, Any]:
    """What a person does to meet this route; an operator, where it is for operators."""
    by, what = key
    person = replace(STRANGER, user_id=next(operators if route.for_operators else numbers))
    if by == "callback":
        return pressed(person, what)
    if by == "kind":
        return _of_kind(person, what)
    return message(person, f"/{what}" if by == "command" else what)


def _of_kind(person: Person, kind: str) -> dict[str, Any]:
    """Money is not here: without an order it is refused on purpose (tests/telegram/test_failures.py)."""
    if kind in ("message", "callback_query"):
        return message(person, "…") if kind == "message" else pressed(person, "…")
    private = {"id": person.user_id, "type": "private"}
    body = {"id": "q", "from": person.wire, "chat": private, "new_chat_member": {"status": "member"}}
    return {"update_id": next(update_ids), kind: body}


def routes_of(features: Sequence[Feature]) -> Iterator[tuple[Feature, Key, Route]]:
    for feature in features:
        for key, route in (feature.router.routes if feature.router else {}).items():
            if key != ("kind", "money"):
                yield feature, key, route


ROUTES = list(routes_of(FEATURES))


@asynccontextmanager
async def without(raw: asyncpg.Connection, *relations: str) -> AsyncIterator[None]:
    for relation in relations:
        await raw.execute(f'ALTER TABLE "{relation}" RENAME TO "{relation}_gone"')
    yield
    for relation in relations:
        await raw.execute(f'ALTER TABLE "{relation}_gone" RENAME TO "{relation}"')


def off(served: Served) -> set[str]:
    return {name for name, state in served.operations.switchboard.states.items() if state.state == "off"}


async def everybody_is_answered(served: Served, off_for_good: set[str], relations: tuple[str, ...]) -> None:
    """By each route as its feature stands; and /health says why."""
    expected = off_for_good | needing(*relations)
    status, health = await served.get("/health")
    assert {name for name, told in health["features"].items() if told["state"] == "off"} == expected
    for feature in FEATURES:
        told = health["features"][feature.name]
        for relation in feature.needs.keys() & set(relations):
            assert f"{relation} table missing" in told["reason"]
            assert relation in told["missing"]
    essential = bool(ESSENTIAL & set(relations))
    assert (status, health["status"]) == ((503, "unhealthy") if essential else (200, "degraded"))
    assert (await served.get("/health/ready"))[0] == (503 if essential else 200)
    assert (await served.get("/health/live"))[0] == 200
    for feature, key, route in ROUTES:
        await _is_answered(served, key, route, essential=essential, is_off=feature.name in expected)
    for feature in FEATURES:
        for http_route in feature.routes if feature.name in expected else ():
            url, headers = served.base + PLACE.sub("1", http_route.path), {"Authorization": f"Bearer {ADMIN_TOKEN}"}
            async with served.http.request(http_route.method, url, headers=headers) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (503, "feature_off")


async def _is_answered(served: Served, key: Key, route: Route, *, essential: bool, is_off: bool) -> None:
    status, body = await served.post(update_for(key, route))
    if essential or (is_off and route.when_away == "retry"):
        assert status == 503, f"{key} is kept by Telegram"
    else:
        apologised = UNAVAILABLE.en in str(body)
        assert (status, apologised) == (200, is_off), f"{key} answered {body}"


@pytest.fixture
async def off_for_good(database_url: str) -> set[str]:
    """What the settings of the tests keep off, with every table there."""
    async with serving(database_url) as served:
        return off(served)


@pytest.mark.parametrize("relation", RELATIONS)
async def test_missing_at_the_start(
    database_url: str, raw: asyncpg.Connection, off_for_good: set[str], relation: str
) -> None:
    async with without(raw, relation), serving(database_url) as served:
        await everybody_is_answered(served, off_for_good, (relation,))


async def test_every_column_that_is_needed(database_url: str, raw: asyncpg.Connection, off_for_good: set[str]) -> None:
    async with serving(database_url) as served:
        for feature in FEATURES:
            for relation, column in [(name, column) for name, need in feature.needs.items() for column in need.columns]:
                await raw.execute(f'ALTER TABLE "{relation}" RENAME COLUMN "{column}" TO gone')
                await served.operations.switchboard.refresh()
                assert feature.name in off(served)
                state = served.operations.switchboard.states[feature.name]
                assert (state.reason, state.missing) == (
                    f"{relation}.{column} column missing",
                    (f"{relation}.{column}",),
                )
                await raw.execute(f'ALTER TABLE "{relation}" RENAME COLUMN gone TO "{column}"')
        await served.operations.switchboard.refresh()
        assert off(served) == off_for_good


@pytest.mark.parametrize("relation", RELATIONS)
async def test_a_view_in_its_place_counts(
    database_url: str, raw: asyncpg.Connection, off_for_good: set[str], relation: str
) -> None:
    await raw.execute(f'ALTER TABLE "{relation}" RENAME TO behind')
    await raw.execute(f'CREATE VIEW "{relation}" AS TABLE behind')
    async with serving(database_url) as served:
        assert off(served) == off_for_good


def test_there_is_something_to_lose() -> None:
    assert {"users", "processed_updates", "failed_updates"} <= set(RELATIONS)
    assert len(ROUTES) > 5
