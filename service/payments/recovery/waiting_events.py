"""Applies events that could not be applied when they came.

It knows when they are tried again, and when an operator has to look; what an event does is settle's alone. They are
read again from their bodies, and take the same door as a callback.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from service.errors import ServiceError, Unavailable, Upstream
from service.feature import NOBODY, Event, Rooms, tell
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts
from service.kernel.log import Log
from service.payments import callback
from service.payments.inbox import SQL, Outcome
from service.payments.providers import Providers
from service.payments.recovery.asking import Asking, Due, work_through

EVERY_S = 30.0
# As long as processors repeat a callback: whatever it waits for would have come by then.
PATIENCE = timedelta(hours=72)

_shelve_event = SQL.exec("shelve_event")
_forget_hint = SQL.exec("forget_hint")

log = Log("payments")


class Waiting(msgspec.Struct, frozen=True):
    """An event that waits, claimed by this run."""

    id: int
    provider: str
    delivery_key: str
    body: bytes
    reason: str
    received_at: datetime


# Events of processors that are configured; the others' are left for when they are again. A crash puts those off that
# were claimed and not tried.
DUE = Due(
    SQL.many("claim_events", Waiting),
    first=timedelta(seconds=10),
    longest=timedelta(hours=1),
    batch=20,
    rounds=25,
)


async def apply_waiting_events(rooms: Rooms) -> Counts:
    """Try what is due. What one of them makes applicable is due as well, and is tried in the same run."""
    return await work_through(rooms, DUE, _tried)


async def _tried(rooms: Rooms, asking: Asking, event: Waiting) -> str:
    """What became of it: its new status, or `failed`. Raises Unavailable: then it is the fault of no event."""
    try:
        outcome = await _settled(rooms, asking, event)
    except Unavailable:
        raise
    except Upstream as error:
        asking.failed(event.provider, error)
        return await _left(rooms, event, "waiting", error.message)
    except Exception as error:  # whatever is wrong with one event must not hold up the others
        log.exception("event not applied", event_id=event.id, provider=event.provider)
        reason = error.message if isinstance(error, ServiceError) else type(error).__name__
        return await _left(rooms, event, "failed", reason)
    if outcome.status == "waiting":
        return await _left(rooms, event, "waiting", outcome.reason)
    return outcome.status


async def _settled(rooms: Rooms, asking: Asking, event: Waiting) -> Outcome:
    provider = rooms.of(Providers).get(event.provider)
    report = provider.parse(event.body)
    if provider.asks_back:
        if not asking.may_ask(event.provider):
            return Outcome("waiting", "the processor does not answer")
        report = await provider.confirm(report)
    outcome = await callback.settled(rooms, report)
    if report.event.delivery_key != event.delivery_key:
        async with rooms.of(Database).acquire() as conn:
            await _forget_hint(conn, event_id=event.id)
    return outcome


async def _left(rooms: Rooms, event: Waiting, result: str, reason: str) -> str:
    """It waits on, unless it has waited for long enough: then it is for operators."""
    if rooms.of(Clock).now() - event.received_at < PATIENCE:
        return result
    async with rooms.of(Database).acquire() as conn:
        shelved = await _shelve_event(conn, event_id=event.id, reason=reason)
    if not shelved:  # it was applied by somebody else meanwhile
        return result
    log.error("payment to review", event_id=event.id, payment_id=None, reason=event.reason or reason)
    tell(rooms, Event("payment_review", NOBODY, {"provider": event.provider, "reason": event.reason or reason}))
    return "review"
