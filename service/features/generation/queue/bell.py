"""Wakes the workers: those of this process at once, those of others through PostgreSQL.

It knows that there is work, or that a job was called off, and nothing of either. What it says may be lost: workers
look by themselves every second.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from service.errors import ServiceError
from service.feature import Rooms
from service.features.generation.queue import table
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database

CHANNEL = "generation_jobs"
# NOTIFY takes a lock that the whole server shares: a busy process says once what it would say a hundred times.
QUIET_S = 0.005
# All hear of a job, and one gets it. Who found nothing last time comes this much later: most find nothing each time.
AFTER_OTHERS_S = (0.002, 0.006)
# After an outage all are late with their beats: others need a look at the database, half a second, and their POLL_S.
SETTLES_IN_S = 5.0


class Bell:
    """Rung after the commit.

    answered_here: workers of this process have their hands free, others need not hear. lets_others_first: they found
    nothing when they looked last.
    """

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database, self._clock = database, clock or Clock()
        self._rung = asyncio.Event()
        self._unsaid: set[str] = set()
        self._saying: asyncio.Task[None] | None = None
        self.answered_here = False
        self.lets_others_first = False
        self.on_call_off: Callable[[UUID], None] = lambda _job_id: None
        self._settled_at: float | None = None
        self._joined_at = -math.inf
        database.listen(CHANNEL, self._hear)
        database.when_up(self._count_outage)

    @staticmethod
    def opened(rooms: Rooms) -> Bell:
        return Bell(rooms.of(Database), rooms.of(Clock))

    @property
    def is_settled(self) -> bool:
        """Whether everybody who is alive could say so since the last outage of the database."""
        return self._settled_at is None or self._clock.monotonic() >= self._settled_at

    def wake(self) -> None:
        """The worker of this process has reason to look."""
        self._rung.set()

    def ring(self) -> None:
        """There is work."""
        self.wake()
        if not self.answered_here:
            self._say("")

    async def ring_with(self, conn: Connection) -> bool:
        """Ring with the commit of this transaction, which is sooner than after it; whether that was done.

        Only where others have to hear it, and nothing was said for a while: else commits would wait for each other.
        """
        now = self._clock.monotonic()
        if self.answered_here or now - self._joined_at < QUIET_S:
            return False
        self._joined_at = now
        await table.ring(conn, payload="")
        return True

    def call_off(self, job_id: UUID) -> None:
        """Whoever is at this job can stop."""
        self.on_call_off(job_id)
        self._say(str(job_id))

    async def heard(self, within_s: float) -> bool:
        """Whether it is rung within so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._rung.wait()
        rung = self._rung.is_set()
        self._rung.clear()
        return rung

    def _count_outage(self) -> None:
        """The first time that the database is there, nobody can have missed it."""
        is_first = self._settled_at is None
        self._settled_at = -math.inf if is_first else self._clock.monotonic() + SETTLES_IN_S

    def _hear(self, payload: str | None) -> None:
        if payload:
            with suppress(ValueError):  # whoever may connect may say anything here
                self.on_call_off(UUID(payload))
        elif self.lets_others_first:
            pause_s = random.uniform(*AFTER_OTHERS_S)  # noqa: S311 - to keep apart, not to keep a secret
            asyncio.get_running_loop().call_later(pause_s, self.wake)
        else:
            self.wake()

    def _say(self, payload: str) -> None:
        self._unsaid.add(payload)
        if self._saying is None or self._saying.done():
            self._saying = asyncio.create_task(self._say_all())

    async def _say_all(self) -> None:
        while self._unsaid:
            said, self._unsaid = self._unsaid, set()
            with suppress(ServiceError):  # they will look by themselves
                async with self._database.acquire() as conn:
                    for payload in said:
                        await table.ring(conn, payload=payload)
            await asyncio.sleep(QUIET_S)
