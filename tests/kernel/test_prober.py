"""Whether the database is there: noticed in time, told once, and never wrongly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise

import asyncpg
import pytest

from service.kernel.clock import Clock
from service.kernel.database.connect import Connection, Connector
from service.kernel.database.prober import Listener, Prober
from tests.kernel.seam import make_standby, settings
from tests.kernel.test_connect import hosts, swallowing
from tests.postgres import Cluster, free_port
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_complaints")

NOTICED_WITHIN_S = 3.0
PINGS = """
    SELECT pid FROM pg_stat_activity
    WHERE query LIKE '/* kernel.ping */%' AND datname = current_database() AND pid <> pg_backend_pid()
"""


class StandingClock(Clock):
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time


@asynccontextmanager
async def probing(
    dsn: str, *, listener: Listener | None = None, pooler: bool = False, clock: Clock | None = None
) -> AsyncIterator[Prober]:
    """A prober at work, which nothing may end."""
    prober = Prober(Connector(settings(dsn)).open, clock or Clock(), notifications=not pooler, on_up=lambda: None)
    if listener:
        prober.listen("news", listener)
    await prober.verdict()
    running = asyncio.create_task(prober.run())
    try:
        yield prober
        assert not running.done()
    finally:
        await prober.close()
        running.cancel()


async def test_it_comes_and_goes(own_cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = StandingClock()
    async with probing(own_cluster.dsn(), clock=clock) as prober:
        assert (prober.reachable, prober.reason) == (True, "")
        clock.time = clock.time.replace(day=2)
        await asyncio.to_thread(own_cluster.stop)
        await until(lambda: not prober.reachable)
        await until(lambda: prober.reason == "ConnectionRefusedError")
        assert prober.since.day == 2
        clock.time = clock.time.replace(day=3)
        await asyncio.to_thread(own_cluster.start)
        await until(lambda: prober.reachable, within=2.0)
        assert (prober.since.day, prober.reason) == (3, "")
    lines = [record.getMessage() for record in caplog.records if record.name == "database"]
    told = [line for line in lines if line != "slow query"]  # of a ping, where the machine is busy
    assert told[0] == told[-1] == "database reachable"
    assert set(told[1:-1]) == {"database away"}
    assert "127.0.0.1" not in caplog.text
    assert str(own_cluster.port) not in caplog.text


async def test_a_frozen_server_is_noticed(own_cluster: Cluster) -> None:
    async with probing(own_cluster.dsn()) as prober:
        own_cluster.freeze()
        await until(lambda: not prober.reachable, within=NOTICED_WITHIN_S)
        assert prober.reason == "TimeoutError"
        own_cluster.thaw()
        await until(lambda: prober.reachable, within=2.5)  # what was tried while it was frozen has 2 s to end


async def test_a_killed_connection_of_its_own_is_no_outage(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str | None] = []
    raw = await asyncpg.connect(database_url)
    async with probing(database_url, listener=heard.append) as prober:
        for killed in range(1, 4):
            await raw.fetch(f"SELECT pg_terminate_backend(pid) FROM ({PINGS}) AS ping")
            await until(lambda killed=killed: len(heard) == killed + 1)
            assert prober.reachable
        await raw.execute("NOTIFY news, 'good'")
        await until(lambda: heard[-1] == "good")
    assert heard == [None] * 4 + ["good"]
    assert "database away" not in caplog.text
    await raw.close()


async def test_a_listener_that_fails_keeps_nothing_from_the_others(database_url: str) -> None:
    heard: list[str | None] = []

    def fail(payload: str | None) -> None:
        raise ValueError(payload)

    raw = await asyncpg.connect(database_url)
    async with probing(database_url, listener=fail) as prober:
        prober.listen("news", heard.append)
        await raw.execute("NOTIFY news, 'bad'")
        await until(lambda: heard == ["bad"])
        prober.reconnect()
        await until(lambda: heard == ["bad", None])
        assert prober.reachable
    await raw.close()


async def test_through_a_pooler_listeners_hear_of_reconnects_only(database_url: str) -> None:
    heard: list[str | None] = []
    raw = await asyncpg.connect(database_url)
    async with probing(database_url, listener=heard.append, pooler=True) as prober:
        assert heard == [None]
        await raw.execute("NOTIFY news, 'good'")
        prober.reconnect()
        await until(lambda: len(heard) == 2)
    assert heard == [None, None]
    await raw.close()


async def test_looks_at_the_same_moment_are_one(database_url: str) -> None:
    opened = 0

    async def open_connection() -> Connection:
        nonlocal opened
        opened += 1
        return await Connector(settings(database_url)).open()

    prober = Prober(open_connection, Clock(), notifications=True, on_up=lambda: None)
    leaver = asyncio.create_task(prober.verdict())
    others = [asyncio.create_task(prober.verdict()) for _ in range(40)]
    await asyncio.sleep(0)
    leaver.cancel()
    assert await asyncio.gather(*others) == [True] * 40
    assert opened == 1
    await prober.close()
    assert (await prober.verdict(), prober.reachable, prober.reason, opened) == (False, False, "stopped", 1)


@pytest.mark.parametrize(
    "failure", [ValueError("a DSN that cannot be read"), asyncpg.InternalClientError("not PostgreSQL"), KeyError("?")]
)
async def test_nothing_ends_the_looking(failure: Exception, database_url: str) -> None:
    failures = [failure]

    async def open_connection() -> Connection:
        if failures:
            raise failures.pop()
        return await Connector(settings(database_url)).open()

    prober = Prober(open_connection, Clock(), notifications=True, on_up=lambda: None)
    running = asyncio.create_task(prober.run())
    await until(lambda: prober.reason == type(failure).__name__)
    await until(lambda: prober.reachable)
    await prober.close()
    running.cancel()


async def test_a_look_that_failed_leaves_no_connection_behind(database_url: str) -> None:
    opened: list[Connection] = []

    async def open_and_break() -> Connection:
        connection = await Connector(settings(database_url)).open()
        opened.append(connection)
        await connection.execute("SET default_transaction_deferrable = on; BEGIN; SAVEPOINT x")
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute("SELECT 1/0")  # and nothing goes any more, LISTEN neither
        return connection

    prober = Prober(open_and_break, Clock(), notifications=True, on_up=lambda: None)
    prober.listen("news", lambda _payload: None)
    assert not await prober.verdict()
    assert [connection.is_closed() for connection in opened] == [True]
    await prober.close()


async def test_the_second_host_is_found_when_the_first_says_nothing(own_cluster: Cluster) -> None:
    with swallowing() as deaf:
        async with probing(hosts(deaf, own_cluster.port)) as prober:
            assert prober.reachable


async def test_a_standby_that_is_promoted_comes_up(own_cluster: Cluster) -> None:
    await make_standby(own_cluster)
    async with probing(hosts(free_port(), own_cluster.port)) as prober:
        assert (prober.reachable, prober.reason) == (False, "TargetServerAttributeNotMatched")
        own_cluster.programs.run("pg_ctl", "promote", "-D", own_cluster.data)
        await until(lambda: prober.reachable)


async def test_a_server_that_lets_nobody_finish_is_not_hammered(database_url: str) -> None:
    """Connecting works and asking does not, as behind a pooler that has lost its server."""
    tries: list[float] = []

    async def open_and_close() -> Connection:
        tries.append(time.monotonic())
        connection = await Connector(settings(database_url)).open()
        await connection.close()
        return connection

    prober = Prober(open_and_close, Clock(), notifications=False, on_up=lambda: None)
    running = asyncio.create_task(prober.run())
    await until(lambda: len(tries) == 4)
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert min(pauses) > 0.15
    await prober.close()
    running.cancel()


async def test_whoever_waits_for_a_look_is_not_cancelled_by_the_end() -> None:
    opening = asyncio.Event()

    async def never() -> Connection:
        opening.set()
        await asyncio.Event().wait()
        raise AssertionError

    prober = Prober(never, Clock(), notifications=False, on_up=lambda: None)
    waiting = asyncio.create_task(prober.verdict())
    await opening.wait()
    await prober.close()
    assert await waiting is False
