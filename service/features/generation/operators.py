"""GET /admin/jobs: the work under way, as operators read it over HTTP.

It knows pages of the queue; it changes nothing, and shows nothing of what people asked for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec.json import Decoder

from service.feature import Rooms
from service.features.generation.queue.table import SQL
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.ops import paging, reading
from service.ops.reading import Asked

BY_TIME: Decoder[tuple[datetime, UUID]] = Decoder(tuple[Annotated[datetime, msgspec.Meta(tz=True)], UUID])
NEWEST = (datetime.max.replace(tzinfo=UTC), UUID(int=0))


class Open(msgspec.Struct, frozen=True):
    """A job under way. age_s: seconds since it was ordered."""

    job_id: UUID
    user_id: int
    model_id: str
    status: str
    price_rub: Decimal
    attempts: int
    created_at: datetime
    started_at: datetime | None
    due_at: datetime | None
    age_s: int


_list_open = SQL.many("list_open", Open)


async def list_jobs(rooms: Rooms, asked: Asked) -> object:
    """One page, newest first. Raises Invalid."""
    size, after = paging.limit(asked.query), asked.query.get("after")
    before_at, before_id = paging.position(after, BY_TIME) if after else NEWEST
    async with rooms.of(Database).acquire() as conn:
        jobs = await _list_open(
            conn, before_at=before_at, before_id=before_id, now=rooms.of(Clock).now(), page=size + 1
        )
    return paging.page(jobs, size, lambda job: (job.created_at, job.job_id))


ROUTE = reading.route("/admin/jobs", list_jobs)
