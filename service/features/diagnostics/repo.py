"""The table generation_events, as functions. Takes a connection, never opens or commits anything.

It knows windows of time and what is counted in them; it knows no Telegram. SQL is in sql/diagnostics.sql.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from service.errors import Invalid, UserMissing
from service.features.diagnostics.event import GenerationEvent
from service.kernel import queries
from service.kernel.database import Connection


class Counts(msgspec.Struct, frozen=True):
    """Generations that ended in a window; those that ran out of time are among the failed."""

    total: int
    success: int
    failed: int
    timeouts: int
    free_used: int
    total_cost: Decimal

    @property
    def success_percent(self) -> int | None:
        """None where none ended. Not rounded up to 100."""
        return self.success * 100 // self.total if self.total else None


class Failure(msgspec.Struct, frozen=True):
    """One way to fail, and how often it happened."""

    model_id: str
    error_code: str | None
    error_message: str | None
    count: int


class Made(msgspec.Struct, frozen=True):
    """How much a model made."""

    model_id: str
    made: int


class People(msgspec.Struct, frozen=True):
    """How many there are, and how many of them are new."""

    people: int
    newcomers: int


SQL = queries.room(
    "diagnostics",
    violations={"generation_events_user_known": UserMissing, "generation_events_status_known": Invalid},
)
_write_events = SQL.exec("write_events")

count_of_user = SQL.one("count_of_user", Counts)
count_of_all = SQL.one("count_of_all", Counts)
list_top_models = SQL.many("list_top_models", Made)
list_failures = SQL.many("list_failures", Failure)
count_people = SQL.one("count_people", People)
prune_events = SQL.exec("prune_events")


async def write_events(conn: Connection, events: Sequence[GenerationEvent]) -> int:
    """One statement for any number of them; how many were written."""
    columns = zip(*(msgspec.structs.astuple(event) for event in events), strict=True)
    names = SQL.statements["write_events"].parameters
    return await _write_events(conn, **dict(zip(names, map(list, columns), strict=True)))
