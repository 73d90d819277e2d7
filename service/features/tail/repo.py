"""The table tail_events, as functions. Takes a connection, never opens or commits anything.

It knows ids, which grow in the order of commits; it knows nothing of what is told. SQL is in sql/tail.sql.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from service.features.tail.event import TailEvent
from service.kernel import queries
from service.kernel.database import Connection


class Happened(msgspec.Struct, frozen=True):
    """A row that was read; `told` is JSON."""

    id: int
    name: str
    instance: str
    user_id: int | None
    model_id: str | None
    told: str
    happened_at: datetime


SQL = queries.room("tail")
_write_events = SQL.exec("write_events")

ring = SQL.value("ring", bool)
last_id = SQL.value("last_id", int)
id_before = SQL.value("id_before", int)
list_after = SQL.many("list_after", Happened)
list_last = SQL.many("list_last", Happened)
prune_events = SQL.exec("prune_events")


async def write_events(conn: Connection, instance: str, events: Sequence[TailEvent]) -> int:
    """One statement for any number of them; how many were written."""
    return await _write_events(
        conn,
        keys=[event.key for event in events],
        names=[event.name for event in events],
        instance=instance,
        users=[event.user_id for event in events],
        models=[event.model_id for event in events],
        told=[event.told for event in events],
        at=[event.happened_at for event in events],
    )
