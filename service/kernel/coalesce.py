"""Calls under way at the same moment share one statement: group commit for queries.

It knows callers and batches; it knows neither SQL nor what the keys mean. One call alone starts at once and
gains nothing; forty that wait while one is under way become a single round trip, each getting its own answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar, cast

from service.errors import DeadlineExceeded, Unavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Batch = Mapping[K, Sequence[asyncio.Future[V | None]]]

# More keys in a statement would gain nothing and make the plan's cost visible to the first of them.
BATCH_MAX = 200
# Where callers share statements, the next one begins this much after the last at the earliest: every statement costs
# this process and the database more than a millisecond or two of waiting costs anybody. A lone caller never waits.
GATHER_S = 0.0015
# One batch at a time makes the largest batches. When it takes this long it may be stuck on a broken connection, and
# a second lane takes over; a healthy statement is done in a few milliseconds.
PATIENCE_S = 0.02
LANES = 2


class Coalesced(Generic[K, V]):
    """Turns `many(keys) -> {key: value}` into `one(key) -> value | None`.

    An error of a batch is tried again key by key, so that one bad argument fails its own caller only; when the
    database is unavailable all callers hear it at once. A cancelled caller leaves the others alone.
    """

    def __init__(self, many: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, deadline_s: float) -> None:
        self._many = many
        self._deadline_s = deadline_s
        self._waiting: dict[K, list[asyncio.Future[V | None]]] = {}
        self._lanes: set[asyncio.Task[None]] = set()
        self._taken = 0  # batches so far
        self._taken_at = 0.0  # when the last of them was
        self._relief: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None  # remembered: each question is a call of the system

    async def __call__(self, key: K) -> V | None:
        loop = self._loop = self._loop or asyncio.get_running_loop()
        waiter: asyncio.Future[V | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(waiter)
        if not self._lanes:
            self._open_lane()
        elif self._relief is None:
            self._relief = loop.call_later(PATIENCE_S, self._relieve, loop)
        return await waiter

    def _open_lane(self) -> None:
        """It starts in the event loop's next turn, and finds whoever else called in this one."""
        self._lanes.add(asyncio.create_task(self._drain()))

    def _relieve(self, loop: asyncio.AbstractEventLoop) -> None:
        self._relief = None
        if not self._waiting:
            return
        if loop.time() - self._taken_at >= PATIENCE_S and len(self._lanes) < LANES:
            self._open_lane()
        self._relief = loop.call_later(PATIENCE_S, self._relieve, loop)

    async def _drain(self) -> None:
        """Batch after batch, until nobody waits or another lane has gone on meanwhile."""
        loop = asyncio.get_running_loop()
        try:
            while batch := self._take():
                self._taken += 1
                self._taken_at, mine = loop.time(), self._taken
                await self._run(batch)
                if len(batch) > 1:
                    await asyncio.sleep(self._taken_at + GATHER_S - loop.time())
                if self._taken != mine and len(self._lanes) > 1:
                    break
        finally:
            # Here and not in a callback of the task: a caller who comes before that would count on a lane that ended.
            self._lanes.remove(cast("asyncio.Task[None]", asyncio.current_task()))

    def _take(self) -> Batch[K, V]:
        return {key: self._waiting.pop(key) for key in list(islice(self._waiting, BATCH_MAX))}

    async def _run(self, batch: Batch[K, V]) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._answer(batch)
        except TimeoutError:
            _fail(batch, DeadlineExceeded())
        except BaseException:  # the lane is ended, the loop is closing: nobody must wait for it
            _fail(batch, Unavailable())
            raise

    async def _answer(self, batch: Batch[K, V]) -> None:
        try:
            answers = await self._many(list(batch))
        except TimeoutError:
            raise
        except Unavailable as error:
            _fail(batch, error)
        except Exception as error:  # handed to the callers, whoever is to blame
            if len(batch) == 1:
                _fail(batch, error)
                return
            for key, waiters in batch.items():
                await self._answer({key: waiters})
        else:
            for key, waiters in batch.items():
                _settle(waiters, answers.get(key))


def _settle(waiters: Sequence[asyncio.Future[V | None]], value: V | None) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(value)


def _fail(batch: Batch[K, V], error: Exception) -> None:
    for waiters in batch.values():
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)
