"""What processors said, kept whole before anything is done about it.

It knows payment_events and when one is to be tried again; it knows nothing of what an event means.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal, cast
from uuid import UUID

import msgspec

from service.errors import UserMissing
from service.feature import Gauges, Rooms, Sample
from service.kernel import metrics, queries
from service.kernel.clock import Clock
from service.kernel.database import Connection
from service.payments.event import Report

EventStatus = Literal["waiting", "applied", "ignored", "review", "closed"]

# Until the first try of recovery; a poke makes it sooner.
FIRST_TRY_AFTER = timedelta(seconds=10)

# Events are counted up to so many: nobody needs to know how many more there are.
MEASURED_MAX = 10_000

SQL = queries.room("payments", violations={"payments_user_known": UserMissing})


class Stored(msgspec.Struct, frozen=True):
    """An event as it stands in the inbox, locked by this transaction."""

    id: int
    status: EventStatus
    reason: str
    payment_id: UUID | None
    deliveries: int

    @property
    def is_done(self) -> bool:
        """A repeat of it changes nothing."""
        return self.status != "waiting"


class Outcome(msgspec.Struct, frozen=True):
    """What became of an event, and why; `repeated`: it had been settled before.

    paid_by, credit_rub: who paid by it just now, and what his balance got.
    """

    status: EventStatus
    reason: str = ""
    payment_id: UUID | None = None
    repeated: bool = False
    paid_by: int | None = None
    credit_rub: Decimal | None = None

    def log_fields(self) -> dict[str, object]:
        return {"result": "repeated" if self.repeated else self.status, "reason": self.reason}


class Open(msgspec.Struct, frozen=True):
    """What is not applied of one status, counted up to a bound, and the oldest of it in seconds."""

    status: str
    events: int
    oldest_s: float


_measure_inbox = SQL.many("measure_inbox", Open)
_store_event = SQL.one("store_event", Stored)
_store_each = SQL.each("store_event")
_finish_event = SQL.exec("finish_event")
_get_event_status = SQL.value("get_event_status", str)


async def status_of(conn: Connection, provider: str, delivery_key: str) -> EventStatus | None:
    """How it stands with an event; None for one that never came."""
    return cast("EventStatus | None", await _get_event_status(conn, provider=provider, delivery_key=delivery_key))


async def store(conn: Connection, report: Report, now: datetime) -> Stored:
    """Keep an event, or count the repeat of a known one. Waits for whoever handles the same at this moment."""
    stored = await _store_event(conn, **_columns(report, now))
    assert stored is not None, "an upsert always answers"
    return stored


async def store_each(conn: Connection, reports: Sequence[Report], now: datetime) -> list[Stored]:
    """The same for many, in one round trip."""
    return await _store_each(conn, [_columns(report, now) for report in reports])


def _columns(report: Report, now: datetime) -> dict[str, object]:
    event = report.event
    return {
        "provider": event.provider,
        "delivery_key": event.delivery_key,
        "name": event.name,
        "reference": event.references[0][1] if event.references else None,
        "body": report.body,
        "now": now,
    }


async def finish(conn: Connection, event_id: int, outcome: Outcome, now: datetime) -> None:
    """What became of it; one that waits is tried again a little later."""
    await _finish_event(
        conn,
        event_id=event_id,
        status=outcome.status,
        reason=outcome.reason,
        payment_id=outcome.payment_id,
        now=now,
        due_at=now + FIRST_TRY_AFTER,
    )


async def measure(rooms: Rooms, conn: Connection) -> list[Sample]:
    """For Gauges."""
    found = {one.status: one for one in await _measure_inbox(conn, now=rooms.of(Clock).now(), most=MEASURED_MAX)}
    return [
        sample
        for status in ("waiting", "review")
        for one in (found.get(status, Open(status, 0, 0.0)),)
        for sample in (
            (metrics.PAYMENT_INBOX, (status,), one.events),
            (metrics.PAYMENT_INBOX_OLDEST, (status,), one.oldest_s),
        )
    ]


GAUGES = Gauges((metrics.PAYMENT_INBOX, metrics.PAYMENT_INBOX_OLDEST), measure)
