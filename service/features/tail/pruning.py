"""Forgets what happened yesterday, in small batches. It knows for how long it is kept and nothing of what is in it."""

from __future__ import annotations

from datetime import timedelta

from service.feature import Rooms
from service.features.tail import repo
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job

# A tail, not an archive: who comes in the morning sees the night.
KEPT_FOR = timedelta(hours=24)
PRUNE_EVERY_S = 300.0
# Rows of one transaction: some 20 ms, so that nobody waits for it.
PRUNE_BATCH = 5_000


async def prune_events(rooms: Rooms) -> Counts:
    before, pruned = rooms.of(Clock).now() - KEPT_FOR, 0
    while True:
        async with rooms.of(Database).acquire() as conn:
            batch = await repo.prune_events(conn, before=before, batch=PRUNE_BATCH)
        pruned += batch
        if batch < PRUNE_BATCH:
            return {"pruned": pruned}


JOB = Job("prune_tail_events", PRUNE_EVERY_S, prune_events)
