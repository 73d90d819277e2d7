"""The one seam to PostgreSQL: a connection or a transaction, each with a deadline.

It knows the pool and its traps (docs/decisions, the database seam); it knows no table and no query.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from service.errors import (
    ConnectionLost,
    ConnectionShared,
    DatabaseAway,
    DeadlineExceeded,
    PoolExhausted,
    ServiceError,
)
from service.kernel import metrics
from service.kernel.clock import Clock
from service.kernel.database.connect import Connection, Connector
from service.kernel.database.prober import Listener, Prober
from service.kernel.database.settings import DatabaseSettings
from service.kernel.sqlstate import DRIVER_ERRORS, READ_ONLY, sqlstate_class, translate

# Balancers and failovers forget connections; none of ours is used when it is older than this.
RECYCLE_AFTER_S = 3600.0
# What a burst opened is closed again once nobody needed it for this long.
IDLE_AFTER_S = 300.0
# How soon those that are kept warm are opened again after they were closed by whomever.
WARM_EVERY_S = 1.0
# How long a connection whose caller left may take to end its statement, before it is cut.
ABANDON_TIMEOUT_S = 2.0
# Between two tries to connect while the prober says that the database answers (too many clients, starting up).
RECONNECT_PAUSE_S = 0.1
CLOSE_TIMEOUT_S = 5.0
# A server that takes no writes is left for another once in this time; where there is no other, every write that it
# refuses would else empty the pool for those who only read.
LEAVE_EVERY_S = 1.0
# After these a statement may still be under way on the connection, or the connection is broken.
SPOILING = (asyncio.CancelledError, TimeoutError, DeadlineExceeded, ConnectionLost, ConnectionShared)


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """What operators may know of the database. No address, no user, no password."""

    reachable: bool
    reason: str
    since: datetime
    connections: int
    idle: int
    maximum: int
    waiting: int = 0


class Database:
    """Connections to PostgreSQL. Starts, and stays up, while the server is away."""

    def __init__(self, settings: DatabaseSettings, clock: Clock | None = None) -> None:
        self.settings = settings
        self._connector = Connector(settings)
        self._pool: Any = None
        self._left_at = -math.inf
        self._waiting = 0  # callers without a connection
        self._on_up: list[Callable[[], None]] = []
        self._background: set[asyncio.Task[None]] = set()
        self._prober = Prober(
            self._connector.open,
            clock or Clock(),
            notifications=settings.pooler == "none",
            on_up=self._came_up,
        )

    async def start(self) -> None:
        """Look once, then keep looking in the background. Returns with the server away, too."""
        self._pool = await asyncpg.create_pool(
            connect=self._connect,
            connection_class=Connection,
            min_size=0,  # a pool that insists on a connection at start is dead for good without one
            max_size=self.settings.pool_max,
            max_inactive_connection_lifetime=IDLE_AFTER_S,
            max_queries=math.inf,  # age alone decides
            reset=_keep_session,
        )
        await self._prober.verdict()
        self._in_background(self._prober.run())
        self._in_background(self._keep_warm())

    async def stop(self) -> None:
        """Close everything, politely for a while and then not. Whoever still asks is told that it is away."""
        await self._prober.close()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @property
    def reachable(self) -> bool:
        return self._prober.reachable

    def status(self) -> DatabaseStatus:
        prober, pool = self._prober, self._pool
        return DatabaseStatus(
            prober.reachable,
            prober.reason,
            prober.since,
            pool.get_size(),
            pool.get_idle_size(),
            pool.get_max_size(),
            self._waiting,
        )

    def listen(self, channel: str, listener: Listener) -> None:
        """Hear NOTIFY on `channel`. Call before `start`."""
        self._prober.listen(channel, listener)

    def when_up(self, callback: Callable[[], None]) -> None:
        """Be told each time that the database has come (back) up."""
        self._on_up.append(callback)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """A connection for one task.

        Raises DatabaseAway (in under a millisecond while it is known to be away), PoolExhausted, and, for what
        happens inside, the translated error. A cancelled caller leaves at once; its statement is ended behind
        its back.
        """
        self._waiting += 1
        try:
            connection = await self._checkout()
        finally:
            self._waiting -= 1
        try:
            yield connection
        except BaseException as error:
            raised = await self._observe(error)
            if isinstance(raised, SPOILING):
                self._in_background(self._abandon(connection))
            else:
                await self._give_back(connection)
            if raised is error:
                raise
            raise raised from None
        else:
            await self._give_back(connection)

    @asynccontextmanager
    async def transaction(self, *, one_moment: bool = False) -> AsyncIterator[Connection]:
        """A connection with a transaction open: committed at the end, rolled back when anything is raised.

        one_moment: all its statements see the database as it was at the first of them.
        After ConnectionLost, a cancellation or a deadline at the end of the block the commit may have happened.
        Raises also when a statement's failure was swallowed inside: the server commits nothing then.
        """
        async with self.acquire() as connection:
            transaction = connection.transaction(isolation="repeatable_read" if one_moment else None)
            await transaction.start()
            try:
                yield connection
            except BaseException as error:
                if not isinstance(translate(error), SPOILING):
                    await transaction.rollback()
                raise
            await transaction.commit()

    async def _checkout(self) -> Connection:
        started = time.monotonic()
        deadline = started + self.settings.wait_timeout
        while True:
            self._require_reachable()
            connection = await self._try_acquire(deadline)
            if connection is None:
                await asyncio.sleep(RECONNECT_PAUSE_S)
            elif time.monotonic() - connection.opened_at > RECYCLE_AFTER_S:
                self._in_background(self._abandon(connection))
            else:
                metrics.DB_POOL_WAIT.observe(time.monotonic() - started)
                return connection

    def _require_reachable(self) -> None:
        if not self._prober.reachable:
            raise DatabaseAway

    async def _try_acquire(self, deadline: float) -> Connection | None:
        """A connection; None when opening one failed although the database answers, and there is time left."""
        left = deadline - time.monotonic()
        if left <= 0:
            metrics.DB_POOL_TIMEOUTS.inc()
            raise PoolExhausted
        try:
            connection: Connection = await self._pool.acquire(timeout=left)
        except TimeoutError:
            metrics.DB_POOL_TIMEOUTS.inc()
            raise PoolExhausted from None
        except DRIVER_ERRORS as error:
            await self._observe(error)
            if not await self._prober.verdict():
                raise DatabaseAway from None
            return None
        return connection

    async def _observe(self, error: BaseException) -> BaseException:
        """Count a driver's error, act on what it says about our connections, and translate it."""
        driver = error.__context__ if isinstance(error, ServiceError) else error
        if isinstance(driver, DRIVER_ERRORS):
            metrics.DB_ERRORS.labels(sqlstate_class(driver)).inc()
        raised = translate(error)
        if isinstance(raised, ConnectionLost):
            self._prober.doubt()
        if getattr(driver, "sqlstate", None) == READ_ONLY:
            await self._leave_server()
        return raised

    async def _leave_server(self) -> None:
        """It was demoted, and would go on refusing over every connection that is open."""
        if time.monotonic() - self._left_at > LEAVE_EVERY_S:
            self._left_at = time.monotonic()
            await self._pool.expire_connections()
            self._prober.reconnect()

    async def _connect(self, *_dsn: object, **arguments: Any) -> Connection:
        """For the pool, to whose caller a TimeoutError would be his own deadline."""
        try:
            return await self._connector.open(**arguments)
        except TimeoutError as error:
            raise ConnectionError("no host answered in time") from error

    async def _give_back(self, connection: Connection) -> None:
        """What befalls the connection after its use does not concern whoever used it."""
        with suppress(*DRIVER_ERRORS):
            await self._pool.release(connection)

    async def _abandon(self, connection: Connection) -> None:
        """End the statement of a caller who left, by closing: nothing of a broken session is worth keeping."""
        with suppress(*DRIVER_ERRORS):
            await connection.close(timeout=ABANDON_TIMEOUT_S)
        await self._give_back(connection)

    def _came_up(self) -> None:
        self._in_background(self._warm())
        for callback in self._on_up:
            callback()

    async def _keep_warm(self) -> None:
        while True:
            await asyncio.sleep(WARM_EVERY_S)
            if self.reachable:
                await self._warm()

    async def _warm(self) -> None:
        """Open the connections that are kept warm. One that fails is no news: the prober tells the world."""
        wanted = self.settings.pool_min if self._pool.get_size() < self.settings.pool_min else 0
        await asyncio.gather(*(self._warm_one() for _ in range(wanted)), return_exceptions=True)

    async def _warm_one(self) -> None:
        """Held no longer than it takes to open, so that it serves whoever waits."""
        connection = await self._pool.acquire(timeout=ABANDON_TIMEOUT_S)
        await self._pool.release(connection)

    def _in_background(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def _keep_session(_connection: object) -> None:
    """No session state is ever used, so there is nothing to reset: one round trip less for each acquire."""
