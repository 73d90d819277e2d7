"""What is told arrives, from wherever it is told, and hurts nobody who tells it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from service.errors import ServiceError
from service.feature import NOBODY, Event, On, tell
from service.features.tail.event import KEPT, TailEvent
from service.features.tail.pruning import PRUNE_BATCH, prune_events
from service.features.tail.tail import Tail
from tests.cast import PAYER
from tests.features.tail.watching import keep, rooms_of
from tests.outage import away
from tests.serving import Served, message, serving
from tests.waiting import until

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


async def rows(raw: asyncpg.Connection, name: str) -> list[Any]:
    found = await raw.fetch("SELECT user_id, told FROM tail_events WHERE name = $1 ORDER BY id", name)
    return [(row["user_id"], json.loads(row["told"])) for row in found]


def test_what_people_write_and_what_is_secret_is_left_out() -> None:
    told = {
        "status": "failed",
        "prompt": "my most private wish",
        "error_message": "I cannot draw `my most private wish`",
        "error_code": "refused: password=hush",
        "price_rub": Decimal("3.90"),
        "model_id": "card",
        "at": NOW - timedelta(minutes=1),
    }
    kept = TailEvent.of(Event("generation", 7, told), NOW)
    assert json.loads(kept.told) == {"status": "failed", "error_code": "refused: password=***", "price_rub": "3.90"}
    assert (kept.user_id, kept.model_id, kept.happened_at) == (7, "card", NOW - timedelta(minutes=1))


def test_an_event_about_nobody() -> None:
    kept = TailEvent.of(Event("recovered", NOBODY, {"job": "a", "counts": {"found": 3}}), NOW)
    assert (kept.user_id, kept.model_id, kept.happened_at) == (None, None, NOW)
    assert json.loads(kept.told) == {"job": "a", "counts": {"found": 3}}


async def test_a_generation_is_seen(served: Served, raw: asyncpg.Connection) -> None:
    await served.says(PAYER, "/start")
    await served.says(PAYER, "/generate qr hello")

    async def done() -> bool:
        return [told["status"] for _, told in await rows(raw, "generation")] == ["started", "success"]

    await until(done)
    assert [user_id for user_id, _ in await rows(raw, "generation")] == [PAYER.user_id] * 2
    assert await rows(raw, "started") == [(PAYER.user_id, {})]
    assert "hello" not in str(await raw.fetch("SELECT told::text FROM tail_events"))


async def test_a_feature_that_goes_off_and_comes_back(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("ALTER TABLE generation_events RENAME TO gone")
    await served.operations.switchboard.refresh()
    await raw.execute("ALTER TABLE gone RENAME TO generation_events")
    await served.operations.switchboard.refresh()
    off = {"feature": "diagnostics", "state": "off", "reason": "generation_events table missing"}

    async def told() -> bool:
        return await rows(raw, "feature_changed") == [
            (None, off),
            (None, {"feature": "diagnostics", "state": "on", "reason": ""}),
        ]

    await until(told)


async def test_a_parked_update(served: Served, raw: asyncpg.Connection) -> None:
    broken = message(PAYER, "/start")
    broken["message"]["from"] = "nobody"
    await served.post(broken)
    error = {"update_id": broken["update_id"], "kind": "unknown", "error": "Undecodable"}

    async def told() -> bool:
        return await rows(raw, "update_parked") == [(None, error)]

    await until(told)


async def test_a_recovery_that_found_something(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("INSERT INTO users (user_id) VALUES (1)")
    await raw.execute("INSERT INTO balances (user_id, balance_rub) VALUES (1, 0)")
    await raw.execute(
        "INSERT INTO payment_reservations (reservation_id, user_id, amount_rub, status, purpose, expires_at)"
        " VALUES (gen_random_uuid(), 1, 10, 'held', 'work', now() - interval '1 second')"
    )
    await served.operations.jobs.recover()

    async def told() -> bool:
        return (None, {"job": "expire_reservations", "counts": {"expired": 1}}) in await rows(raw, "recovered")

    await until(told)
    assert all(any(found["counts"].values()) for _, found in await rows(raw, "recovered")), "nothing is no news"


async def test_while_the_database_is_away_events_wait(database_url: str, raw: asyncpg.Connection) -> None:
    await raw.close()
    async with serving(database_url) as served:
        async with away(database_url):
            await until(lambda: not served.operations.database.reachable)
            tell(rooms_of(served), Event("started", PAYER.user_id))
            with pytest.raises(ServiceError):
                await rooms_of(served).of(Tail).flush()
        await until(lambda: served.operations.database.reachable, within=15)
        await until(lambda: not rooms_of(served).of(Tail).waiting, within=15)  # type: ignore[attr-defined]


async def test_without_the_table_nobody_hears(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("ALTER TABLE tail_events RENAME TO gone")
    await served.operations.switchboard.refresh()
    await keep(served, Event("started", PAYER.user_id))
    assert (await served.get("/admin/tail", admin=True))[0] == 503
    assert await served.says(PAYER, "/start")
    await raw.execute("ALTER TABLE gone RENAME TO tail_events")
    await served.operations.switchboard.refresh()
    assert isinstance(served.operations.switchboard.states["tail"], On)
    await keep(served, Event("started", 5))
    assert await rows(raw, "started") == [(5, {})]


async def test_what_waits_at_the_stop_is_written(database_url: str, raw: asyncpg.Connection) -> None:
    async with serving(database_url) as served:
        tell(rooms_of(served), Event("started", 5))
    assert await rows(raw, "started") == [(5, {})]


async def test_yesterday_is_forgotten(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute(
        "INSERT INTO tail_events (key, name, instance, happened_at)"
        " SELECT gen_random_uuid(), 'started', 'a', now() - interval '24 hours 1 minute' FROM generate_series(1, $1)",
        PRUNE_BATCH + 5,
    )
    await raw.execute(
        "INSERT INTO tail_events (key, name, instance, happened_at)"
        " VALUES (gen_random_uuid(), 'started', 'b', now() - interval '23 hours 59 minutes')"
    )
    assert await prune_events(rooms_of(served)) == {"pruned": PRUNE_BATCH + 5}
    assert [row[0] for row in await raw.fetch("SELECT instance FROM tail_events")] == ["b"]


def test_every_event_that_is_heard_is_explained() -> None:
    from tests.test_docs import OPERATIONS

    assert not [name for name in KEPT if f"| `{name}` |" not in OPERATIONS]
