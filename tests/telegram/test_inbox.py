"""The two tables of the inbox: claims that commit with their effect, failures kept until an operator has seen them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.errors import NotFound
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.telegram import inbox
from service.telegram.inbox import Claims, ClaimsInTable, Failures, FailuresInTable
from tests.waiting import until

BOT, OTHER_BOT = 4242, 4243
BIG = 2**62


class LaterClock(Clock):
    """The machine's clock, some days ahead."""

    def __init__(self, days: float) -> None:
        self.ahead = timedelta(days=days)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


def rooms_of(db: Database, days: float) -> Rooms:
    return Rooms({Database: db, Clock: LaterClock(days)})


async def claim(db: Database, claims: Claims, update_id: int, reply: bytes = b"") -> bool:
    async with db.transaction() as conn:
        first = await claims.claim(conn, update_id)
        if first:
            await claims.store_reply(conn, update_id, reply)
        return first


async def stored(db: Database, claims: Claims, update_id: int) -> bytes:
    async with db.acquire() as conn:
        return await claims.stored_reply(conn, update_id)


async def test_an_update_is_claimed_once_for_each_bot(db: Database) -> None:
    ours, theirs = ClaimsInTable(BOT), ClaimsInTable(OTHER_BOT)
    assert await claim(db, ours, BIG, b'{"method": "x"}')
    assert not await claim(db, ours, BIG, b"another")
    assert await claim(db, theirs, BIG)
    assert await stored(db, ours, BIG) == b'{"method": "x"}'
    assert await stored(db, theirs, BIG) == b""
    assert await stored(db, ours, 5) == b""


async def test_a_rival_waits_for_the_commit_and_then_reads_the_answer(db: Database, raw: asyncpg.Connection) -> None:
    claims = ClaimsInTable(BOT)
    claimed, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> bool:
        async with db.transaction() as conn:
            first = await claims.claim(conn, 1)
            claimed.set()
            await go_on.wait()
            await claims.store_reply(conn, 1, b"the answer")
            return first

    async def rival() -> tuple[bool, bytes]:
        async with db.transaction() as conn:
            return await claims.claim(conn, 1), await claims.stored_reply(conn, 1)

    winner = asyncio.create_task(slow())
    await claimed.wait()
    loser = asyncio.create_task(rival())
    await until(lambda: raw.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    go_on.set()
    assert await winner
    assert await loser == (False, b"the answer")


async def test_a_claim_that_rolls_back_is_free_again(db: Database) -> None:
    claims = ClaimsInTable(BOT)
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as conn:
            assert await claims.claim(conn, 1)
            raise ZeroDivisionError
    assert await claim(db, claims, 1)


async def test_what_stands_in_for_the_table_lets_everything_through(db: Database) -> None:
    claims = Claims()
    assert await claim(db, claims, 1)
    assert await claim(db, claims, 1)
    assert await stored(db, claims, 1) == b""


async def test_failures_are_counted_until_they_are_parked(db: Database) -> None:
    failures = FailuresInTable(db, BOT)
    assert [await failures.record(1, b"\0\xff", f"error {n}") for n in range(4)] == [False, False, True, True]
    kept = await failures.get(1)
    assert (kept.body, kept.error, kept.attempts, kept.replayed_at) == (b"\0\xff", "error 3", 4, None)
    assert await FailuresInTable(db, OTHER_BOT).record(1, b"", "", park_after=1)
    with pytest.raises(NotFound):
        await failures.get(2)


async def test_what_is_parked_stays_parked_when_a_replay_fails(db: Database) -> None:
    failures = FailuresInTable(db, BOT)
    await failures.record(1, b"x", "not understood", park_after=1)
    parked_at = (await failures.get(1)).parked_at
    await failures.mark_replayed(1)
    assert (await failures.get(1)).replayed_at is not None
    assert await failures.record(1, b"x", "understood by a newer version, and failed")
    kept = await failures.get(1)
    assert (kept.attempts, kept.parked_at, kept.replayed_at) == (2, parked_at, None)


async def test_parked_failures_by_pages_newest_first(db: Database, raw: asyncpg.Connection) -> None:
    failures = FailuresInTable(db, BOT)
    for number in range(7):
        await failures.record(number, b"x", "e", park_after=1)
    await raw.execute("UPDATE failed_updates SET parked_at = '2026-01-01Z' WHERE update_id < 4")  # told apart by id
    await failures.record(100, b"x", "not parked")
    await failures.mark_replayed(5)
    await FailuresInTable(db, OTHER_BOT).record(200, b"x", "e", park_after=1)
    found: list[int] = []
    after = inbox.NEWEST
    while page := await failures.page(after, 2):
        found += [failed.update_id for failed in page]
        last = page[-1]
        assert last.parked_at is not None
        after = (last.parked_at, last.update_id)
    assert found == [6, 4, 3, 2, 1, 0]


async def test_what_stands_in_for_failures_only_counts() -> None:
    failures = Failures()
    assert [await failures.record(1, b"", "") for _ in range(4)] == [False, False, True, True]
    assert not await failures.record(2, b"", "")
    assert await failures.record(3, b"", "", park_after=1)
    assert not failures.durable


async def test_old_claims_are_pruned_in_batches_and_young_ones_stay(
    db: Database, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "PRUNE_BATCH", 3)
    await raw.execute("INSERT INTO processed_updates (bot_id, update_id) SELECT 1, n FROM generate_series(1, 5) n")
    assert await inbox.prune_processed(rooms_of(db, days=1.9)) == {"pruned": 0}
    assert await inbox.prune_processed(rooms_of(db, days=2.1)) == {"pruned": 3}
    assert await inbox.prune_processed(rooms_of(db, days=2.1)) == {"pruned": 2}
    assert await inbox.prune_processed(rooms_of(db, days=2.1)) == {"pruned": 0}


async def test_two_that_prune_at_once_do_not_wait_for_each_other(db: Database, raw: asyncpg.Connection) -> None:
    await raw.execute("INSERT INTO processed_updates (bot_id, update_id) SELECT 1, n FROM generate_series(1, 5) n")
    transaction = raw.transaction()
    await transaction.start()
    await raw.execute("SELECT FROM processed_updates WHERE update_id < 3 FOR UPDATE")
    assert await inbox.prune_processed(rooms_of(db, days=3)) == {"pruned": 3}
    await transaction.rollback()


async def test_mended_failures_are_pruned_and_parked_ones_stay(db: Database) -> None:
    failures = FailuresInTable(db, BOT)
    await failures.record(1, b"x", "e")
    await failures.record(2, b"x", "e", park_after=1)
    assert await inbox.prune_failures(rooms_of(db, days=0.9)) == {"pruned": 0}
    assert await inbox.prune_failures(rooms_of(db, days=1.1)) == {"pruned": 1}
    assert (await failures.get(2)).attempts == 1
