"""What operators do about broadcasts: begin one, look at it, cancel it, resume it.

It knows what may be asked for, and how far each is; who is written to when, it does not know.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4

import msgspec
from msgspec.json import Decoder

from service.errors import Conflict, Invalid, NotFound
from service.feature import Rooms
from service.features.broadcasts import repo
from service.features.broadcasts.repo import Broadcast
from service.features.broadcasts.sending import SENDING
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.kernel.jobs import JobLoop
from service.ops import paging, reading
from service.ops.reading import Asked
from service.ops.writing import door
from service.ops.writing.door import Done, Nothing
from service.telegram.reply import TEXT_MAX, units

PATH = "/admin/broadcasts"
ONE = PATH + "/{broadcast_id}"
SINCE_DAYS_MAX = 36_500
STATES = ("queued", "sending", "sent", "blocked", "failed", "unknown")

_AFTER: Decoder[tuple[datetime, UUID]] = Decoder(tuple[Annotated[datetime, msgspec.Meta(tz=True)], UUID])
NEWEST = (datetime.fromisoformat("9999-12-31T00:00:00+00:00"), UUID(int=2**128 - 1))


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """To whom. A null asks nothing; since_days: who was first seen within so many days."""

    active: bool | None = True
    language: Literal["ru", "en"] | None = None
    paid: bool | None = None
    since_days: Annotated[int, msgspec.Meta(ge=1, le=SINCE_DAYS_MAX)] | None = None


class Button(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Under the message, leads to an address."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    url: Annotated[str, msgspec.Meta(pattern=r"^(https?|tg)://\S+$", max_length=2048)]


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A broadcast as it is asked for. Its text is plain, as people see it."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX)]
    segment: Segment = Segment()
    button: Button | None = None


async def begin(rooms: Rooms, conn: Connection, _asked: Asked, wanted: Wanted) -> Done:
    """POST /admin/broadcasts. Raises Invalid for a text that no message takes."""
    _check(wanted)
    broadcast_id, button = uuid4(), wanted.button
    segment = msgspec.json.encode(wanted.segment).decode()
    await repo.add_broadcast(
        conn,
        broadcast_id=broadcast_id,
        text=wanted.text,
        button_text=button.text if button else None,
        button_url=button.url if button else None,
        segment=segment,
        now=rooms.of(Clock).now(),
    )
    rooms.of(JobLoop).poke(SENDING)
    return Done(await _shown(conn, broadcast_id), f"broadcast:{broadcast_id}", {"segment": wanted.segment})


async def cancel(rooms: Rooms, conn: Connection, asked: Asked, _wanted: Nothing) -> Done:
    """POST /admin/broadcasts/{id}/cancel: nobody else is written to. Raises NotFound, Conflict."""
    broadcast_id = _id(asked)
    if not await repo.cancel_broadcast(conn, broadcast_id=broadcast_id, now=rooms.of(Clock).now()):
        await _refuse(conn, broadcast_id)
    return Done(await _shown(conn, broadcast_id), f"broadcast:{broadcast_id}")


async def resume(rooms: Rooms, conn: Connection, asked: Asked, _wanted: Nothing) -> Done:
    """POST /admin/broadcasts/{id}/resume: on with whoever was not written to yet. Raises NotFound, Conflict."""
    broadcast_id = _id(asked)
    if not await repo.resume_broadcast(conn, broadcast_id=broadcast_id, now=rooms.of(Clock).now()):
        await _refuse(conn, broadcast_id)
    rooms.of(JobLoop).poke(SENDING)
    return Done(await _shown(conn, broadcast_id), f"broadcast:{broadcast_id}")


async def show(rooms: Rooms, asked: Asked) -> object:
    """GET /admin/broadcasts/{id}. Raises NotFound."""
    async with rooms.of(Database).acquire() as conn:
        return await _shown(conn, _id(asked))


async def show_all(rooms: Rooms, asked: Asked) -> object:
    """GET /admin/broadcasts?after=&limit=: the newest first. Raises Invalid."""
    size = paging.limit(asked.query)
    at, last = paging.position(asked.query["after"], _AFTER) if asked.query.get("after") else NEWEST
    async with rooms.of(Database).acquire() as conn:
        rows = await repo.list_broadcasts(conn, before_at=at, before_id=last, page=size + 1)
        described = await _described(conn, rows[:size])
    return {**paging.page(rows, size, lambda row: (row.created_at, row.broadcast_id)), "items": described}


def _check(wanted: Wanted) -> None:
    """Raises Invalid. Telegram counts UTF-16, and PostgreSQL keeps no NUL."""
    if units(wanted.text) > TEXT_MAX or not wanted.text.strip() or "\0" in wanted.text:
        raise Invalid(f"`text` must be of 1 to {TEXT_MAX} characters as Telegram counts them.")
    if wanted.button is not None and not wanted.button.text.isprintable():
        raise Invalid("`button.text` must be one line of text.")


def _id(asked: Asked) -> UUID:
    try:
        return UUID(asked.path["broadcast_id"])
    except ValueError:
        raise NotFound("There is no such broadcast.") from None


async def _refuse(conn: Connection, broadcast_id: UUID) -> None:
    row = await repo.get_broadcast(conn, broadcast_id=broadcast_id)
    raise Conflict(f"The broadcast is {row.status}.") if row else NotFound("There is no such broadcast.")


async def _shown(conn: Connection, broadcast_id: UUID) -> Mapping[str, object]:
    row = await repo.get_broadcast(conn, broadcast_id=broadcast_id)
    if row is None:
        raise NotFound("There is no such broadcast.")
    return (await _described(conn, [row]))[0]


async def _described(conn: Connection, rows: Sequence[Broadcast]) -> list[Mapping[str, object]]:
    """As the outside sees them, with how many recipients stand where."""
    counts: dict[UUID, dict[str, int]] = defaultdict(lambda: dict.fromkeys(STATES, 0))
    for one in await repo.count_recipients(conn, broadcast_ids=[row.broadcast_id for row in rows]):
        counts[one.broadcast_id][one.status] = one.recipients
    return [
        {
            **msgspec.structs.asdict(row),
            "segment": msgspec.Raw(row.segment.encode()),
            "recipients": counts[row.broadcast_id],
        }
        for row in rows
    ]


ROUTES = (
    reading.route(PATH, show_all),
    door.route(PATH, "broadcast", Wanted, begin),
    reading.route(ONE, show),
    door.route(f"{ONE}/cancel", "cancel_broadcast", Nothing, cancel),
    door.route(f"{ONE}/resume", "resume_broadcast", Nothing, resume),
)
