"""The log of what operators did: written on the transaction that does it, read at GET /admin/log, changed by nobody.

It knows who, what, to what and when; it knows no operation. It names no person, so that a log that only grows has
nothing of anybody's to give up: what is named (an adjustment's key, a payment) leads to him as long as he is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from service.errors import Unavailable
from service.feature import Feature, Need, Rooms
from service.kernel import queries
from service.kernel.database import Connection, Database
from service.kernel.log import Log
from service.ops import paging, reading
from service.ops.reading import Asked
from service.text import Text

NEWEST = (datetime.fromisoformat("9999-12-31T00:00:00+00:00"), 2**63 - 1)

log = Log("admin")


class Entry(msgspec.Struct, frozen=True):
    """Somebody did something: `what` as a word, `subject` as `kind:id`, `details` as JSON."""

    id: int
    at: datetime
    who: str
    what: str
    subject: str
    details: msgspec.Raw


class _Row(msgspec.Struct, frozen=True):
    """A row of admin_log; what PostgreSQL calls jsonb comes as text."""

    id: int
    at: datetime
    who: str
    what: str
    subject: str
    details: str

    @property
    def entry(self) -> Entry:
        return Entry(self.id, self.at, self.who, self.what, self.subject, msgspec.Raw(self.details.encode()))


class Deed(msgspec.Struct, frozen=True):
    """What an operator does, for the log."""

    who: str
    what: str
    subject: str
    details: Mapping[str, object] = {}


SQL = queries.room("admin_log")
_note = SQL.exec("note_deed")
_list = SQL.many("list_deeds", _Row)


async def note(conn: Connection, deed: Deed, at: datetime) -> None:
    """On the caller's transaction: what was not done is not in the log, and what is not in the log was not done."""
    details = msgspec.json.encode(deed.details).decode()
    await _note(conn, at=at, who=deed.who, what=deed.what, subject=deed.subject, details=details)


async def note_afterwards(database: Database, deed: Deed, at: datetime) -> None:
    """Of what is no write of ours, and what must go on while there is no log. Then the process's own log has it."""
    try:
        async with database.acquire() as conn:
            await note(conn, deed, at)
    except Unavailable as error:
        log.warning("deed not noted", what=deed.what, subject=deed.subject, reason=error.code)


async def show_log(rooms: Rooms, asked: Asked) -> object:
    """GET /admin/log?after=&limit=: the newest first. Raises Invalid."""
    size = paging.limit(asked.query)
    at, last = paging.position(asked.query["after"], paging.BY_TIME) if asked.query.get("after") else NEWEST
    async with rooms.of(Database).acquire() as conn:
        rows = await _list(conn, before_at=at, before_id=last, page=size + 1)
    page = paging.page(rows, size, lambda row: (row.at, row.id))
    return {**page, "items": [row.entry for row in rows[:size]]}


# Whoever changes something needs to be able to say so.
NEEDS = {"admin_log": Need(frozenset({"id", "at", "who", "what", "subject", "details"}), frozenset({"INSERT"}))}
FEATURE = Feature(
    name="admin_log",
    title=Text(en="What operators did", ru="Действия операторов"),
    needs={"admin_log": Need(NEEDS["admin_log"].columns, frozenset({"SELECT", "INSERT"}))},
    routes=(reading.route("/admin/log", show_log),),
)
