"""Whoever read up to a cursor has missed nothing, whoever writes at the same time."""

from __future__ import annotations

import asyncio

import asyncpg

from service.features.tail import repo
from service.features.tail.bell import Bell
from service.features.tail.following import Wanted, follow, read
from service.kernel.database import Database, DatabaseSettings
from tests.features.tail.watching import row
from tests.waiting import until

EVERYTHING = Wanted()


async def seen(db: Database) -> list[str]:
    return [event.instance for event in (await read(db, EVERYTHING, 0, 100)).events]


async def test_a_writer_waits_until_the_one_before_has_committed(db: Database, raw: asyncpg.Connection) -> None:
    """Else the later one, whose ids are higher, might be read first, and the cursor would be past the other."""
    async with db.transaction() as slow:
        await repo.write_events(slow, "slow", [row()])
        async with db.acquire() as conn:
            quick = asyncio.create_task(repo.write_events(conn, "quick", [row()]))

            async def waits() -> bool:
                query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                return bool(await raw.fetchval(query))

            await until(waits)
            assert await seen(db) == []
            assert not quick.done()
        await asyncio.sleep(0)
    assert await quick == 1
    assert await seen(db) == ["slow", "quick"]


async def test_ids_of_a_writer_that_took_back_leave_a_gap_and_nothing_else(db: Database) -> None:
    try:
        async with db.transaction() as conn:
            await repo.write_events(conn, "gone", [row()])
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    async with db.acquire() as conn:
        await repo.write_events(conn, "stays", [row()])
    found = await read(db, EVERYTHING, 0, 100)
    assert [event.instance for event in found.events] == ["stays"]
    assert found.cursor == found.events[0].id == 2


async def test_a_reader_beside_many_writers_sees_each_row_once(database_url: str) -> None:
    """Eight writers, whose transactions end in any order, and one who reads all the time."""
    database = Database(DatabaseSettings(database_url, pool_max=12))
    bell = Bell(database)
    await database.start()
    told: set[str] = set()

    async def write(writer: int) -> None:
        for number in range(25):
            name = f"{writer}.{number}"
            async with database.transaction() as conn:
                await repo.write_events(conn, name, [row(), row()])
                await asyncio.sleep(0.001 * (writer % 3))
                told.add(name)

    writing = [asyncio.create_task(write(writer)) for writer in range(8)]
    heard: list[str] = []
    async with asyncio.timeout(60):
        async for page in follow(database, bell, EVERYTHING, 0):
            heard += [event.instance for event in page.events]
            if len(heard) == 8 * 25 * 2:
                break
    await asyncio.gather(*writing)
    await database.stop()
    assert {name: heard.count(name) for name in told} == dict.fromkeys(told, 2)


async def test_what_was_written_already_is_not_written_twice(db: Database) -> None:
    """The answer to a write was lost, so it is tried again."""
    once, more = row(), row()
    async with db.acquire() as conn:
        assert await repo.write_events(conn, "a", [once]) == 1
        assert await repo.write_events(conn, "a", [once, more]) == 1
    assert len(await seen(db)) == 2


async def test_a_cursor_never_goes_back(db: Database, raw: asyncpg.Connection) -> None:
    """An empty table has forgotten how far it went."""
    async with db.acquire() as conn:
        await repo.write_events(conn, "a", [row(), row()])
    before = await read(db, EVERYTHING, 0, 100)
    await raw.execute("DELETE FROM tail_events")
    assert (await read(db, EVERYTHING, before.cursor, 100)).cursor == before.cursor == 2
    async with db.acquire() as conn:
        await repo.write_events(conn, "b", [row()])
    assert [event.id for event in (await read(db, EVERYTHING, before.cursor, 100)).events] == [3]
