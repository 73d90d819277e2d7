"""Links people to whoever brought them. It knows how people started, and nothing of what they pay.

Pulled from the rows of users, so that neither a crash nor days without the table lose anybody: people are gone through
in the order in which they came, from a little before the last one who has a referrer.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from service.feature import Rooms
from service.features.referrals import repo
from service.features.referrals.rewarding import LATELY, THOROUGH
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job, JobLoop

EVERY_S = 60.0
BATCH = 500  # people in one statement, some milliseconds each
# Starts are committed in another order than they are dated: apart by no more than a door waits, and clocks differ.
OVERLAP = timedelta(hours=1)

Place = tuple[datetime, int]


async def link_referrals(rooms: Rooms) -> Counts:
    """Link whoever came since the last who was linked. A referrer who was not here yet then is none."""
    linked = 0
    place: Place | None = await _beginning(rooms)
    while place is not None:
        place, more = await _link(rooms, place)
        linked += more
    return {"linked": linked}


async def _beginning(rooms: Rooms) -> Place:
    async with rooms.of(Database).acquire() as conn:
        last = await repo.get_last_came(conn, now=rooms.of(Clock).now())
    return last - OVERLAP, 0


async def _link(rooms: Rooms, place: Place) -> tuple[Place | None, int]:
    """The place after this batch, None behind the last, and how many were linked."""
    async with rooms.of(Database).acquire() as conn:
        batch = await repo.link(conn, after_at=place[0], after_id=place[1], batch=BATCH)
    assert batch is not None, "the query always answers"
    if batch.first_at is not None and batch.first_at < rooms.of(Clock).now() - LATELY:
        rooms.of(JobLoop).poke(THOROUGH)  # they may have paid long ago
    if batch.last_at is None or batch.last_id is None:
        return None, 0
    return (batch.last_at, batch.last_id), batch.linked


JOB = Job("link_referrals", EVERY_S, link_referrals, recovers=True)
