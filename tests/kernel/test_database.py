"""The seam in good weather: connections, transactions, deadlines, and what callers may do to one another."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from traceback import format_exception

import asyncpg
import pytest

from service import errors
from service.kernel import metrics
from service.kernel.database import Connection, Database
from service.kernel.database import database as seam
from tests.kernel.seam import all_slots_are_free, answers, opened
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_complaints")


class Hanging(Connection):
    """A connection that is never done closing politely."""

    __slots__ = ()

    async def close(self, *, timeout: float | None = None) -> None:
        await asyncio.sleep(timeout or 0)
        self.terminate()
        raise TimeoutError


@pytest.fixture
async def small(empty_database_url: str) -> AsyncIterator[Database]:
    """A seam with four connections at most, two of them warm."""
    async with opened(empty_database_url) as database:
        yield database


@pytest.fixture
async def notes(small: Database) -> Database:
    """With a table to write into."""
    async with small.acquire() as conn:
        await conn.execute("CREATE TABLE notes (note text CONSTRAINT notes_note_key UNIQUE)")
    return small


async def written(database: Database) -> list[str]:
    async with database.acquire() as conn:
        return [row["note"] for row in await conn.fetch("SELECT note FROM notes ORDER BY note")]


async def write(conn: Connection, note: str) -> None:
    await conn.execute("INSERT INTO notes VALUES ($1)", note)


async def test_the_status_says_what_is_open(small: Database) -> None:
    await until(lambda: small.status().idle == 2)
    async with small.acquire():
        status = small.status()
        assert (status.reachable, status.reason, status.connections, status.idle, status.maximum) == (True, "", 2, 1, 4)


async def test_a_transaction_is_committed_at_its_end(notes: Database) -> None:
    async with notes.transaction() as conn:
        await write(conn, "kept")
        assert await written(notes) == []
    assert await written(notes) == ["kept"]


async def test_whatever_is_raised_rolls_back(notes: Database) -> None:
    with pytest.raises(errors.NotFound):
        async with notes.transaction() as conn:
            await write(conn, "lost")
            raise errors.NotFound
    assert await written(notes) == []
    await all_slots_are_free(notes)


async def test_a_savepoint_saves_the_rest(notes: Database) -> None:
    async with notes.transaction() as conn:
        await write(conn, "kept")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with conn.transaction():
                await write(conn, "kept")
    assert await written(notes) == ["kept"]


async def test_a_swallowed_failure_is_no_success(notes: Database) -> None:
    """The server answers COMMIT with ROLLBACK then, and the driver says nothing of it."""
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        async with notes.transaction() as conn:
            await write(conn, "lost")
            with pytest.raises(asyncpg.UndefinedTableError):
                await conn.execute("INSERT INTO nowhere VALUES (1)")
    assert await written(notes) == []
    await all_slots_are_free(notes)


async def test_what_the_driver_raises_is_translated(notes: Database) -> None:
    secret = "-".join(("not", "to", "be", "logged"))
    with pytest.raises(errors.Conflict) as caught:
        async with notes.transaction() as conn:
            await write(conn, secret)
            await write(conn, secret)
    assert isinstance(caught.value.__context__, asyncpg.UniqueViolationError)
    logged = "".join(format_exception(caught.value))
    assert secret not in logged
    assert "UniqueViolationError notes_note_key" in logged


async def test_errors_are_counted_whoever_translated_them(small: Database) -> None:
    def count(label: str) -> float:
        return metrics.REGISTRY.get_sample_value("ballast_db_errors_total", {"sqlstate_class": label}) or 0.0

    before = count("22")
    for translated in (False, True):
        with pytest.raises(errors.Invalid):
            async with small.acquire() as conn:
                try:
                    await conn.fetchval("SELECT 1/0")
                except asyncpg.PostgresError as error:
                    if translated:
                        raise errors.Invalid from error
                    raise
    assert count("22") == before + 2


async def test_a_full_pool_is_told_at_the_deadline(empty_database_url: str) -> None:
    async with opened(empty_database_url, pool_max=2, acquire_timeout=0.3) as database:
        async with database.acquire(), database.acquire():
            started = time.monotonic()
            with pytest.raises(errors.PoolExhausted):
                await answers(database)
            assert 0.3 <= time.monotonic() - started < 0.8
        await all_slots_are_free(database)


async def test_a_crowd_is_served_in_turn(small: Database) -> None:
    waited: list[float] = []

    async def hold() -> None:
        started = time.monotonic()
        async with small.acquire() as conn:
            waited.append(time.monotonic() - started)
            await conn.execute("SELECT pg_sleep(0.01)")

    await asyncio.gather(*(hold() for _ in range(100)))
    assert len(waited) == 100
    assert max(waited) < small.settings.acquire_timeout
    assert max(waited) < 10 * statistics.median(waited)
    await all_slots_are_free(small)


async def test_a_cancelled_caller_leaves_at_once_and_its_statement_ends(small: Database) -> None:
    async def sleep_long() -> None:
        async with small.acquire() as conn:
            await conn.execute("SELECT pg_sleep(60)")

    async def sleeping() -> bool:
        async with small.acquire() as conn:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ~ $1"
            return bool(await conn.fetchval(query, r"pg_sleep\(60\)$"))

    tasks = [asyncio.create_task(sleep_long()) for _ in range(3)]
    await until(sleeping)
    started = time.monotonic()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert all(task.cancelled() for task in tasks)
    assert time.monotonic() - started < 0.1

    async def ended() -> bool:
        return not await sleeping()

    await until(ended, within=8.0)  # also where a request to cancel came before its statement
    await all_slots_are_free(small)


async def test_a_statement_has_its_time_even_if_nobody_watches(empty_database_url: str) -> None:
    async with opened(empty_database_url, command_timeout=0.3) as database:
        started = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded):
            async with database.acquire() as conn:
                await conn.execute("SELECT pg_sleep(30)")
        assert time.monotonic() - started < 1.0
        with pytest.raises(errors.DeadlineExceeded) as caught:
            async with database.acquire() as conn:
                await conn.execute("SELECT pg_sleep(30)", timeout=20)  # the client waits, the server does not
        assert isinstance(caught.value.__context__, asyncpg.QueryCanceledError)
        await all_slots_are_free(database)


async def test_two_tasks_on_one_connection_are_told_so(small: Database) -> None:
    with pytest.raises(errors.ConnectionShared, match="each task must acquire its own"):
        async with small.acquire() as conn:
            await asyncio.gather(conn.execute("SELECT pg_sleep(5)"), conn.execute("SELECT 2"))
    await asyncio.gather(*(answers(small) for _ in range(20)))  # nobody is handed the busy connection
    await all_slots_are_free(small)


async def test_two_tasks_in_one_transaction_write_nothing(notes: Database) -> None:
    with pytest.raises(errors.ConnectionShared):
        async with notes.transaction() as conn:
            await asyncio.gather(write(conn, "one"), write(conn, "two"))
    assert await written(notes) == []
    await all_slots_are_free(notes)


async def test_an_old_connection_is_not_used(small: Database) -> None:
    async with small.acquire() as conn:
        old = conn.get_server_pid()
        conn._con.opened_at -= seam.RECYCLE_AFTER_S
    async with small.acquire() as conn:
        assert conn.get_server_pid() != old
    await all_slots_are_free(small)


async def test_an_old_connection_that_will_not_close_holds_up_nobody(small: Database) -> None:
    async with small.acquire() as conn:
        conn._con.opened_at -= seam.RECYCLE_AFTER_S

        conn._con.__class__ = Hanging
    started = time.monotonic()
    assert await answers(small)
    assert time.monotonic() - started < 1.0


async def test_warm_connections_come_back(small: Database) -> None:
    async with small.acquire() as conn:
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await conn.close()
    await until(lambda: small.status().connections < small.settings.pool_min)
    await until(lambda: small.status().idle == small.settings.pool_min)


async def test_what_a_burst_opened_is_closed_again(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seam, "IDLE_AFTER_S", 0.5)
    async with opened(empty_database_url, pool_max=8) as database:
        await all_slots_are_free(database)
        assert database.status().connections == 8
        await until(lambda: database.status().connections <= 2)
        await until(lambda: database.status().idle == 2)


async def test_two_hundred_failures_of_all_kinds_leave_no_slot_behind(small: Database) -> None:
    async def fail(kind: int) -> None:
        async with asyncio.timeout(0.05 if kind == 0 else None), small.transaction() as conn:
            match kind:
                case 0:
                    await conn.execute("SELECT pg_sleep(5)")
                case 1:
                    await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
                case 2:
                    await conn.execute("SELECT 1/0")
                case 3:
                    raise KeyError(kind)
                case 4:
                    await asyncio.gather(conn.execute("SELECT pg_sleep(5)"), conn.execute("SELECT 2"))
                case _:
                    await conn.fetch("SELECT 1", timeout=0.000001)

    results = await asyncio.gather(*(fail(number % 6) for number in range(200)), return_exceptions=True)
    assert all(isinstance(result, Exception) for result in results)
    expected = errors.Unavailable | errors.ConnectionShared | errors.Invalid | KeyError | TimeoutError
    assert [result for result in results if not isinstance(result, expected)] == []
    await all_slots_are_free(small)
    assert small.reachable


async def test_callers_who_leave_the_queue_take_no_slot_along(small: Database) -> None:
    async def ask(patience: float | None) -> bool:
        async with asyncio.timeout(patience):
            return await answers(small)

    hasty = [asyncio.create_task(ask(number / 2_000)) for number in range(200)]
    patient = [asyncio.create_task(ask(None)) for _ in range(20)]
    assert await asyncio.gather(*patient) == [True] * 20
    results = await asyncio.gather(*hasty, return_exceptions=True)
    assert TimeoutError in {type(result) for result in results} <= {bool, TimeoutError}
    await all_slots_are_free(small)


async def test_more_load_than_the_pool_can_bear_is_refused_and_not_cut_off(empty_database_url: str) -> None:
    async with opened(empty_database_url, pool_max=2, door_timeout=0.6) as database:

        async def work() -> None:
            async with asyncio.timeout(0.6), database.transaction() as conn:
                await conn.execute("SELECT pg_sleep(0.02)")

        works = []
        for _ in range(200):  # 100 a second can be done, 200 are asked for
            works.append(asyncio.create_task(work()))
            await asyncio.sleep(0.005)
        results = await asyncio.gather(*works, return_exceptions=True)
        assert {type(result) for result in results} == {type(None), errors.PoolExhausted}
        await all_slots_are_free(database)


async def test_after_a_table_changes_the_next_try_succeeds(notes: Database) -> None:
    """A cached plan outlives ALTER TABLE; outside of a transaction the driver itself plans anew."""
    query = "SELECT * FROM notes"
    async with notes.acquire() as conn, notes.acquire() as other:
        await conn.fetch(query)
        await other.execute("ALTER TABLE notes ADD COLUMN more int")
        assert await conn.fetch(query) == []
        await other.execute("DROP TABLE notes; CREATE TABLE notes (note text, more text)")
        assert await conn.fetch(query) == []
    with pytest.raises(errors.TransactionConflict):
        async with notes.acquire() as conn, notes.acquire() as other:
            await conn.fetch(query)
            await other.execute("ALTER TABLE notes ADD COLUMN yet_more int")
            async with conn.transaction():
                await conn.fetch(query)
    async with notes.transaction() as conn:
        assert await conn.fetch(query) == []
    await all_slots_are_free(notes)


async def test_after_the_stop_it_is_away(empty_database_url: str) -> None:
    async with opened(empty_database_url) as database:
        holding = database.acquire()
        conn = await holding.__aenter__()
        stopping = asyncio.create_task(database.stop())
        await until(lambda: not database.reachable)
        with pytest.raises(errors.DatabaseAway):
            await answers(database)
        assert await conn.fetchval("SELECT 1") == 1  # what is under way finishes
        await holding.__aexit__(None, None, None)
        await stopping
        assert database.status().reason == "stopped"
        with pytest.raises(errors.DatabaseAway):
            await answers(database)
    raw = await asyncpg.connect(empty_database_url)
    left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

    async def nobody_is_left() -> bool:
        return await raw.fetchval(left) == 0

    await until(nobody_is_left)
    await raw.close()
