"""Whatever breaks while people order: all work is done once, charged for once, and as much gets through as before."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.kernel import migrate
from tests.chaos import test_chaos as chaos
from tests.chaos.test_chaos import AS_BEFORE, LONG, LONGEST_REQUEST_S, World
from tests.e2e.factory import Factory, factory, looking
from tests.postgres import Cluster
from tests.waiting import until

# Between two orders: work that the machine bears with ease, so that a lower rate means something.
PACE_S = 0.1
TAKES_MS = (50, 400)
QUIET_S = 15 if LONG else 3
PEOPLE = 200
MODELS = ("free", "free", "paid", "narrow")
# A server that was away, five seconds in which the living beat, and a rescue every two seconds.
RECOVERY_S = 15.0
DONE_WITHIN_S = 60.0
FAULTS = (
    chaos.restart_the_server,
    chaos.terminate_connections,
    chaos.take_all_connections,
    chaos.kill_processes,
    chaos.leave_a_transaction_open,
)
SHORT = (chaos.restart_the_server,)

pytestmark = pytest.mark.timeout(600 if LONG else 120)


@pytest.fixture
async def works(own_cluster: Cluster, tmp_path: Path) -> AsyncIterator[Factory]:
    """Two processes on a server that keeps what it committed when it crashes, and has few connections to give."""
    own_cluster.settings |= {"synchronous_commit": "on", "max_connections": "40", "autovacuum": "on"}
    await asyncio.to_thread(own_cluster.restart)
    await asyncio.to_thread(migrate.up, own_cluster.dsn())
    async with factory(own_cluster.dsn(), tmp_path, DB_POOL_MAX="10") as works:
        await asyncio.gather(works.serve(), works.serve(), works.rich(range(PEOPLE)))
        yield works
        works.well_behaved()


@asynccontextmanager
async def ordering(works: Factory) -> AsyncIterator[None]:
    """An order every tenth of a second, until the block ends; then until all are taken."""
    orders: set[asyncio.Task[None]] = set()

    async def keep_ordering() -> None:
        for number in itertools.count():
            prompt = f"{random.randint(*TAKES_MS)} number {number}"
            orders.add(asyncio.create_task(works.order(number % PEOPLE, MODELS[number % len(MODELS)], prompt)))
            await asyncio.sleep(PACE_S)

    people = asyncio.create_task(keep_ordering())
    yield
    people.cancel()
    await asyncio.wait([people])
    assert people.cancelled()
    async with asyncio.timeout(DONE_WITHIN_S):
        await asyncio.gather(*orders)


def made(works: Factory) -> int:
    return len(works.telegram.made)


async def rate(works: Factory, seconds: float) -> float:
    """Results that people were told of, by the second."""
    before, began = made(works), time.monotonic()
    await asyncio.sleep(seconds)
    return (made(works) - before) / (time.monotonic() - began)


async def recovered(works: Factory) -> float:
    """Seconds until people are told of ten results that were ordered from now on."""
    old = {str(one) for one in works.kept | works.here}

    def fresh() -> int:
        return len(works.telegram.made.keys() & {str(one) for one in works.kept | works.here} - old)

    return await until(lambda: fresh() >= 10, RECOVERY_S)


@pytest.mark.parametrize("fault", FAULTS if LONG else SHORT, ids=lambda fault: fault.__name__)
async def test_work_under_fire(
    works: Factory,
    own_cluster: Cluster,
    fault: Callable[[World], Awaitable[None]],
    record_property: Callable[[str, object], None],
) -> None:
    world = World(own_cluster, works, works.serve)  # type: ignore[arg-type]
    async with ordering(works):
        await asyncio.sleep(1)
        before = await rate(works, QUIET_S)
        known, began = made(works), time.monotonic()
        await fault(world)
        during = (made(works) - known) / (time.monotonic() - began)
        recovery = await recovered(works)
        after = await rate(works, QUIET_S)
    async with looking(own_cluster.dsn()) as raw:
        await works.done(raw, DONE_WITHIN_S)
        await works.close(raw)
        lost, double = await works.differences(raw, may_lose_workers=fault is chaos.kill_processes)
        assert (lost, double) == (0, 0)
        given_up = await works.given_up(raw)
        await works.stands(raw, may_lose_workers=fault is chaos.kill_processes)
    assert works.longest_s < LONGEST_REQUEST_S
    assert not LONG or after >= AS_BEFORE * before
    rates = (f"{before:.1f}", f"{during:.1f}", f"{after:.1f}")
    figures = (
        works.ordered,
        lost,
        double,
        f"{recovery:.1f} s",
        f"{works.longest_s:.2f} s",
        *rates,
        works.told_again,
        given_up,
    )
    columns = (fault.__name__.replace("_", " "), *figures)
    record_property("work", f"| {' | '.join(map(str, columns))} |")
