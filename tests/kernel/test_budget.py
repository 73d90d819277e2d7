"""One deadline for all: work that is in time is left alone, work that is late ends, and only that."""

from __future__ import annotations

import asyncio
import time

import pytest

from service.errors import DeadlineExceeded
from service.kernel.budget import TICK_S, Budget


async def test_work_in_time_gives_its_result() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 42

    assert await Budget(5).spend(work()) == 42


async def test_late_work_is_ended_near_its_deadline() -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await Budget(0.1).spend(asyncio.Event().wait())
    assert 0.1 <= time.monotonic() - started < 0.1 + 10 * TICK_S
    assert asyncio.current_task().cancelling() == 0


async def test_each_of_many_has_its_own_time() -> None:
    """The late ones end; those beside them, begun later or quicker, do not notice."""
    budget = Budget(0.2)
    late = [asyncio.create_task(budget.spend(asyncio.Event().wait())) for _ in range(5)]
    quick = [asyncio.create_task(budget.spend(asyncio.sleep(0, number))) for number in range(5)]
    assert await asyncio.gather(*quick) == list(range(5))
    outcomes = await asyncio.gather(*late, return_exceptions=True)
    assert all(isinstance(outcome, DeadlineExceeded) for outcome in outcomes)


async def test_a_cancelled_caller_stays_cancelled() -> None:
    task = asyncio.create_task(Budget(5).spend(asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_the_work_raises_passes() -> None:
    async def work() -> None:
        raise KeyError("its own")

    with pytest.raises(KeyError):
        await Budget(5).spend(work())


async def test_the_same_task_may_come_again_after_it_was_late() -> None:
    """A connection's task handles one request after the other."""
    budget = Budget(0.05)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await budget.spend(asyncio.Event().wait())
    assert await budget.spend(asyncio.sleep(0, "well")) == "well"
