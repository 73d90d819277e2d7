"""Wakes the workers: those of this process at once, those of others through PostgreSQL.

It knows that there is work, or that a job was called off, and nothing of either. What it says may be lost: workers
look by themselves every second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

from service.errors import ServiceError
from service.feature import Rooms
from service.features.generation.queue import table
from service.kernel.database import Database

CHANNEL = "generation_jobs"
# NOTIFY takes a lock that the whole server shares: a busy process says once what it would say a hundred times.
QUIET_S = 0.02


class Bell:
    """Rung after the commit. `answered_here`: workers of this process have their hands free, others need not hear."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rung = asyncio.Event()
        self._unsaid: set[str] = set()
        self._saying: asyncio.Task[None] | None = None
        self.answered_here = False
        self.on_call_off: Callable[[UUID], None] = lambda _job_id: None
        database.listen(CHANNEL, self._hear)

    @staticmethod
    def opened(rooms: Rooms) -> Bell:
        return Bell(rooms.of(Database))

    def wake(self) -> None:
        """The worker of this process has reason to look."""
        self._rung.set()

    def ring(self) -> None:
        """There is work."""
        self.wake()
        if not self.answered_here:
            self._say("")

    def call_off(self, job_id: UUID) -> None:
        """Whoever is at this job can stop."""
        self.on_call_off(job_id)
        self._say(str(job_id))

    async def heard(self, within_s: float) -> None:
        """Until it is rung, or so many seconds have passed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._rung.wait()
        self._rung.clear()

    def _hear(self, payload: str | None) -> None:
        if payload:
            self.on_call_off(UUID(payload))
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
