"""Wakes whoever watches. It knows a channel of PostgreSQL, and nothing of what is read then.

What it says may be lost: whoever waits looks by himself every second.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from service.kernel.database import Database

CHANNEL = "tail_events"


class Bell:
    """Before the database is started: from then on it hears."""

    def __init__(self, database: Database) -> None:
        self._next = asyncio.Event()
        database.listen(CHANNEL, self._hear)

    def next(self) -> asyncio.Event:
        """Set when it rings next. To be asked for before looking: what comes meanwhile is not missed."""
        return self._next

    def _hear(self, _payload: str | None) -> None:
        rung, self._next = self._next, asyncio.Event()
        rung.set()


async def heard(ring: asyncio.Event, within_s: float) -> None:
    """Until it rings, or so many seconds have passed."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await ring.wait()
