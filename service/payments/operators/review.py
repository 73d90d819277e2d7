"""What processors said and could not be applied: to be looked at, tried again, or closed by an operator.

It knows the inbox and who is to look into it; what an event means, it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from service.errors import Conflict, Invalid, NotFound
from service.kernel.database import Connection
from service.kernel.log import Log
from service.ops import paging
from service.payments.inbox import SQL, EventStatus
from service.payments.ledger import NEWEST
from service.payments.providers import strict

# What waits for less is under way: recovery tries it again within seconds.
WAITING_FOR = timedelta(minutes=1)
# A payment intent of Stripe's carries the secret with which its payer pays it.
SECRET = re.compile(r'("\w*(?:secret|token|password)\w*"\s*:\s*)"[^"]*"', re.IGNORECASE)

log = Log("admin")


class Unapplied(msgspec.Struct, frozen=True):
    """A row of payment_events that waits, for an operator or for something else."""

    id: int
    provider: str
    delivery_key: str
    name: str
    reference: str | None
    status: EventStatus
    reason: str
    payment_id: UUID | None
    deliveries: int
    attempts: int
    received_at: datetime
    due_at: datetime
    body: bytes

    @property
    def described(self) -> dict[str, object]:
        """As the outside sees it: the body as text where it is JSON, which names people but opens nothing."""
        return {**msgspec.structs.asdict(self), "body": shown(self.body)}


_list_review = SQL.many("list_review", Unapplied)
_get_state = SQL.value("get_event_state", str)
_retry_event = SQL.exec("retry_event")
_close_event = SQL.exec("close_event")


def shown(body: bytes) -> str | None:
    """The body, without what might be used; None where it is not JSON."""
    try:
        strict.read(body)
    except Invalid:
        return None
    return SECRET.sub(r'\1"***"', body.decode())


async def page(conn: Connection, query: Mapping[str, str], now: datetime) -> dict[str, object]:
    """Events for review, and those that have waited for more than a minute, newest first. Raises Invalid."""
    size = paging.limit(query)
    at, last = paging.position(query["after"], paging.BY_TIME) if query.get("after") else NEWEST
    rows = await _list_review(conn, waiting_since=now - WAITING_FOR, before_at=at, before_id=last, page=size + 1)
    told = paging.page(rows, size, lambda event: (event.received_at, event.id))
    return {**told, "items": [event.described for event in rows[:size]]}


async def retry(conn: Connection, event_id: int, now: datetime) -> None:
    """Have it tried again at once. Raises NotFound, Conflict."""
    if not await _retry_event(conn, event_id=event_id, now=now):
        await _refuse(conn, event_id)
    log.info("event to be tried again", event_id=event_id)


async def close(conn: Connection, event_id: int, reason: str, now: datetime) -> None:
    """Nobody needs to look at it any more. Raises NotFound, Conflict."""
    if not await _close_event(conn, event_id=event_id, reason=reason, now=now):
        await _refuse(conn, event_id)
    log.info("event closed", event_id=event_id, reason=reason)


async def _refuse(conn: Connection, event_id: int) -> None:
    state = await _get_state(conn, event_id=event_id)
    raise Conflict(f"The event is {state} already.") if state else NotFound("There is no such event.")
