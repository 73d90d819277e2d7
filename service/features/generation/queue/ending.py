"""How a claim ends: charged for or given back in the same transaction, told to whoever watches, and delivered.

It knows leases, billing and deliveries; it knows no provider and no loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from service.config import Config
from service.errors import Unavailable, Upstream
from service.feature import Rooms
from service.features.generation import delivery
from service.features.generation.attempt import happened, is_heard
from service.features.generation.billing import Billing, Lost
from service.features.generation.queue import table
from service.features.generation.work import Claim, Ended, Result
from service.kernel import metrics
from service.kernel.clock import Clock
from service.kernel.coalesce import Coalesced
from service.kernel.database import Database
from service.kernel.log import Log

# Recovery tells the person where nobody did by then: a delivery with all its repeats takes 30 s at most.
DELIVERED_WITHIN = timedelta(minutes=1)
MARK_AGAIN_S = 0.5

log = Log("generation")


class Endings:
    """Ends claims; those of free work that end at the same moment share a statement, as do deliveries."""

    def __init__(self, rooms: Rooms) -> None:
        self._database, self._clock = rooms.of(Database), rooms.of(Clock)
        deadline_s = rooms.of(Config).door_timeout
        self._finish: Coalesced[Ended, bool] = Coalesced(self._finish_many, deadline_s=deadline_s)

    @staticmethod
    def opened(rooms: Rooms) -> Endings:
        return Endings(rooms)

    async def end(self, rooms: Rooms, claim: Claim, ended: Ended) -> Ended | None:
        """How it ended, which whoever watches is told; None where it was not ours to end. Raises Unavailable."""
        try:
            finished = await self._finish_one(rooms, claim, ended)
        except Lost:
            ended = Ended(claim.job_id, claim.lease, "failed", None, "reservation_lost", None, ended.due_at)
            finished = bool(await self._finish(ended))
        if not finished:
            metrics.STALE_FINISHES.inc()
            log.info("a claim was not ours to end any more", job_id=str(claim.job_id), lease=claim.lease)
            return None
        self._tell(rooms, claim, ended)
        return ended

    async def deliver(self, rooms: Rooms, claim: Claim, ended: Ended) -> None:
        """Tell the person; where that does not work now, recovery does it. Raises Unavailable."""
        if ended.due_at is None:
            return
        try:
            kept = await delivery.deliver(rooms, _result(claim, ended))
        except Upstream as error:
            log.info("result not delivered yet", job_id=str(claim.job_id), reason=error.message)
            return
        await self._mark(claim.job_id, kept, ended.due_at)

    async def _mark(self, job_id: UUID, kept: Mapping[str, object] | None, until: datetime) -> None:
        """Through an outage, as long as recovery does not tell the person once more. Raises Unavailable."""
        while True:
            try:
                async with self._database.acquire() as conn:
                    await table.mark_delivered(conn, {job_id: kept}, self._clock.now())
                return
            except Unavailable:
                if self._clock.now() >= until:
                    raise
                await asyncio.sleep(MARK_AGAIN_S)

    async def _finish_one(self, rooms: Rooms, claim: Claim, ended: Ended) -> bool:
        if not claim.price_rub:
            return bool(await self._finish(ended))
        async with self._database.transaction() as conn:
            if not await table.finish(conn, [ended], self._clock.now()):
                return False
            await rooms.of(Billing).settle(rooms, conn, ended, claim)
        return True

    async def _finish_many(self, ended: Sequence[Ended]) -> Mapping[Ended, bool]:
        async with self._database.acquire() as conn:
            finished = await table.finish(conn, ended, self._clock.now())
        last = {one.job_id: one.lease for one in sorted(ended, key=lambda one: one.lease)}
        return {one: one.job_id in finished and one.lease == last[one.job_id] for one in ended}

    def _tell(self, rooms: Rooms, claim: Claim, ended: Ended) -> None:
        if not is_heard(rooms):
            return
        spent = self._clock.now() - claim.started_at
        happened(
            rooms,
            claim,
            claim.model_id,
            ended.status,
            is_free=not claim.price_rub,
            price_rub=claim.price_rub if ended.status == "success" else 0,
            task_id=claim.reference,
            error_code=ended.error_code,
            error_message=ended.error_message,
            duration_ms=max(round(spent.total_seconds() * 1000), 0),
        )


def _result(claim: Claim, ended: Ended) -> Result:
    return Result(
        job_id=claim.job_id,
        user_id=claim.user_id,
        chat_id=claim.chat_id,
        language=claim.language,
        model_id=claim.model_id,
        price_rub=claim.price_rub,
        status=ended.status,
        output=ended.output,
        error_code=ended.error_code,
        progress_message_id=claim.progress_message_id,
    )
