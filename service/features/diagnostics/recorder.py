"""Keeps what is told of generations: in memory for a moment, then in the table, many in one statement.

It knows when it is written; it knows nothing of what is counted. Whoever tells is never kept waiting, never fails by
it, and never has it in a transaction of his: it is written over a connection of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from service.errors import ServiceError
from service.feature import Event, Rooms
from service.features.diagnostics import repo
from service.features.diagnostics.event import GenerationEvent
from service.kernel.database import Database
from service.kernel.database.buffer import WAITING_MAX, Buffer
from service.kernel.jobs import Counts, Job, JobLoop
from service.users.people import People
from service.users.repo import ensure_users
from service.users.user import Profile

NAME = "write_generation_events"
# No event waits for longer than a second, the jitter of jobs included.
WRITE_EVERY_S = 0.9
# So many are worth a statement before its time.
WRITE_AT = 200


class Recorder:
    """Stands in while the table is missing: what is told now is not kept."""

    def record(self, event: Event) -> None:
        """Keep it, by and by."""

    async def flush(self) -> None:
        """Write what waits."""

    async def flush_at_stop(self) -> None:
        """The same, as far as a stop has time for it."""


class RecorderInTable(Recorder):
    """With the buffer in front of generation_events."""

    def __init__(self, rooms: Rooms, waiting_max: int = WAITING_MAX) -> None:
        self._database, self._people, self._jobs = rooms.of(Database), rooms.of(People), rooms.of(JobLoop)
        self._buffer: Buffer[GenerationEvent] = Buffer("generation_events", self._write, waiting_max)

    @property
    def waiting(self) -> int:
        return len(self._buffer)

    @property
    def dropped(self) -> int:
        return self._buffer.dropped

    def record(self, event: Event) -> None:
        self._buffer.add(GenerationEvent.of(event))
        if self.waiting >= WRITE_AT:
            self._jobs.poke(NAME)

    async def flush(self) -> None:
        """Raises Unavailable, and TransactionConflict; what was not written waits on, in its order."""
        await self._buffer.flush()

    async def flush_at_stop(self) -> None:
        await self._buffer.flush_at_stop()

    async def _write(self, events: Sequence[GenerationEvent]) -> None:
        """People first: somebody may have come while the database was away."""
        strangers = {event.user_id for event in events if self._people.known(event.user_id) is None}
        async with self._database.transaction() as conn:
            if strangers:
                await ensure_users(conn, [Profile(user_id) for user_id in sorted(strangers)])
            await repo.write_events(conn, events)


def hear(rooms: Rooms, event: Event) -> None:
    rooms.of(Recorder).record(event)


async def write_waiting(rooms: Rooms) -> Counts:
    """That the database is away is said by itself; the next run comes soon, and nothing is lost meanwhile."""
    with suppress(ServiceError):
        await rooms.of(Recorder).flush()
    return {}


@asynccontextmanager
async def flushed_at_stop(rooms: Callable[[], Rooms]) -> AsyncIterator[None]:
    yield
    await rooms().of(Recorder).flush_at_stop()


JOB = Job(NAME, WRITE_EVERY_S, write_waiting)
