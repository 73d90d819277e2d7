"""Reads the tail, and goes on reading. It knows cursors, filters and outages; it knows nothing of who reads.

A cursor is the id up to which everything was looked at, whether it was wanted or not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from service.errors import Unavailable
from service.features.tail import repo
from service.features.tail.bell import Bell, heard
from service.features.tail.repo import Happened
from service.kernel.database import Database

# The net under the bell.
POLL_S = 1.0
# Rows that a reader holds at a time, however slowly he reads.
AT_A_TIME = 100


class Wanted(msgspec.Struct, frozen=True):
    """What is shown; None: whatever it is."""

    names: tuple[str, ...] | None = None
    user_id: int | None = None
    model_id: str | None = None

    def parameters(self) -> dict[str, object]:
        names = list(self.names) if self.names else None
        return {"names": names, "user_id": self.user_id, "model_id": self.model_id}


class Page(msgspec.Struct, frozen=True):
    """What came, in its order, where to go on, and whether there is more already."""

    events: Sequence[Happened]
    cursor: int
    has_more: bool = False


async def read(database: Database, wanted: Wanted, after: int, page: int) -> Page:
    """What follows the cursor. Raises Unavailable."""
    async with database.acquire() as conn:
        until = await repo.last_id(conn)
        events = await repo.list_after(conn, after=after, until=until, page=page, **wanted.parameters())
    if len(events) == page:
        return Page(events, events[-1].id, has_more=True)
    return Page(events, max(after, until))  # an empty table has forgotten how far it went


async def read_last(database: Database, wanted: Wanted, page: int) -> Page:
    """The last of them. Raises Unavailable."""
    async with database.acquire() as conn:
        until = await repo.last_id(conn)
        events = await repo.list_last(conn, until=until, page=page, **wanted.parameters())
    return Page(events[::-1], until)


async def follow(
    database: Database, bell: Bell, wanted: Wanted, after: int, *, on_away: Callable[[], None] = lambda: None
) -> AsyncIterator[Page]:
    """Page after page, an empty one each second where nothing comes; without an end, and through outages."""
    while True:
        ring = bell.next()
        try:
            found = await read(database, wanted, after, AT_A_TIME)
        except Unavailable:
            on_away()
            found = Page((), after)
        after = found.cursor
        yield found
        if not found.has_more:
            await heard(ring, POLL_S)
