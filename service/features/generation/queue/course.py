"""The course of one claim: a try, and what follows from it: its end, another look later, or another try.

It knows deadlines and how often to try; it knows no loop, and nothing of how an end is booked. Every step is written
under the claim's lease, so whatever is done here by somebody who lost it has no effect.
"""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import datetime, timedelta

from service.catalog import Catalog
from service.errors import Unavailable
from service.feature import Rooms
from service.features.generation.attempt import Failed, Step, attempt, give_up
from service.features.generation.billing import Billing
from service.features.generation.providers.provider import Output, Pending
from service.features.generation.queue import table
from service.features.generation.queue.ending import DELIVERED_WITHIN, Endings
from service.features.generation.work import Claim, Ended
from service.kernel.clock import Clock
from service.kernel.database import Database

# How often a job is begun, whatever ended the try: a crash, an outage at the provider, its own impatience.
MOST_ATTEMPTS = 3
RETRY_AFTER_S = 5.0  # doubled with each attempt, and half to one and a half times that
RETRY_MAX_S = 300.0


async def try_once(rooms: Rooms, claim: Claim) -> Step:
    """Ask the provider. Raises Unavailable before that, where it is paid work and cannot be looked up."""
    if claim.price_rub and claim.reference is None and not await rooms.of(Billing).is_held(rooms, claim):
        return Failed("reservation_lost", "What was put aside for it is not there any more.")
    model = rooms.of(Catalog).model(claim.model_id)
    return await attempt(rooms, claim, model, claim.reference, until=claim.deadline_at)


async def conclude(rooms: Rooms, claim: Claim, step: Step) -> None:
    """Write down what follows. Raises Unavailable; then it can be called again."""
    now = rooms.of(Clock).now()
    if isinstance(step, Pending) and now < claim.deadline_at:
        check_at = now + timedelta(seconds=step.check_after_s)
        await _put_off(rooms, claim, step.reference, min(check_at, claim.deadline_at))
    elif isinstance(step, Failed) and not step.permanent and _may_try_again(claim):
        again_at = now + _pause(claim, step)
        # What is under way has a deadline, at which somebody must look; another try gets a deadline of its own.
        await _put_off(rooms, claim, claim.reference, min(again_at, claim.deadline_at) if claim.reference else again_at)
    else:
        await _end(rooms, claim, step, _ended(claim, step, now))


async def _put_off(rooms: Rooms, claim: Claim, reference: str | None, due_at: datetime) -> None:
    async with rooms.of(Database).acquire() as conn:
        await table.put_off(
            conn,
            job_id=claim.job_id,
            lease=claim.lease,
            reference=reference,
            progress_message_id=claim.progress_message_id,
            due_at=due_at,
            now=rooms.of(Clock).now(),
        )


async def _end(rooms: Rooms, claim: Claim, step: Step, wanted: Ended) -> None:
    endings = rooms.of(Endings)
    ended = await endings.end(rooms, claim, wanted)
    if ended is None:
        return
    reference = step.reference if isinstance(step, Pending) else claim.reference
    if reference is not None and ended.status != "success":
        await give_up(rooms, claim, rooms.of(Catalog).model(claim.model_id), reference)
    with suppress(Unavailable):  # recovery marks it, after telling once more
        await endings.deliver(rooms, claim, ended)


def _may_try_again(claim: Claim) -> bool:
    """What is under way at the provider's is asked about until its deadline."""
    return claim.reference is not None or claim.attempts < MOST_ATTEMPTS


def _pause(claim: Claim, failed: Failed) -> timedelta:
    own = RETRY_AFTER_S * 2 ** (claim.attempts - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - to spread, not to hide
    return timedelta(seconds=min(max(own, failed.retry_after or 0), RETRY_MAX_S))


def _ended(claim: Claim, step: Step, now: datetime) -> Ended:
    """Nothing at all is delivered to nobody; everything else is told by recovery where it is not told before."""
    if isinstance(step, Pending):
        step = Failed("timeout", "The provider did not finish in time.")
    told_by = None if step == Output() else now + DELIVERED_WITHIN
    if isinstance(step, Failed):
        return Ended(claim.job_id, claim.lease, step.status, None, step.code, step.message, told_by)
    return Ended(claim.job_id, claim.lease, "success", step, due_at=told_by)
