"""What operators see of payments: lists, one payment with all that belongs to it, a person's ledger.

It knows pages and what belongs together; it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, get_args
from uuid import UUID

import msgspec
from msgspec.json import Decoder

from service.errors import Invalid, NotFound
from service.kernel.database import Connection
from service.ops import paging
from service.payments import ledger, orders
from service.payments.event import Payment, PaymentStatus, Refund
from service.payments.inbox import SQL, EventStatus
from service.payments.ledger import NEWEST, Entry
from service.payments.operators import refunding, requests
from service.users import repo

# Events of one payment: more than any processor sends of it.
EVENTS_MAX = 200
BY_PAYMENT: Decoder[tuple[datetime, UUID]] = Decoder(tuple[Annotated[datetime, msgspec.Meta(tz=True)], UUID])
NEWEST_PAYMENT = (datetime.max.replace(tzinfo=UTC), UUID(int=0))
STATUSES = get_args(PaymentStatus)


class Reference(msgspec.Struct, frozen=True):
    """A processor's name for a payment."""

    provider: str
    reference: str


class Event(msgspec.Struct, frozen=True):
    """A row of payment_events without its body."""

    id: int
    provider: str
    delivery_key: str
    name: str
    status: EventStatus
    reason: str
    deliveries: int
    attempts: int
    received_at: datetime
    finished_at: datetime | None


class Record(msgspec.Struct, frozen=True):
    """A payment with all that belongs to it. Events are the last first, refunds and entries in their order."""

    payment: Payment
    references: Sequence[Reference]
    events: Sequence[Event]
    refunds: Sequence[Refund]
    entries: Sequence[Entry]


_list_payments = SQL.many("list_payments", Payment)
_list_by_status = SQL.many("list_payments_by_status", Payment)
_list_of_user = SQL.many("list_payments_of_user", Payment)
_list_references = SQL.many("list_references", Reference)
_list_events = SQL.many("list_payment_events", Event)
_list_entries = ledger.SQL.many("list_payment_entries", Entry)


async def payments_page(conn: Connection, query: Mapping[str, str]) -> dict[str, object]:
    """Payments, the newest first; of one `status`, of one `user_id`, or of all. Raises Invalid."""
    size, status = paging.limit(query), query.get("status") or None
    if status is not None and status not in STATUSES:
        raise Invalid(f"`status` is one of {', '.join(STATUSES)}.")
    at, last = paging.position(query["after"], BY_PAYMENT) if query.get("after") else NEWEST_PAYMENT
    here = {"before_at": at, "before_id": last, "page": size + 1}
    if query.get("user_id"):
        rows = await _list_of_user(conn, user_id=_user_id(query["user_id"]), status=status, **here)
    elif status is not None:
        rows = await _list_by_status(conn, status=status, **here)
    else:
        rows = await _list_payments(conn, **here)
    return paging.page(rows, size, lambda payment: (payment.created_at, payment.payment_id))


async def record(conn: Connection, payment_id: UUID) -> Record:
    """Raises NotFound."""
    return Record(
        payment=await orders.get(conn, payment_id),
        references=await _list_references(conn, payment_id=payment_id),
        events=await _list_events(conn, payment_id=payment_id, page=EVENTS_MAX),
        refunds=await refunding.list_refunds(conn, payment_id=payment_id),
        entries=await _list_entries(conn, payment_id=payment_id),
    )


async def ledger_page(conn: Connection, user_id: int, query: Mapping[str, str]) -> dict[str, object]:
    """A person's balance, and his entries, the newest first. Raises NotFound, Invalid."""
    if not await repo.get_users(conn, [user_id]):
        raise NotFound("There is no such user.")
    size = paging.limit(query)
    after = paging.position(query["after"], paging.BY_TIME) if query.get("after") else NEWEST
    entries = await ledger.list_entries(conn, user_id, after=after, page=size + 1)
    page = paging.page(entries, size, lambda entry: (entry.created_at, entry.id))
    return {"balance": await ledger.get_balance(conn, user_id), **page}


def _user_id(text: str) -> int:
    try:
        return requests.user_id(text)
    except NotFound:
        raise Invalid("`user_id` is the number of a person.") from None
