"""Events arrive, many in one statement; whoever tells never waits, never fails, and has no part in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest

from service.errors import DatabaseAway, SchemaDrift
from service.feature import tell
from service.features import FEATURES
from service.features.diagnostics import recorder, repo
from service.features.diagnostics.event import GenerationEvent
from service.features.diagnostics.pruning import PRUNE_BATCH, prune_events
from service.features.diagnostics.recorder import Recorder, RecorderInTable
from service.kernel.database import Database
from tests.cast import FRIEND, PAYER, STRANGER
from tests.features.diagnostics.generations import failed, generation, keep, paid, recorder_of, rooms_of
from tests.outage import away
from tests.serving import Served, serving
from tests.waiting import until


@asynccontextmanager
async def serving_in_peace(database_url: str) -> AsyncIterator[Served]:
    """Nothing is written unless somebody asks for it."""
    jobs = {recorder.NAME: replace(recorder.JOB, every_s=3600.0)}
    features = [
        replace(feature, jobs=tuple(jobs.get(job.name, job) for job in feature.jobs)) if feature.jobs else feature
        for feature in FEATURES
    ]
    async with serving(database_url, features=features) as served:
        yield served


async def count(raw: asyncpg.Connection) -> int:
    return int(await raw.fetchval("SELECT count(*) FROM generation_events"))


async def test_an_event_is_kept_within_a_second(served: Served, raw: asyncpg.Connection) -> None:
    at = datetime(2026, 11, 1, 12, tzinfo=UTC)
    tell(
        rooms_of(served), paid(PAYER.user_id, status="failed", error_code="refused", task_id="t1", at=at, chat_id=-100)
    )

    async def there() -> bool:
        return await count(raw) == 1

    await until(there)
    row = dict(await raw.fetchrow("SELECT * FROM generation_events"))
    assert row.pop("id")
    assert row.pop("request_id").startswith("job-")
    assert row == {
        "user_id": PAYER.user_id,
        "chat_id": -100,
        "model_id": "image-large",
        "category": "image",
        "status": "failed",
        "is_free_applied": False,
        "price_rub": Decimal("12.50"),
        "task_id": "t1",
        "error_code": "refused",
        "error_message": None,
        "duration_ms": 1200,
        "created_at": at,
    }
    assert recorder.WRITE_EVERY_S * 1.1 < 1, "with the jitter of jobs"


async def test_many_do_not_wait_for_their_time(database_url: str, raw: asyncpg.Connection) -> None:
    async with serving_in_peace(database_url) as served:
        for _ in range(recorder.WRITE_AT - 1):
            tell(rooms_of(served), generation(PAYER.user_id))
        assert recorder_of(served).waiting == recorder.WRITE_AT - 1
        tell(rooms_of(served), generation(PAYER.user_id))
        await until(lambda: not recorder_of(served).waiting)
    assert await count(raw) == recorder.WRITE_AT


async def test_ten_thousand_arrive(served: Served, raw: asyncpg.Connection) -> None:
    people = [PAYER, FRIEND, STRANGER]
    for number in range(recorder.WAITING_MAX):
        tell(rooms_of(served), generation(people[number % 3].user_id))
    await recorder_of(served).flush()
    assert await raw.fetchval("SELECT count(DISTINCT request_id) FROM generation_events") == recorder.WAITING_MAX
    assert await count(raw) == recorder.WAITING_MAX
    assert recorder_of(served).dropped == 0


async def test_of_too_many_the_oldest_are_given_up(
    database_url: str, raw: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving_in_peace(database_url) as served:
        small = RecorderInTable(rooms_of(served), waiting_max=3)
        for number in range(8):
            small.record(generation(PAYER.user_id, request_id=f"n{number}"))
        assert (small.waiting, small.dropped) == (3, 5)
        await small.flush()
    assert [row[0] for row in await raw.fetch("SELECT request_id FROM generation_events ORDER BY id")] == [
        "n5",
        "n6",
        "n7",
    ]
    told = [record for record in caplog.records if record.getMessage() != "slow query"]
    assert [record.getMessage() for record in told] == ["events dropped"], "one line, however many"


async def test_somebody_whom_the_database_has_never_seen_is_made(served: Served, raw: asyncpg.Connection) -> None:
    """He came while it was away. One whom somebody deleted costs nobody else his event."""
    await keep(served, generation(PAYER.user_id), generation(FRIEND.user_id))
    assert await raw.fetchval("SELECT count(*) FROM users") == 2
    events = [GenerationEvent.of(generation(user_id)) for user_id in (PAYER.user_id, 999, FRIEND.user_id)]
    async with rooms_of(served).of(Database).transaction() as conn:
        assert await repo.write_events(conn, events) == 2
    assert await count(raw) == 4


async def test_one_that_the_table_refuses_takes_no_other_with_it(
    database_url: str, raw: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving_in_peace(database_url) as served:
        odd = [generation(PAYER.user_id, status="exploded"), generation(PAYER.user_id, model_id="a\x00b")]
        await keep(served, *[generation(PAYER.user_id) for _ in range(5)], odd[0], generation(FRIEND.user_id), odd[1])
        assert (recorder_of(served).waiting, recorder_of(served).dropped) == (0, 2)
    assert await count(raw) == 6
    assert "events dropped" in caplog.text


async def test_an_event_that_is_nonsense_hurts_nobody(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    event = generation(PAYER.user_id)
    tell(rooms_of(served), replace(event, told={"status": "success"}))
    assert recorder_of(served).waiting == 0
    assert "an event was not heard" in caplog.text


async def test_what_was_written_already_is_not_written_twice(served: Served, raw: asyncpg.Connection) -> None:
    """The answer to a commit was lost, so it is tried again."""
    event = GenerationEvent.of(generation(PAYER.user_id))
    later = GenerationEvent.of(generation(PAYER.user_id, request_id=event.request_id, status="failed"))
    nameless = GenerationEvent.of(generation(PAYER.user_id, request_id=None))
    await raw.execute("INSERT INTO users (user_id) VALUES ($1)", PAYER.user_id)
    async with rooms_of(served).of(Database).transaction() as conn:
        assert await repo.write_events(conn, [event, nameless]) == 2
        assert await repo.write_events(conn, [event, later, nameless]) == 2, "without a name none is like another"


async def test_while_the_database_is_away_they_wait(database_url: str, raw: asyncpg.Connection) -> None:
    await raw.close()
    async with serving(database_url) as served:
        async with away(database_url):
            await until(lambda: not served.operations.database.reachable)
            for _ in range(recorder.WRITE_AT + 1):
                tell(rooms_of(served), generation(PAYER.user_id))
            with pytest.raises(DatabaseAway):
                await recorder_of(served).flush()
            assert recorder_of(served).waiting == recorder.WRITE_AT + 1

        async def there() -> bool:
            async with rooms_of(served).of(Database).acquire() as conn:
                return await conn.fetchval("SELECT count(*) FROM generation_events") == recorder.WRITE_AT + 1

        await until(lambda: served.operations.database.reachable, within=15)
        await until(there, within=15)
    assert recorder_of(served).dropped == 0


async def test_without_the_table_nobody_hears_and_what_waits_is_kept_for_its_return(
    database_url: str, raw: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving_in_peace(database_url) as served:
        tell(rooms_of(served), generation(PAYER.user_id))
        real = recorder_of(served)
        await raw.execute("ALTER TABLE generation_events RENAME TO gone")
        with pytest.raises(SchemaDrift):
            await real.flush()
        await served.operations.switchboard.refresh()
        tell(rooms_of(served), generation(PAYER.user_id))
        assert real.waiting == 1, "what is told now is not kept"
        assert not isinstance(rooms_of(served).of(Recorder), RecorderInTable)
        await raw.execute("ALTER TABLE gone RENAME TO generation_events")
        await served.operations.switchboard.refresh()
        await until(lambda: not real.waiting)
    assert await count(raw) == 1
    warnings = [record.getMessage() for record in caplog.records if record.name == "features"]
    assert warnings == ["generation_events table missing"]


async def test_a_transaction_of_somebody_else_has_no_part_in_it(served: Served, raw: asyncpg.Connection) -> None:
    """It commits though the event cannot be written; and what it takes back takes no event with it."""
    await raw.execute("INSERT INTO users (user_id) VALUES (1)")
    await raw.execute("ALTER TABLE generation_events RENAME TO gone")
    async with rooms_of(served).of(Database).transaction() as conn:
        tell(rooms_of(served), generation(1))
        with pytest.raises(SchemaDrift):
            await recorder_of(served).flush()
        await conn.execute("INSERT INTO balances (user_id, balance_rub) VALUES (1, 5)")
    assert await raw.fetchval("SELECT balance_rub FROM balances WHERE user_id = 1") == 5
    await raw.execute("ALTER TABLE gone RENAME TO generation_events")
    with pytest.raises(ZeroDivisionError):
        async with rooms_of(served).of(Database).transaction() as conn:
            await conn.execute("UPDATE balances SET balance_rub = 0")
            tell(rooms_of(served), generation(1))
            raise ZeroDivisionError
    await recorder_of(served).flush()
    assert (await count(raw), await raw.fetchval("SELECT balance_rub FROM balances")) == (2, 5)


async def test_what_waits_at_the_stop_is_written(database_url: str, raw: asyncpg.Connection) -> None:
    async with serving_in_peace(database_url) as served:
        tell(rooms_of(served), failed(PAYER.user_id))
        assert recorder_of(served).waiting == 1
    assert await count(raw) == 1


async def test_what_cannot_be_written_at_the_stop_is_told(
    database_url: str, raw: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving_in_peace(database_url) as served:
        tell(rooms_of(served), failed(PAYER.user_id))
        await raw.execute("DROP TABLE generation_events")
    assert "events lost at the stop" in caplog.text


async def test_old_events_are_forgotten(served: Served, raw: asyncpg.Connection) -> None:
    now = datetime.now(UTC)
    old, young = now - timedelta(days=90, minutes=1), now - timedelta(days=89, hours=23)
    await keep(served, generation(PAYER.user_id, at=young))
    await raw.execute(
        "INSERT INTO generation_events (user_id, model_id, status, created_at)"
        " SELECT $1, 'old', 'success', $2 FROM generate_series(1, $3::int)",
        PAYER.user_id,
        old,
        PRUNE_BATCH + 5,
    )
    assert await prune_events(rooms_of(served)) == {"pruned": PRUNE_BATCH + 5}
    assert [row[0] for row in await raw.fetch("SELECT model_id FROM generation_events")] == ["text-card"]
