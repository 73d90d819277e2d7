"""Whether the database is there, noticed by one connection of its own.

It knows one connection beside the pool: it is pinged every second, carries the notifications, and is opened
again when it breaks. It knows nothing of the pool, and nothing of what the callers want from the database.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from service.errors import ServiceError
from service.kernel import queries
from service.kernel.clock import Clock
from service.kernel.database.connect import Connection
from service.kernel.log import Log

# Noticed within 1 + 1.5 s at worst, which leaves half a second of the three that a caller may be kept guessing.
PING_EVERY_S = 1.0
PING_TIMEOUT_S = 1.5
# The connection that is open, and two fresh ones: somebody may be killing them one after the other.
TRIES = 3
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
        self._probe: asyncio.Task[None] | None = None
        self._doubt = asyncio.Event()
        self._closed = False

    def listen(self, channel: str, listener: Listener) -> None:
        """Hear a channel from the next (re)connect on. A pooler carries no notifications: then only reconnects."""
        self._listeners.setdefault(channel, []).append(listener)

    async def verdict(self) -> bool:
        """Look now, and say whether the database answers. Callers at the same moment share one look."""
        if self._closed:
            return False
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._look())
        await asyncio.wait([self._probe])  # not ended by a caller who leaves, nor he by its end
        return self.reachable

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

    def reconnect(self) -> None:
        """Somebody met a server that is no longer the right one: find it anew."""
        self._drop()
        self.doubt()

    async def close(self) -> None:
        """From now on the database is away, whatever it is."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait([self._probe])
        self.reachable, self.reason = False, "stopped"
        self._drop()

    async def _look(self) -> None:
        try:
            await self._ping()
        except Exception as error:  # a look that raised would end the looking, and leave the last verdict for ever
            self._drop()
            self._went_away(error)
        else:
            self._is_here()

    async def _ping(self) -> None:
        """One broken connection proves nothing about the database: only fresh ones that fail do.

        While callers are let in the verdict is due soon; once they are refused, every host has its full time.
        """
        tries = TRIES if self.reachable else 1
        async with asyncio.timeout(PING_TIMEOUT_S if self.reachable else None):
            while True:
                try:
                    return await self._ask()
                except Exception:  # whatever is wrong with this one, the next may be right
                    self._drop()
                    tries -= 1
                    if not tries:
                        raise

    async def _ask(self) -> None:
        if self._connection is None:
            await self._connect()
        else:
            await ping(self._connection)

    async def _connect(self) -> None:
        connection = self._connection = await self._open()
        connection.add_termination_listener(self._lost)
        async with asyncio.timeout(PING_TIMEOUT_S):
            for channel in self._listeners if self._notifications else ():
                await connection.add_listener(channel, self._hear)
            await ping(connection)
        for listeners in self._listeners.values():
            _tell(listeners, None)

    def _hear(self, _connection: object, _pid: int, channel: str, payload: str) -> None:
        _tell(self._listeners[channel], payload)

    def _lost(self, connection: Connection) -> None:
        if connection is self._connection:  # else we ended it ourselves, and know
            self.doubt()

    def _is_here(self) -> None:
        if self.reachable:
            return
        self.reachable, self.reason, self.since = True, "", self._clock.now()
        log.info("database reachable")
        self._on_up()

    def _went_away(self, error: Exception) -> None:
        """The reason is the kind of the driver's error: its words may carry an address or a user."""
        cause = error.__context__ if isinstance(error, ServiceError) else error
        reason = type(cause or error).__name__
        if self.reachable or reason != self.reason:
            log.warning("database away", reason=reason)
        if self.reachable:
            self.since = self._clock.now()
        self.reachable, self.reason = False, reason

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _tell(listeners: Iterable[Listener], payload: str | None) -> None:
    for listener in listeners:
        try:
            listener(payload)
        except Exception:  # one that cannot read a payload must not keep it from the others
            log.exception("listener failed")
