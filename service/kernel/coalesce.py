"""Calls under way at the same moment share one statement: group commit for queries.

It knows callers and batches; it knows neither SQL nor what the keys mean. One call alone starts at once and
gains nothing; forty that wait while one is under way become a single round trip, each getting its own answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from service.errors import DeadlineExceeded, Unavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# More keys in a statement would gain nothing and make the plan's cost visible to the first of them.
BATCH_MAX = 200
# Two batches may be under way, so that one stuck on a broken connection does not stop the others.
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

    async def __call__(self, key: K) -> V | None:
        waiter: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(waiter)
        if len(self._lanes) < LANES:
            # The lane starts in the event loop's next turn, and finds whoever else called in this one.
            lane = asyncio.create_task(self._drain())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return await waiter

    async def _drain(self) -> None:
        while batch := self._take():
            await self._run(batch)

    def _take(self) -> dict[K, list[asyncio.Future[V | None]]]:
        keys = list(self._waiting)[:BATCH_MAX]
        return {key: self._waiting.pop(key) for key in keys}

    async def _run(self, batch: Mapping[K, list[asyncio.Future[V | None]]]) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                answers = await self._many(list(batch))
        except TimeoutError:
            _fail(batch, DeadlineExceeded())
        except Unavailable as error:
            _fail(batch, error)
        except Exception as error:  # handed to the callers, whoever is to blame
            if len(batch) == 1:
                _fail(batch, error)
            else:
                await self._run_one_by_one(batch)
        else:
            for key, waiters in batch.items():
                _settle(waiters, answers.get(key))

    async def _run_one_by_one(self, batch: Mapping[K, list[asyncio.Future[V | None]]]) -> None:
        for key, waiters in batch.items():
            await self._run({key: waiters})


def _settle(waiters: Sequence[asyncio.Future[V | None]], value: V | None) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(value)


def _fail(batch: Mapping[K, Sequence[asyncio.Future[V | None]]], error: Exception) -> None:
    for waiters in batch.values():
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)
