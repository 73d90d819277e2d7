"""The seam in bad weather: a server that stops, freezes, is demoted or full, and a network that loses things."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from traceback import format_exception

import asyncpg
import pytest

from service import errors
from service.kernel.database import Database
from tests.kernel.seam import all_slots_are_free, another, answers, make_standby, opened, set_read_only, settings
from tests.kernel.test_connect import hosts, swallowing
from tests.postgres import Cluster
from tests.proxy import Proxy
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_complaints")

BACK_WITHIN_S = 2.0
NOTICED_WITHIN_S = 3.0
# A budget, and what leaving at it may take on a busy machine. Waiting for a cancellation alone would take a second.
BUDGET_S = 0.4
SLACK_S = 0.4


async def came_back(database: Database) -> bool:
    with suppress(errors.ServiceError):
        return await answers(database)
    return False


@pytest.fixture
async def notes(own_cluster: Cluster) -> AsyncIterator[Database]:
    """A seam on a server of its own, with a table to write into."""
    raw = await asyncpg.connect(own_cluster.dsn())
    await raw.execute("CREATE TABLE notes (note text)")
    await raw.close()
    async with opened(own_cluster.dsn()) as database:
        yield database


async def written(cluster: Cluster) -> list[str]:
    raw = await asyncpg.connect(cluster.dsn())
    try:
        return [row["note"] for row in await raw.fetch("SELECT note FROM notes ORDER BY note")]
    finally:
        await raw.close()


async def write(database: Database, note: str) -> None:
    async with database.transaction() as conn:
        await conn.execute("INSERT INTO notes VALUES ($1)", note)


async def test_it_starts_without_the_server_and_comes_up_with_it(own_cluster: Cluster) -> None:
    await asyncio.to_thread(own_cluster.stop)
    async with opened(own_cluster.dsn()) as database:
        assert not database.reachable
        with pytest.raises(errors.DatabaseAway):
            await answers(database)
        ups: list[int] = []
        database.when_up(lambda: ups.append(1))
        await asyncio.to_thread(own_cluster.start)
        await until(lambda: came_back(database), within=BACK_WITHIN_S)
        await until(lambda: database.status().idle >= 2)
        assert ups == [1]


async def test_it_starts_before_the_database_is_made(own_cluster: Cluster) -> None:
    async with opened(own_cluster.dsn("later")) as database:
        assert (database.reachable, database.status().reason) == (False, "InvalidCatalogNameError")
        raw = await asyncpg.connect(own_cluster.dsn())
        await raw.execute("CREATE DATABASE later")
        await raw.close()
        await until(lambda: came_back(database), within=BACK_WITHIN_S)


async def test_a_wrong_password_is_an_outage_that_ends(own_cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    raw = await asyncpg.connect(own_cluster.socket_dsn())
    await raw.execute("CREATE ROLE payer LOGIN PASSWORD 'not-this-one'")
    rules = own_cluster.data / "pg_hba.conf"
    rules.write_text("host all payer 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    await raw.execute("SELECT pg_reload_conf()")
    dsn = own_cluster.dsn().replace("postgres@", "payer:correct-horse@")
    async with opened(dsn) as database:
        await until(lambda: database.status().reason == "InvalidPasswordError")
        with pytest.raises(errors.DatabaseAway) as caught:
            await answers(database)
        await raw.execute("ALTER ROLE payer PASSWORD 'correct-horse'")
        await until(lambda: came_back(database), within=BACK_WITHIN_S)
        logged = "".join(format_exception(caught.value))
        shown = f"{caplog.text} {logged} {database.status()!r} {database.settings!r}"
    assert [secret for secret in ("payer", "horse", "127.0.0.1", str(own_cluster.port)) if secret in shown] == []
    await raw.close()


async def test_stopped_under_use_and_started_again(own_cluster: Cluster) -> None:
    took: list[float] = []
    outcomes: set[type] = set()
    ended = asyncio.Event()

    async def use(database: Database) -> None:
        while not ended.is_set():
            started = time.monotonic()
            try:
                await answers(database)
            except errors.ServiceError as error:
                outcomes.add(type(error))
            took.append(time.monotonic() - started)
            await asyncio.sleep(0.001)

    async with opened(own_cluster.dsn()) as database:
        users = [asyncio.create_task(use(database)) for _ in range(8)]
        await until(lambda: len(took) > 100)
        await asyncio.to_thread(own_cluster.stop)
        await until(lambda: not database.reachable)
        await asyncio.to_thread(own_cluster.start)
        await until(lambda: came_back(database), within=BACK_WITHIN_S)
        ended.set()
        await asyncio.gather(*users)
        assert max(took) < 1.0
        assert outcomes <= {errors.DatabaseAway, errors.ConnectionLost}
        await all_slots_are_free(database)


async def test_while_it_is_known_to_be_away_callers_are_refused_at_once(own_cluster: Cluster) -> None:
    async with opened(own_cluster.dsn()) as database:
        await asyncio.to_thread(own_cluster.stop, immediate=True)
        await until(lambda: not database.reachable)
        took = []
        for _ in range(1000):
            started = time.perf_counter()
            with pytest.raises(errors.DatabaseAway):
                async with database.transaction():
                    pass
            took.append(time.perf_counter() - started)
        assert statistics.median(took) < 0.001


@pytest.mark.parametrize("how_often", [3])
async def test_no_slot_is_lost_however_often_it_stops(own_cluster: Cluster, how_often: int) -> None:
    async def use(database: Database) -> None:
        async with database.transaction() as conn:
            await conn.execute("SELECT pg_sleep(5)")

    async with opened(own_cluster.dsn()) as database:
        for _ in range(how_often):
            users = [asyncio.create_task(use(database)) for _ in range(6)]
            await until(lambda: database.status().idle == 0)
            await asyncio.to_thread(own_cluster.restart, immediate=True)
            results = await asyncio.gather(*users, return_exceptions=True)
            assert {type(result) for result in results} <= {errors.ConnectionLost, errors.DatabaseAway}
            await until(lambda: came_back(database), within=BACK_WITHIN_S)
            await all_slots_are_free(database)


async def test_frozen_callers_leave_at_their_budget(own_cluster: Cluster, notes: Database) -> None:
    took: dict[str, float] = {}

    async def leave(name: str) -> None:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(BUDGET_S):
                await (answers(notes) if name == "read" else write(notes, name))
        took[name] = time.monotonic() - started

    async def leave_inside() -> None:
        async with notes.transaction() as conn:
            await conn.execute("INSERT INTO notes VALUES ('inside')")
            own_cluster.freeze()
            started = time.monotonic()
            try:
                async with asyncio.timeout(BUDGET_S):
                    await conn.execute("INSERT INTO notes VALUES ('more')")
            finally:
                took["inside"] = time.monotonic() - started

    with pytest.raises(errors.DeadlineExceeded):
        await leave_inside()
    await asyncio.gather(leave("read"), leave("write"))
    assert max(took.values()) < BUDGET_S + SLACK_S, took
    await until(lambda: not notes.reachable, within=NOTICED_WITHIN_S)
    own_cluster.thaw()
    await until(lambda: came_back(notes), within=BACK_WITHIN_S + 2.0)  # a try that began while frozen has 2 s
    await all_slots_are_free(notes)
    assert await written(own_cluster) == []


async def test_killed_connections_are_no_outage(own_cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    raw = await asyncpg.connect(own_cluster.dsn())
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ballast'"
    heard: list[str | None] = []
    database = Database(settings(own_cluster.dsn()))
    database.listen("news", heard.append)
    await database.start()
    for killed in range(5):
        with pytest.raises(errors.ConnectionLost):
            async with database.acquire() as conn:
                await raw.execute(kill)
                await conn.execute("SELECT 1")
        await until(lambda: came_back(database))
        await until(lambda killed=killed: len(heard) == killed + 2)  # the prober has a new one, too
        assert database.reachable
    await all_slots_are_free(database)
    await database.stop()
    assert [record.fields for record in caplog.records if record.getMessage() == "database away"] == []
    await raw.close()


async def test_a_demoted_server_is_left_for_the_other(own_cluster: Cluster) -> None:
    heard: list[str | None] = []
    with another(own_cluster) as second:
        for cluster in (own_cluster, second):
            raw = await asyncpg.connect(cluster.dsn())
            await raw.execute("CREATE TABLE notes (note text)")
            await raw.close()
        database = Database(settings(hosts(own_cluster.port, second.port)))
        database.listen("news", heard.append)
        await database.start()
        await write(database, "first")
        await set_read_only(own_cluster, "on")

        async def moved() -> bool:
            with suppress(errors.ConnectionLost):
                await write(database, "second")
                return bool(await written(second))
            return False

        await until(moved)
        assert database.reachable
        raw = await asyncpg.connect(second.dsn())
        await raw.execute("NOTIFY news, 'from the second'")
        await until(lambda: heard[-1] == "from the second")  # the notifications moved along
        await raw.close()
        await all_slots_are_free(database)
        await database.stop()


async def test_a_lone_server_that_takes_no_writes_is_still_read(own_cluster: Cluster, notes: Database) -> None:
    await set_read_only(own_cluster, "on")

    async def refuses() -> bool:
        try:
            await write(notes, "refused")
        except errors.ConnectionLost as error:
            return isinstance(error.__context__, asyncpg.ReadOnlySQLTransactionError)
        return False

    await until(refuses)
    async with notes.acquire() as reader:
        pid = reader.get_server_pid()
        for _ in range(5):
            assert await refuses()
    async with notes.acquire() as reader:
        assert reader.get_server_pid() == pid  # a refused write does not empty the pool each time
    assert notes.reachable
    await set_read_only(own_cluster, "off")
    await until(lambda: came_back(notes))
    await write_when_allowed(notes)
    await all_slots_are_free(notes)


async def write_when_allowed(database: Database) -> None:
    async def wrote() -> bool:
        with suppress(errors.ConnectionLost):
            await write(database, "at last")
            return True
        return False

    await until(wrote)


async def test_a_lone_standby_is_read(own_cluster: Cluster) -> None:
    async with opened(own_cluster.dsn()) as database:
        await make_standby(own_cluster)
        await until(lambda: came_back(database), within=BACK_WITHIN_S)


async def test_a_first_host_that_says_nothing_costs_the_start_only(own_cluster: Cluster) -> None:
    with swallowing() as deaf:
        async with opened(hosts(deaf, own_cluster.port)) as database:
            assert database.reachable
            await until(lambda: database.status().idle >= 2)
            started = time.monotonic()
            await all_slots_are_free(database)
            assert time.monotonic() - started < 1.0


async def test_a_full_server_is_waited_for_until_the_deadline(own_cluster: Cluster) -> None:
    own_cluster.settings |= {"max_connections": "8", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    await asyncio.to_thread(own_cluster.restart)
    async with opened(own_cluster.dsn(), acquire_timeout=0.5) as database, AsyncExitStack() as stack:
        await until(lambda: database.status().idle >= 2)
        others = []
        with suppress(asyncpg.TooManyConnectionsError):
            while True:
                others.append(await asyncpg.connect(own_cluster.dsn()))
        await stack.enter_async_context(database.acquire())
        await stack.enter_async_context(database.acquire())
        started = time.monotonic()
        with pytest.raises(errors.PoolExhausted):
            await answers(database)
        assert 0.5 <= time.monotonic() - started < 1.5
        assert database.reachable
        waiting = asyncio.create_task(answers(database))
        await others.pop().close()
        assert await waiting  # came free within the deadline
        await stack.aclose()
        await asyncio.gather(*(other.close() for other in others))
        await all_slots_are_free(database)


async def test_a_commit_whose_reply_is_lost_is_ambiguous(own_cluster: Cluster, notes: Database) -> None:
    async with Proxy(own_cluster.port) as proxy, opened(proxy.dsn()) as database:
        assert await answers(database)
        proxy.cut_after = b"COMMIT;"
        with pytest.raises(errors.ConnectionLost, match="may or may not"):
            await write(database, "there all the same")
        proxy.cut_after = None
        await until(lambda: came_back(database))
        await all_slots_are_free(database)

        async def committed() -> bool:
            return await written(own_cluster) == ["there all the same"]

        await until(committed)


async def test_a_network_that_resets(own_cluster: Cluster) -> None:
    async with Proxy(own_cluster.port) as proxy, opened(proxy.dsn()) as database:
        with pytest.raises(errors.ConnectionLost):
            async with database.acquire() as conn:
                asyncio.get_running_loop().call_later(0.05, proxy.reset)
                await conn.execute("SELECT pg_sleep(5)")
        await until(lambda: came_back(database))
        await all_slots_are_free(database)


async def test_a_network_that_closes_one_half(own_cluster: Cluster) -> None:
    async with Proxy(own_cluster.port) as proxy, opened(proxy.dsn()) as database:
        with pytest.raises(errors.ConnectionLost):
            async with database.acquire() as conn:
                asyncio.get_running_loop().call_later(0.05, proxy.half_close)
                await conn.execute("SELECT pg_sleep(5)")
        await until(lambda: came_back(database))
        await all_slots_are_free(database)


async def test_a_network_of_single_bytes_is_slow_and_right(own_cluster: Cluster) -> None:
    async with Proxy(own_cluster.port) as proxy:
        proxy.chunk = 1
        async with opened(proxy.dsn()) as database, database.acquire() as conn:
            assert await conn.fetchval("SELECT repeat('x', 5000)") == "x" * 5000


async def test_a_slow_network_is_bounded(own_cluster: Cluster) -> None:
    async with Proxy(own_cluster.port) as proxy, opened(proxy.dsn(), command_timeout=0.3) as database:
        await until(lambda: database.status().idle >= 2)
        proxy.delay = 0.05
        assert await answers(database)
        assert database.reachable
        proxy.delay = 0.4
        started = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded):
            await answers(database)
        assert time.monotonic() - started < 1.0
        proxy.delay = 0.0
        await until(lambda: came_back(database))
        await all_slots_are_free(database)


async def test_a_network_that_goes_silent_is_noticed(own_cluster: Cluster) -> None:
    async with Proxy(own_cluster.port) as proxy, opened(proxy.dsn(), command_timeout=1.0) as database:
        proxy.silent = True
        await until(lambda: not database.reachable, within=NOTICED_WITHIN_S)
        proxy.silent = False
        await until(lambda: came_back(database), within=BACK_WITHIN_S + 2.0)
        await all_slots_are_free(database)
