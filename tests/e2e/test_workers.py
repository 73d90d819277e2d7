"""Workers that die, stand still, hang and stop in the middle: all work is done, charged for and told once.

CHAOS=long does all of it at random, to two workers with two thousand jobs.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.factory import LIVES_S, Factory, factory
from tests.waiting import until

LONG = os.environ.get("CHAOS") == "long"
JOBS = 36  # half of them paid
MANY = 2_000
MODELS = ("free", "paid", "free", "paid", "free", "narrow")
BUSY = "SELECT count(*) FROM generation_jobs WHERE status = 'running' AND instance_id = $1"
# A rescue every two seconds, of whoever has not beaten for two; then the work itself.
DONE_WITHIN_S = 30.0

pytestmark = pytest.mark.timeout(900 if LONG else 120)


@pytest.fixture
async def works(database_url: str, tmp_path: Path) -> AsyncIterator[Factory]:
    async with factory(database_url, tmp_path) as works:
        yield works
        works.well_behaved()


async def die(works: Factory) -> None:
    await works.workers.pop(0).kill()
    await works.work()


async def stand_still(works: Factory) -> None:
    """For longer than its beat may be late."""
    worker = works.workers[0]
    worker.send(signal.SIGSTOP)
    await asyncio.sleep(2 * LIVES_S)
    worker.send(signal.SIGCONT)


async def hang(works: Factory) -> None:
    """Its event loop is blocked as long."""
    Path(works.environ["BLOCKS"]).unlink(missing_ok=True)
    await works.order(100_000 + works.ordered, "free", f"block {2_000 * LIVES_S}")
    await until(Path(works.environ["BLOCKS"]).exists, DONE_WITHIN_S)


async def stop(works: Factory) -> None:
    """Another one is there before it goes, as with a deployment."""
    await works.work()
    leaving = works.workers.pop(0)
    leaving.terminate()
    assert await leaving.ended() == 0


FAULTS = (die, stand_still, hang, stop)
Fault = Callable[[Factory], Awaitable[None]]


async def order_all(works: Factory, count: int, takes_ms: tuple[int, int], at_once: int = 12) -> None:
    """So many at a time, of models in turn."""
    hands = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with hands:
            await works.order(number, MODELS[number % len(MODELS)], f"{random.randint(*takes_ms)} number {number}")

    await asyncio.gather(*(one(number) for number in range(count)))


async def has_work(works: Factory, raw: Any) -> bool:
    """The instance that has no doors is at something."""
    query = "SELECT count(DISTINCT instance_id) FROM generation_jobs WHERE status = 'running'"
    return bool(await raw.fetchval(query) >= len([one for one in works.everybody if one.alive]))


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__ for fault in FAULTS])
async def test_in_the_middle(works: Factory, raw: Any, fault: Fault) -> None:
    await asyncio.gather(works.serve(), works.work(), works.rich(range(JOBS)))
    ordering = asyncio.create_task(order_all(works, JOBS, (400, 1_500)))
    await until(lambda: has_work(works, raw), 10)
    await fault(works)
    await ordering
    await works.done(raw, DONE_WITHIN_S)
    await works.close(raw)
    await works.stands(raw)
    assert works.told_again == 0 or fault in (die, stand_still), "only who dies may have told already"


@pytest.mark.skipif(not LONG, reason="CHAOS=long")
async def test_everything_at_random(works: Factory, raw: Any, record_property: Callable[[str, object], None]) -> None:
    await asyncio.gather(works.serve(), works.work(), works.work(), works.rich(range(MANY)))
    ordering = asyncio.create_task(order_all(works, MANY, (50, 1_000)))
    while not ordering.done() or await raw.fetchval("SELECT count(*) FROM generation_jobs WHERE finished_at IS NULL"):
        await random.choice(FAULTS)(works)
        await asyncio.sleep(random.uniform(0, 2))
        if ordering.done() and await raw.fetchval("SELECT count(*) FROM generation_jobs WHERE status = 'queued'") == 0:
            break
    await ordering
    await works.done(raw, 10 * DONE_WITHIN_S)
    await works.close(raw)
    await works.stands(raw, may_lose_workers=True)
    figures = (works.ordered, 0, 0, "", f"{works.longest_s:.2f} s", "", "", "", works.told_again)
    columns = ("workers, everything at random", *figures, await works.given_up(raw))
    record_property("work", f"| {' | '.join(map(str, columns))} |")
