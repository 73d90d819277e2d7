"""The worker of a process: claims work, carries it out, and lets go of what it does not hold any more.

It knows leases, hands and beats; what becomes of a claim is its course's to know. Killed at any line it leaves claims
that others take over; stopped for longer than its beat may be late, it changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar, cast
from uuid import UUID, uuid4

import msgspec

from service.catalog import Catalog
from service.config import Config
from service.errors import TransactionConflict, Unavailable
from service.feature import Rooms
from service.features.generation.attempt import Failed, Step, happened, is_heard
from service.features.generation.billing import Billing
from service.features.generation.in_process import InProcess
from service.features.generation.progress import Shown
from service.features.generation.providers.provider import Pending
from service.features.generation.queue import course, table
from service.features.generation.queue.bell import Bell
from service.features.generation.queue.door import Queue, Wish
from service.features.generation.queue.tending import RESCUE
from service.features.generation.work import Claim
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.kernel.jobs import JobLoop
from service.kernel.log import Log

# Jobs under way at once in a process: nearly all of them wait for somebody else. A statement takes or ends as many.
HANDS = 100
# The safety net under the bell.
POLL_S = 1.0
# Where work comes one after the other, the connection is kept for the next.
LINGER_S = 0.1
# Now and then the queue is looked at from its very beginning: a place is given before its order is committed.
SWEEP_S = 5.0
MARGIN = timedelta(seconds=1)
# Older than any place in any queue.
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
# A beat may be lost, and the next one still comes in time.
BEATS_PER_TTL = 4
STOP_GRACE_S = 3.0
FIRST_PAUSE_S = 0.1  # after the database refused, doubled each time

T = TypeVar("T")
Task = asyncio.Task[None]

log = Log("generation")


@asynccontextmanager
async def at_work(rooms: Callable[[], Rooms]) -> AsyncIterator[None]:
    """A worker for as long as the process lives."""
    worker = Worker(rooms)
    worker.start()
    yield
    await worker.stop()
    await rooms().of(InProcess).stop()


class Worker:
    """`rooms` are asked for anew at each step: what is mounted may change at any time."""

    def __init__(self, rooms: Callable[[], Rooms], *, hands: int = HANDS) -> None:
        self.instance_id = uuid4()
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._rooms = rooms
        self._hands = hands
        self._beat_every_s = rooms().of(Config).job_heartbeat_ttl / BEATS_PER_TTL
        self._beaten_at = -self._beat_every_s
        self._swept_at = -SWEEP_S
        self._since = LONG_AGO
        self._tasks: dict[Task, table.Lease] = {}
        self._held: dict[table.Lease, Task] = {}  # those that can be called off: they are not at their end yet
        self._stuck: set[Task] = set()  # those that wait for the database, or for money, and keep no hand busy
        self._more = False  # whether there is reason to look at the queue again
        self._limited = False  # whether a model bears only so many at once
        self._bell = rooms().of(Bell)
        self._bell.on_call_off = self._call_off
        self._loops: list[Task] = []
        self._loop = asyncio.get_running_loop()  # asked for once: each question is a call of the system

    def start(self) -> None:
        self._loops = [asyncio.create_task(self._keep_claiming()), asyncio.create_task(self._keep_beating())]

    async def stop(self) -> None:
        """Claim nothing more, let what is under way end for a moment, and leave the rest to others."""
        await _cancelled(self._loops)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_GRACE_S)
        await _cancelled(self._tasks)
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                left = await self._rooms().of(Queue).leave(self._rooms(), self.instance_id)
            if left:
                log.info("work left to others", jobs=left)

    @property
    def _free(self) -> int:
        """Jobs at their end keep no hand busy either, as many as there are hands: the next are claimed meanwhile."""
        working = sum(task not in self._stuck for task in self._held.values())
        under_way = len(self._tasks) - len(self._stuck)
        return max(min(self._hands - working, 2 * self._hands - under_way), 0)

    async def _keep_claiming(self) -> None:
        while True:
            if self._free:
                await self._claim_surely()
            self._bell.answered_here = self._free > 0
            if not (self._more and self._free):
                await self._bell.heard(POLL_S)

    async def _claim_surely(self) -> None:
        """As far as it can be now: the next look comes by itself.

        It beats first where the last beat is late: a claim of somebody who seems dead would be taken away.
        """
        sweep = self._is_sweep_due
        try:
            if sweep or self._now() - self._beaten_at >= self._beat_every_s:
                await self._find_strays()
            async with self._rooms().of(Database).acquire() as conn:
                await self._claim_while_there_is(conn, sweep)
        except Unavailable:
            self._more = False
        except Exception:  # a worker that ended would look like one that is alive
            self._more = False
            log.exception("claiming failed")

    async def _claim_while_there_is(self, conn: Connection, sweep: bool) -> None:
        """On one connection, half of the hands at a time: a claim is on its way before the last one's work begins."""
        lively = True
        while lively and self._free and (sweep or not self._is_sweep_due):
            wanted = min(self._free, max(self._hands // 2, 1))
            claims = await self._claim(conn, wanted, sweep)
            for claim in claims:
                self._begin(claim)
            sweep = False
            self._bell.answered_here, self._bell.lets_others_first = self._free > 0, not claims
            self._more = len(claims) == wanted
            lively = self._more or (bool(claims) and await self._bell.heard(LINGER_S))
        self._more = lively

    @property
    def _is_sweep_due(self) -> bool:
        return self._now() - self._swept_at >= SWEEP_S

    async def _claim(self, conn: Connection, batch: int, sweep: bool) -> list[Claim]:
        rooms, now = self._rooms(), self._now()
        since = LONG_AGO if sweep else self._since
        self._limited = any(model.at_once for model in rooms.of(Catalog).models)
        wish = Wish(self.instance_id, batch, rooms.of(Billing).most_rub, since, sweep or self._limited)
        claims = await rooms.of(Queue).claim(rooms, conn, wish)
        if sweep:
            self._swept_at = now
        if fresh := [claim.place for claim in claims if claim.attempts == 1]:
            self._since = min(*fresh, rooms.of(Clock).now()) - MARGIN
        return claims

    async def _find_strays(self) -> None:
        """Beat, and disown what we hold without knowing it. Between two claims: no answer is on its way."""
        known, rooms = set(self._tasks.values()), self._rooms()
        if strays := await self._beat() - known:
            await rooms.of(Queue).disown(rooms, self.instance_id, strays)
            rooms.of(JobLoop).poke(RESCUE.name)

    def _begin(self, claim: Claim) -> None:
        lease = table.Lease(claim.job_id, claim.lease)
        task = self._loop.create_task(self._carry_out(claim, lease))
        self._tasks[task] = lease
        self._held[lease] = task
        task.add_done_callback(self._let_go)

    def _let_go(self, task: Task) -> None:
        self._tasks.pop(task, None)
        self._stuck.discard(task)
        self._look_again()

    def _look_again(self) -> None:
        """With a hand free there is reason to, where the queue is longer, or a limited model has room again."""
        if self._more or self._limited:
            self._bell.wake()

    async def _carry_out(self, claim: Claim, lease: table.Lease) -> None:
        """From the claim to its end, through any outage of the database, for as long as the claim is ours."""
        if claim.reference is None and is_heard(self._rooms()):
            happened(
                self._rooms(),
                claim,
                claim.model_id,
                "started",
                is_free=not claim.price_rub,
                price_rub=0,
                waited_s=max((claim.started_at - claim.place).total_seconds(), 0.0) if claim.attempts == 1 else None,
            )
        try:
            async with Shown(self._rooms(), claim) as shown:
                step = await self._through_outages(lambda: course.try_once(self._rooms(), claim))
                if isinstance(step, Pending):
                    shown.percent = step.percent
            if shown.message_id != claim.progress_message_id:
                claim = msgspec.structs.replace(claim, progress_message_id=shown.message_id)
            self._held.pop(lease)
            self._look_again()
            await self._conclude(claim, step)
        except Exception:  # it is nobody's now, and is found and rescued as such
            log.exception("work broke", job_id=str(claim.job_id))
        finally:
            self._held.pop(lease, None)

    async def _conclude(self, claim: Claim, step: Step) -> None:
        try:
            await self._through_outages(lambda: course.conclude(self._rooms(), claim, step))
        except Exception as error:  # what the table does not take, or a mistake: another try would end the same way
            log.exception("work not kept", job_id=str(claim.job_id))
            broken = Failed("broken", type(error).__name__)
            await self._through_outages(lambda: course.conclude(self._rooms(), claim, broken))

    async def _through_outages(self, do: Callable[[], Awaitable[T]]) -> T:
        """Do it as soon as the database lets us; whether it is still ours to do, the lease says."""
        try:
            return await do()
        except (Unavailable, TransactionConflict):
            return await self._when_it_lets_us(do)

    async def _when_it_lets_us(self, do: Callable[[], Awaitable[T]]) -> T:
        task, pause_s = cast("Task", asyncio.current_task()), FIRST_PAUSE_S
        self._stuck.add(task)
        while True:
            await asyncio.sleep(pause_s)
            try:
                done = await do()
            except (Unavailable, TransactionConflict):
                pause_s = min(pause_s * 2, POLL_S)
            else:
                self._stuck.discard(task)
                return done

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._beat_every_s)
            try:
                await self._beat()
            except Unavailable:
                continue
            except Exception:  # a worker that does not beat is taken for dead
                log.exception("beat failed")

    async def _beat(self) -> set[table.Lease]:
        """Say that we are alive, and let go of what was taken from us meanwhile; what is ours."""
        before = list(self._held)
        held = await self._rooms().of(Queue).attend(self._rooms(), self.instance_id, self._name)
        self._beaten_at = self._now()
        for lease in before:
            if lease not in held and (task := self._held.get(lease)):
                task.cancel()
        return held

    def _call_off(self, job_id: UUID) -> None:
        for lease, task in self._held.items():
            if lease.job_id == job_id:
                task.cancel()

    def _now(self) -> float:
        return self._rooms().of(Clock).monotonic()


async def _cancelled(tasks: Collection[Task]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
