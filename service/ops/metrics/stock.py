"""Takes stock when metrics are asked for: figures that stand in rows, looked up now and then, and never for long.

It knows who has such figures, how old they may be and how long anybody waits for them; it knows no figure but the
database's own. What could not be looked up is unknown, and not what it was.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable

from service.errors import ServiceError
from service.feature import Feature, Gauges, On, Rooms, Sample, relations_of
from service.kernel import metrics, migrate
from service.kernel.database import Connection
from service.kernel.log import RateLimited
from service.ops import catalog
from service.ops.operations import Operations

# Prometheus asks every 15 s or so; several of them, or a person who reloads, cost the database nothing.
KEPT_S = 10.0
# Migrations come with releases, and looking opens a connection.
MIGRATIONS_KEPT_S = 60.0
# With the showing less than the 2 s that any answer beside the doors may take: with the database slow or frozen, all
# other figures must come.
LOOK_S = 1.0
# What was found in time, or not, has still to be shown.
SHOWN_IN_S = 0.5
# One line about what could not be looked up in so many seconds.
SAY_EVERY_S = 300.0

warnings = RateLimited("metrics", SAY_EVERY_S)


class Stock:
    """One of them serves all who ask."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._looking: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._looked_at = self._asked_at = -math.inf
        relations = sorted(relations_of(operations.switchboard.features))
        self._own = Gauges((metrics.DB_OLDEST_TRANSACTION, metrics.DB_DEAD_ROWS), _database_with(relations))

    async def take(self) -> None:
        """Look where the last look is too old; what takes longer than LOOK_S is there for the next who asks."""
        now = self._operations.clock.monotonic()
        if _ended(self._looking) and now - self._looked_at >= KEPT_S:
            self._looked_at, self._looking = now, asyncio.create_task(self._look())
        if _ended(self._asking) and now - self._asked_at >= MIGRATIONS_KEPT_S:
            self._asked_at, self._asking = now, asyncio.create_task(self._count_migrations())
        if running := [task for task in (self._looking, self._asking) if task and not task.done()]:
            await asyncio.wait(running, timeout=LOOK_S + SHOWN_IN_S)

    async def _look(self) -> None:
        board, rooms = self._operations.switchboard, self._operations.switchboard.mounted.rooms
        on = [feature for feature in board.features if isinstance(board.states[feature.name], On)]
        found = await self._samples(rooms, on)
        for gauges in (self._own, *(one for feature in board.features for one in feature.gauges)):
            show(gauges, found.get(gauges, ()))

    async def _samples(self, rooms: Rooms, on: Iterable[Feature]) -> dict[Gauges, Iterable[Sample]]:
        """All that could be found in time."""
        found: dict[Gauges, Iterable[Sample]] = {}
        try:
            async with asyncio.timeout(LOOK_S), self._operations.database.acquire() as conn:
                for gauges in (self._own, *(one for feature in on for one in feature.gauges)):
                    found[gauges] = await gauges.look(rooms, conn)
        except (ServiceError, TimeoutError) as error:
            warnings.warning("figures not looked up", key=type(error).__name__, reason=type(error).__name__)
        return found

    async def _count_migrations(self) -> None:
        """In a thread, as every look at migrations is; with the database away it is not known."""
        pending = math.nan
        if self._operations.database.reachable:
            try:
                dsn = self._operations.config.database.dsn or ""
                pending = len(await asyncio.to_thread(migrate.pending, dsn))
            except ServiceError as error:
                warnings.warning("figures not looked up", key="migrations", reason=type(error).__name__)
        metrics.MIGRATIONS_PENDING.set(pending)


def show(gauges: Gauges, samples: Iterable[Sample]) -> None:
    """These, and of the others that there are none."""
    for gauge in gauges.gauges:
        if gauge._labelnames:
            gauge.clear()
        else:
            gauge.set(math.nan)
    for gauge, labels, value in samples:
        (gauge.labels(*labels) if labels else gauge).set(value)


def _ended(task: asyncio.Task[None] | None) -> bool:
    return task is None or task.done()


def _database_with(relations: list[str]) -> Callable[[Rooms, Connection], Awaitable[list[Sample]]]:
    """The database's own figures; dead rows of the tables that features need."""

    async def look(_rooms: Rooms, conn: Connection) -> list[Sample]:
        dead = await catalog.count_dead_rows(conn, relations=relations)
        oldest: Sample = (metrics.DB_OLDEST_TRANSACTION, (), await catalog.oldest_transaction_s(conn))
        return [oldest, *((metrics.DB_DEAD_ROWS, (one.relation,), float(one.dead_rows)) for one in dead)]

    return look
