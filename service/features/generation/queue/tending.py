"""What keeps the queue in order: jobs of the dead are taken up, money stays put aside, and the old is forgotten.

It knows beats, deadlines and leases; it runs no work. Several instances at once are harmless.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from service.config import Config
from service.feature import Rooms
from service.features.generation import delivery
from service.features.generation.attempt import happened
from service.features.generation.billing import Billing
from service.features.generation.queue import table
from service.features.generation.queue.bell import Bell
from service.features.generation.queue.course import MOST_ATTEMPTS
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job, JobLoop
from service.payments import wallet

RESCUE_EVERY_S = 10.0
PROLONG_EVERY_S = 20.0  # RESERVATION_TTL is an hour unless somebody shortens it
PRUNE_EVERY_S = 3_600.0
# A worker ends what is overdue by itself; who has not by then hangs.
OVERDUE_GRACE = timedelta(seconds=30)
BATCH = 200
# Whoever wants to keep a result has a project for it.
KEPT_FOR = timedelta(days=30)
INSTANCE_KEPT_FOR = timedelta(days=1)
FIRST = UUID(int=0)


async def rescue(rooms: Rooms) -> Counts:
    """Jobs whose worker is dead or hangs: due again, or at their end. Each is rescued once."""
    counts = {"rescued": 0, "lost": 0}
    if not rooms.of(Bell).is_settled:
        return counts
    while batch := await _rescue_batch(rooms):
        failed = [one for one in batch if one.status == "failed"]
        counts["lost"] += len(failed)
        counts["rescued"] += len(batch) - len(failed)
        for one in failed:
            happened(
                rooms, one, one.model_id, "failed", is_free=not one.price_rub, price_rub=0, error_code="worker_lost"
            )
    if counts["rescued"]:
        rooms.of(Bell).ring()
    if counts["lost"]:
        rooms.of(JobLoop).poke(delivery.JOB.name)
    return counts


async def _rescue_batch(rooms: Rooms) -> list[table.Rescued]:
    now, billing = rooms.of(Clock).now(), rooms.of(Billing)
    async with rooms.of(Database).transaction() as conn:
        rescued = await table.rescue(
            conn,
            now=now,
            beat_since=now - timedelta(seconds=rooms.of(Config).job_heartbeat_ttl),
            overdue_since=now - OVERDUE_GRACE,
            most_attempts=MOST_ATTEMPTS,
            most_rub=billing.most_rub,
            batch=BATCH,
        )
        for one in sorted(rescued, key=lambda one: one.user_id):  # in one order, lest two wait for each other
            if one.status == "failed" and one.price_rub:
                await billing.release(rooms, conn, one.job_id)
    return rescued


async def prolong(rooms: Rooms) -> Counts:
    """What is put aside for open jobs stays so."""
    after, prolonged = FIRST, 0
    while True:
        async with rooms.of(Database).transaction() as conn:
            paid = await table.list_paid(conn, after=after, batch=BATCH)
            await wallet.prolong(rooms, conn, paid)
        prolonged += len(paid)
        if len(paid) < BATCH:
            return {"prolonged": prolonged}
        after = paid[-1]


async def prune(rooms: Rooms) -> Counts:
    """Forget what ended long ago, and who has not been heard of for long."""
    now, pruned = rooms.of(Clock).now(), 0
    while True:
        async with rooms.of(Database).acquire() as conn:
            batch = await table.prune_jobs(conn, before=now - KEPT_FOR, batch=BATCH)
        pruned += batch
        if batch < BATCH:
            break
    async with rooms.of(Database).acquire() as conn:
        await table.prune_instances(conn, before=now - INSTANCE_KEPT_FOR)
    return {"pruned": pruned}


RESCUE = Job("rescue_jobs", RESCUE_EVERY_S, rescue, recovers=True)
PROLONG = Job("prolong_reservations", PROLONG_EVERY_S, prolong)
PRUNE = Job("prune_jobs", PRUNE_EVERY_S, prune)
