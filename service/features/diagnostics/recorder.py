"""Keeps what is told of generations: in memory for a moment, then in the table, many in one statement.

It knows the buffer, when it is written and what is given up; it knows nothing of what is counted. Whoever tells is
never kept waiting, never fails by it, and never has it in a transaction of his: it is written over a connection of its
own. While the database is away events wait; a crash loses those of the last second.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from service.errors import ServiceError
from service.feature import Event, Rooms
from service.features.diagnostics import repo
from service.features.diagnostics.event import GenerationEvent
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job, JobLoop
from service.kernel.log import Log, RateLimited
from service.users.people import People
from service.users.repo import ensure_users
from service.users.user import Profile

NAME = "write_generation_events"
# No event waits for longer than a second, the jitter of jobs included.
WRITE_EVERY_S = 0.9
# So many are worth a statement before its time.
WRITE_AT = 200
# More in a statement gains nothing.
BATCH = 500
# Some 10 MB, and half an hour without a database at five events a second.
WAITING_MAX = 10_000
# One line about what is given up in so many seconds.
SAY_EVERY_S = 60.0
# Of the seconds that a stop may take.
STOP_S = 2.0

log = Log("diagnostics")


class Recorder:
    """Stands in while the table is missing: what is told now is not kept."""

    def record(self, event: Event) -> None:
        """Keep it, by and by."""

    async def flush(self) -> None:
        """Write what waits."""


class RecorderInTable(Recorder):
    """The buffer in front of generation_events. Of too many, the oldest are given up."""

    def __init__(self, rooms: Rooms, waiting_max: int = WAITING_MAX) -> None:
        self._database, self._people, self._jobs = rooms.of(Database), rooms.of(People), rooms.of(JobLoop)
        self._waiting: deque[GenerationEvent] = deque()
        self._waiting_max = waiting_max
        self._turn = asyncio.Lock()
        self._warnings = RateLimited("diagnostics", SAY_EVERY_S)
        self.dropped = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def record(self, event: Event) -> None:
        self._waiting.append(GenerationEvent.of(event))
        self._keep_within_bounds()
        if len(self._waiting) >= WRITE_AT:
            self._jobs.poke(NAME)

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

    async def _write(self, events: Sequence[GenerationEvent]) -> None:
        """Whatever the database does not want is found by halving, and given up alone."""
        try:
            await self._insert(events)
        except Exception as error:
            if isinstance(error, ServiceError) and error.retryable:
                raise
            if len(events) == 1:
                self._give_up(type(error).__name__)
                return
            middle = len(events) // 2
            await self._write(events[:middle])
            await self._write(events[middle:])

    async def _insert(self, events: Sequence[GenerationEvent]) -> None:
        """People first: somebody may have come while the database was away."""
        strangers = {event.user_id for event in events if self._people.known(event.user_id) is None}
        async with self._database.transaction() as conn:
            if strangers:
                await ensure_users(conn, [Profile(user_id) for user_id in sorted(strangers)])
            await repo.write_events(conn, events)

    def _keep_within_bounds(self) -> None:
        while len(self._waiting) > self._waiting_max:
            self._waiting.popleft()
            self._give_up("too many wait")

    def _give_up(self, reason: str) -> None:
        self.dropped += 1
        self._warnings.warning("generation events dropped", key=reason, reason=reason, dropped=self.dropped)


def hear(rooms: Rooms, event: Event) -> None:
    rooms.of(Recorder).record(event)


async def write_waiting(rooms: Rooms) -> Counts:
    """That the database is away is said by itself; the next run comes soon, and nothing is lost meanwhile."""
    with suppress(ServiceError):
        await rooms.of(Recorder).flush()
    return {}


@asynccontextmanager
async def flushed_at_stop(rooms: Callable[[], Rooms]) -> AsyncIterator[None]:
    """What waits when the process stops is written before the pool is closed."""
    yield
    try:
        async with asyncio.timeout(STOP_S):
            await rooms().of(Recorder).flush()
    except (ServiceError, TimeoutError) as error:
        log.warning("generation events lost at the stop", reason=type(error).__name__)


JOB = Job(NAME, WRITE_EVERY_S, write_waiting)
