"""GET /admin/tail: what happens, as it happens, or a page of it.

It knows filters, cursors and how an event is written for the outside; it writes nothing into the table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from service.errors import FeatureOff, Invalid
from service.feature import Rooms
from service.features.tail.following import Wanted, follow, read, read_last
from service.features.tail.repo import Happened
from service.features.tail.tail import Tail, TailInTable
from service.kernel.database import Database
from service.ops import paging, streaming
from service.ops.reading import ID_MAX, Asked, number
from service.ops.streaming import Sent


def shown(event: Happened) -> dict[str, object]:
    """As the outside sees it."""
    return {
        "cursor": str(event.id),
        "at": event.happened_at,
        "name": event.name,
        "user_id": event.user_id,
        "model_id": event.model_id,
        "told": msgspec.Raw(event.told.encode()),
        "instance": event.instance,
    }


async def list_events(rooms: Rooms, asked: Asked) -> object:
    """The last of them, or what follows `after`. `next` is always where to go on. Raises Invalid."""
    wanted, after, size = _wanted(asked), _cursor(asked.query.get("after")), paging.limit(asked.query)
    database = rooms.of(Database)
    page = await (read_last(database, wanted, size) if after is None else read(database, wanted, after, size))
    return {"items": [shown(event) for event in page.events], "next": str(page.cursor)}


async def open_stream(rooms: Rooms, asked: Asked, last_seen: str | None) -> AsyncIterator[Sequence[Sent]]:
    """From now on, or from where the listener was. Raises Invalid, Unavailable."""
    wanted, after = _wanted(asked), _cursor(last_seen or asked.query.get("after"))
    tail, database = rooms.of(Tail), rooms.of(Database)
    if not isinstance(tail, TailInTable):  # it went off since the request was let in
        raise FeatureOff
    if after is None:
        after = (await read_last(database, wanted, 1)).cursor
    pages = follow(database, tail.bell, wanted, after)
    return ([Sent(str(event.id), shown(event)) for event in page.events] async for page in pages)


def _wanted(asked: Asked) -> Wanted:
    """Raises Invalid."""
    names = tuple(filter(None, asked.query.get("name", "").split(",")))
    user_id = number(asked.query["user_id"], ID_MAX) if "user_id" in asked.query else None
    if "user_id" in asked.query and user_id is None:
        raise Invalid("`user_id` must be a number.")
    return Wanted(names or None, user_id, asked.query.get("model") or None)


def _cursor(text: str | None) -> int | None:
    """Raises Invalid."""
    found = None if text is None else number(text, ID_MAX, least=0)
    if text is not None and found is None:
        raise Invalid("`after` is not a cursor of the tail.")
    return found


ROUTE = streaming.route("/admin/tail", open_stream, list_events)
