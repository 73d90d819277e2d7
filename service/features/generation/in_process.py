"""Free work where there is no queue: done in this process, a few at a time, and forgotten by a crash.

It knows attempts and deliveries; it knows no table.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta

import msgspec

from service.errors import Upstream
from service.feature import Rooms
from service.features.generation import delivery
from service.features.generation.attempt import Failed, Step, attempt, happened
from service.features.generation.providers.provider import Output, Pending
from service.features.generation.work import Order, Placed, Result
from service.kernel.clock import Clock
from service.kernel.log import Log

AT_ONCE = 8
WAITING_MAX = 200
PER_PERSON = 3  # nothing is remembered of who came first, so nobody takes more than a few places
STOP_GRACE_S = 3.0

log = Log("generation")


class InProcess:
    """Everything that this process makes without a row of it."""

    def __init__(self) -> None:
        self._hands = asyncio.Semaphore(AT_ONCE)
        self._open: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def place(self, order: Order) -> Placed:
        """Whether there is a place for it; `start` takes it."""
        full = self._open.total() >= WAITING_MAX or self._open[order.user_id] >= PER_PERSON
        return Placed(ahead=self._open[order.user_id], is_new=not full, is_known=False, is_kept=False)

    def start(self, rooms: Rooms, order: Order) -> None:
        self._open[order.user_id] += 1
        self.soon(self._make(rooms, order))

    def soon(self, work: Coroutine[object, object, None]) -> None:
        """Do this behind everybody's back."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Let what is under way end, and give it up after a while."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_GRACE_S)
            for task in late:
                task.cancel()

    async def _make(self, rooms: Rooms, order: Order) -> None:
        started = rooms.of(Clock).monotonic()
        try:
            async with self._hands:
                happened(rooms, order, order.model.id, "started", is_free=True, price_rub=order.model.price_rub)
                step = await _until_made(rooms, order)
            result = _result(order, step)
            why = {"error_code": step.code, "error_message": step.message} if isinstance(step, Failed) else {}
            spent = round((rooms.of(Clock).monotonic() - started) * 1000)
            free = {"is_free": True, "price_rub": order.model.price_rub}
            happened(rooms, order, order.model.id, result.status, duration_ms=spent, **free, **why)
            await delivery.deliver(rooms, result)
        except Upstream as error:
            log.warning("result not delivered", model=order.model.id, reason=error.message)
        finally:
            self._open -= Counter([order.user_id])  # who has nothing open any more is forgotten


async def _until_made(rooms: Rooms, order: Order) -> Step:
    until = rooms.of(Clock).now() + timedelta(seconds=order.model.timeout_s)
    step = await attempt(rooms, order, order.model, until=until)
    while isinstance(step, Pending):
        await asyncio.sleep(step.check_after_s)
        step = await attempt(rooms, order, order.model, step.reference, until=until)
    return step


def _result(order: Order, step: Step) -> Result:
    result = Result(
        job_id=None,
        user_id=order.user_id,
        chat_id=order.chat_id,
        language=order.language,
        model_id=order.model.id,
        price_rub=order.model.price_rub,
        status="success",
    )
    if isinstance(step, Failed):
        return msgspec.structs.replace(result, status=step.status, error_code=step.code)
    assert isinstance(step, Output), "it was waited for"
    return msgspec.structs.replace(result, output=step)
