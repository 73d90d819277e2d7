"""Keeps what is told: in memory for a moment, then in the table, many in one statement, and wakes whoever watches.

It knows when it is written and who is woken; it knows nothing of what is told. Whoever tells is never kept waiting,
never fails by it, and never has it in a transaction of his: it is written over a connection of its own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from service.errors import ServiceError
from service.feature import Event, Rooms
from service.features.tail import repo
from service.features.tail.bell import Bell
from service.features.tail.event import TailEvent
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.database.buffer import Buffer
from service.kernel.jobs import Counts, Job, JobLoop

NAME = "write_tail_events"
# The net: each event pokes the job, whose own rest between two runs makes one statement of what a quarter of a second
# brought, and of the bell's ringing one notification.
WRITE_EVERY_S = 1.0


class Tail:
    """Stands in while the table is missing: what is told now is not kept."""

    def keep(self, event: Event) -> None:
        """Write it, by and by."""

    async def flush(self) -> None:
        """Write what waits."""

    async def flush_at_stop(self) -> None:
        """The same, as far as a stop has time for it."""


class TailInTable(Tail):
    """With the buffer in front of tail_events, and the bell for those who watch at this instance."""

    def __init__(self, rooms: Rooms) -> None:
        self._database, self._clock, self._jobs = rooms.of(Database), rooms.of(Clock), rooms.of(JobLoop)
        self._instance = f"{socket.gethostname()}:{os.getpid()}"
        self._buffer: Buffer[TailEvent] = Buffer("tail_events", self._write)
        self.bell = Bell(self._database)

    @property
    def waiting(self) -> int:
        return len(self._buffer)

    def keep(self, event: Event) -> None:
        self._buffer.add(TailEvent.of(event, self._clock.now()))
        self._jobs.poke(NAME)

    async def flush(self) -> None:
        """Raises Unavailable, and TransactionConflict; what was not written waits on, in its order."""
        if not self.waiting:
            return
        await self._buffer.flush()
        async with self._database.acquire() as conn:
            await repo.ring(conn)

    async def flush_at_stop(self) -> None:
        await self._buffer.flush_at_stop()

    async def _write(self, events: Sequence[TailEvent]) -> None:
        async with self._database.acquire() as conn:
            await repo.write_events(conn, self._instance, events)


def hear(rooms: Rooms, event: Event) -> None:
    rooms.of(Tail).keep(event)


async def write_waiting(rooms: Rooms) -> Counts:
    """That the database is away is said by itself; the next run comes soon, and nothing is lost meanwhile."""
    with suppress(ServiceError):
        await rooms.of(Tail).flush()
    return {}


@asynccontextmanager
async def flushed_at_stop(rooms: Callable[[], Rooms]) -> AsyncIterator[None]:
    yield
    await rooms().of(Tail).flush_at_stop()


JOB = Job(NAME, WRITE_EVERY_S, write_waiting)
