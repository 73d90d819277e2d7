"""Whether the database is there, noticed by one connection of its own.

It knows one connection beside the pool: it is pinged every second, carries the notifications, and is opened
again when it breaks. It knows nothing of the pool, and nothing of what the callers want from the database.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg

from service.errors import Unavailable
from service.kernel import queries
from service.kernel.clock import Clock
from service.kernel.database.connect import Connection
from service.kernel.log import Log
from service.kernel.sqlstate import translate

# Noticed within 1 + 1.5 s at worst, which leaves half a second of the three that a caller may be kept guessing.
PING_EVERY_S = 1.0
PING_TIMEOUT_S = 1.5
# While away: soon enough that recovery is told in well under two seconds, spread so that instances do not march.
RETRY_EVERY_S = (0.2, 0.5)

Listener = Callable[[str | None], None]
"""Takes a notification's payload; None after a reconnect, when anything may have been missed."""

log = Log("database")
ping = queries.room("kernel").value("ping", int)


class Prober:
    """Keeps `reachable` true to the world. Callbacks run in the event loop and must not block."""

    def __init__(
        self,
        open_connection: Callable[[], Awaitable[Connection]],
        clock: Clock,
        *,
        notifications: bool,
        on_up: Callable[[], None],
    ) -> None:
        self.reachable = False
        self.reason = "not tried yet"
        self.since = clock.now()
        self._open = open_connection
        self._clock = clock
        self._notifications = notifications
        self._on_up = on_up
        self._listeners: dict[str, list[Listener]] = {}
        self._connection: Connection | None = None
        self._probe: asyncio.Task[bool] | None = None
        self._doubt = asyncio.Event()

    def listen(self, channel: str, listener: Listener) -> None:
        """Hear a channel from the next (re)connect on. A pooler carries no notifications: then only reconnects."""
        self._listeners.setdefault(channel, []).append(listener)

    async def verdict(self) -> bool:
        """Look now, and say whether the database answers. Callers at the same moment share one look."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._look())
        return await asyncio.shield(self._probe)

    async def run(self) -> None:
        """Keep looking until cancelled: every second, sooner while away, at once when somebody doubts."""
        while True:
            pause = PING_EVERY_S if self.reachable else random.uniform(*RETRY_EVERY_S)  # noqa: S311  # jitter
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._doubt.wait()
            self._doubt.clear()
            await self.verdict()

    def doubt(self) -> None:
        """Somebody met a broken connection: look again at once."""
        self._doubt.set()

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
        await self._drop()

    async def _look(self) -> bool:
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self._ping()
        except (Unavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._went_away(error)
            await self._drop()
        else:
            self._is_here()
        return self.reachable

    async def _ping(self) -> None:
        """One broken connection proves nothing about the database: only a fresh one that fails does."""
        if self._connection is not None:
            try:
                await ping(self._connection)
                return
            except Unavailable:
                await self._drop()
        self._connection = await self._connect()
        await ping(self._connection)

    async def _connect(self) -> Connection:
        connection = await self._open()
        connection.add_termination_listener(lambda _: self.doubt())
        if self._notifications:
            for channel in self._listeners:
                await connection.add_listener(channel, self._hear)
        for listeners in self._listeners.values():
            for listener in listeners:
                listener(None)
        return connection

    def _hear(self, _connection: object, _pid: int, channel: str, payload: str) -> None:
        for listener in self._listeners.get(channel, ()):
            listener(payload)

    def _is_here(self) -> None:
        if self.reachable:
            return
        self.reachable, self.reason, self.since = True, "", self._clock.now()
        log.info("database reachable")
        self._on_up()

    def _went_away(self, error: BaseException) -> None:
        """The reason is the kind of the error: a driver's own words may carry an address or a user."""
        reason = type(translate(error)).__name__
        if self.reachable or reason != self.reason:
            log.warning("database away", reason=reason)
        if self.reachable:
            self.since = self._clock.now()
        self.reachable, self.reason = False, reason

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
