"""What is told faster than it can be written: in memory for a moment, then in its table, many in one statement.

It knows how much waits, and what is given up; it knows no table, and nothing of what is told. Whoever tells is never
kept waiting and never fails by it. While the database is away what was told waits; a crash loses what was not written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from service.errors import ServiceError
from service.kernel.log import Log, RateLimited

T = TypeVar("T")

# More in a statement gains nothing.
BATCH = 500
# Some 10 MB, and half an hour without a database at five events a second.
WAITING_MAX = 10_000
# One line about what is given up in so many seconds.
SAY_EVERY_S = 60.0
# Of the seconds that a stop may take.
STOP_S = 2.0

log = Log("database")


class Buffer(Generic[T]):
    """In front of the table that is named. Of too many, the oldest are given up.

    `write` is one transaction, over a connection of its own: nobody else's must have a part in it.
    """

    def __init__(
        self, table: str, write: Callable[[Sequence[T]], Awaitable[None]], waiting_max: int = WAITING_MAX
    ) -> None:
        self._table, self._insert, self._waiting_max = table, write, waiting_max
        self._waiting: deque[T] = deque()
        self._turn = asyncio.Lock()
        self._warnings = RateLimited("database", SAY_EVERY_S)
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, one: T) -> None:
        self._waiting.append(one)
        self._keep_within_bounds()

    async def flush(self) -> None:
        """Raises Unavailable, and TransactionConflict; what was not written waits on, in its order."""
        async with self._turn:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                try:
                    await self._write(batch)
                except BaseException:
                    self._waiting.extendleft(reversed(batch))
                    self._keep_within_bounds()
                    raise

    async def flush_at_stop(self) -> None:
        """What waits when the process stops, before the pool is closed."""
        try:
            async with asyncio.timeout(STOP_S):
                await self.flush()
        except (ServiceError, TimeoutError) as error:
            log.warning("events lost at the stop", table=self._table, reason=type(error).__name__)

    async def _write(self, batch: Sequence[T]) -> None:
        """Whatever the database does not want is found by halving, and given up alone."""
        try:
            await self._insert(batch)
        except Exception as error:
            if isinstance(error, ServiceError) and error.retryable:
                raise
            if len(batch) == 1:
                self._give_up(type(error).__name__)
                return
            middle = len(batch) // 2
            await self._write(batch[:middle])
            await self._write(batch[middle:])

    def _keep_within_bounds(self) -> None:
        while len(self._waiting) > self._waiting_max:
            self._waiting.popleft()
            self._give_up("too many wait")

    def _give_up(self, reason: str) -> None:
        self.dropped += 1
        key = f"{self._table}: {reason}"
        self._warnings.warning("events dropped", key=key, table=self._table, reason=reason, dropped=self.dropped)
