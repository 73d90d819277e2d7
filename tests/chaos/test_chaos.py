"""Whatever breaks under load: nothing acknowledged is lost, nothing happens twice, and all are served again soon."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import asyncpg
import pytest

from service.kernel import migrate
from tests.chaos.storm import Storm, differences
from tests.e2e.conftest import Start
from tests.e2e.counting import TABLE
from tests.postgres import Cluster

LONG = os.environ.get("CHAOS") == "long"
TIMES = 20 if LONG else 3  # restarts of the server, deaths of processes
WINDOW_S = 15 if LONG else 2  # over which what gets through is counted
TERMINATED_FOR_S = 30 if LONG else 5
HELD_FOR_S = 30 if LONG else 3  # a frozen server, foreign sessions, a transaction that nobody ends
BETWEEN_S = 1.0
# DOOR_TIMEOUT, two seconds for a last word, and what a busy machine adds.
LONGEST_REQUEST_S = 5 + 2 + 1.5
RECOVERY_S = 10.0
AS_BEFORE = 0.95

pytestmark = pytest.mark.timeout(600 if LONG else 120)


@dataclass
class World:
    """What can be broken."""

    cluster: Cluster
    storm: Storm
    another: Callable[[], Awaitable[object]]


async def restart_the_server(world: World) -> None:
    for _ in range(TIMES):
        await asyncio.to_thread(world.cluster.restart, immediate=True)
        await asyncio.sleep(BETWEEN_S)


async def freeze_the_server(world: World) -> None:
    await asyncio.to_thread(world.cluster.freeze)
    await asyncio.sleep(HELD_FOR_S)
    await asyncio.to_thread(world.cluster.thaw)


async def terminate_connections(world: World) -> None:
    """Five a second, whichever."""
    one = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ballast'"
    connection = await asyncpg.connect(world.cluster.dsn())
    for _ in range(TERMINATED_FOR_S * 5):
        await connection.execute(f"{one} ORDER BY random() LIMIT 1")
        await asyncio.sleep(1 / 5)
    await connection.close()


async def take_all_connections(world: World) -> None:
    """First what is left over, then ours too, as soon as they are ended."""
    ours = "FROM pg_stat_activity WHERE application_name = 'ballast'"
    async with AsyncExitStack() as foreign:
        connection = await hold_all(world.cluster, foreign)
        await asyncio.sleep(HELD_FOR_S / 2)
        while await connection.fetchval(f"SELECT count(*) {ours}"):
            await connection.execute(f"SELECT pg_terminate_backend(pid) {ours}")
            await hold_all(world.cluster, foreign)
        await asyncio.sleep(HELD_FOR_S / 2)


async def hold_all(cluster: Cluster, foreign: AsyncExitStack) -> asyncpg.Connection | None:
    """Idle sessions until the server refuses another one; one of them."""
    held = None
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            held = await asyncpg.connect(cluster.dsn())
            foreign.push_async_callback(held.close)
    return held


async def kill_processes(world: World) -> None:
    """One after the other, while the other one serves."""
    for _ in range(TIMES):
        await world.storm.processes[0].kill()
        del world.storm.processes[0]
        await world.another()
        await asyncio.sleep(BETWEEN_S)


async def roll_processes(world: World) -> None:
    """As a deployment does: the new one is there before the old one is told to stop."""
    for _ in range(TIMES):
        await world.another()
        leaving = world.storm.processes.pop(0)
        leaving.terminate()
        assert await leaving.ended() == 0


async def leave_a_transaction_open(world: World) -> None:
    """It keeps every dead row for as long as it stays."""
    connection = await asyncpg.connect(world.cluster.dsn())
    async with connection.transaction(isolation="repeatable_read"):
        await connection.execute("INSERT INTO users (user_id) VALUES (1)")
        await asyncio.sleep(HELD_FOR_S)
    await connection.close()


FAULTS = (
    restart_the_server,
    freeze_the_server,
    terminate_connections,
    take_all_connections,
    kill_processes,
    roll_processes,
    leave_a_transaction_open,
)


@pytest.fixture
async def world(own_cluster: Cluster, start: Start) -> World:
    """Two processes on a server that keeps what it committed when it crashes, and has few connections to give."""
    own_cluster.settings |= {"synchronous_commit": "on", "max_connections": "40"}
    await asyncio.to_thread(own_cluster.restart)
    await asyncio.to_thread(migrate.up, own_cluster.dsn())
    table = await asyncpg.connect(own_cluster.dsn())
    await table.execute(TABLE)
    await table.close()
    storm = Storm([])

    async def another() -> None:
        storm.processes.append(await start(own_cluster.dsn(), DB_POOL_MAX="12"))

    await asyncio.gather(another(), another())
    return World(own_cluster, storm, another)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__ for fault in FAULTS])
async def test_under_fire(
    world: World, fault: Callable[[World], Awaitable[None]], record_property: Callable[[str, object], None]
) -> None:
    storm = world.storm
    async with storm.blowing():
        before = await storm.rate(WINDOW_S)
        await fault(world)
        recovery = await storm.recovered()
        after = await storm.rate(WINDOW_S)
    table = await asyncpg.connect(world.cluster.dsn())
    lost, double, lies = await differences(storm.acknowledged, table)
    await table.close()
    assert (lost, double, lies) == (0, 0, 0)
    assert storm.longest_s < LONGEST_REQUEST_S
    assert recovery < RECOVERY_S
    assert not LONG or after >= AS_BEFORE * before
    figures = (len(storm.acknowledged), lost, double, storm.refused, f"{storm.longest_s:.2f} s", f"{recovery:.2f} s")
    columns = (fault.__name__.replace("_", " "), *figures, f"{before:.0f}", f"{after:.0f}")
    record_property("chaos", f"| {' | '.join(map(str, columns))} |")
