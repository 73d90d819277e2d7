"""Money put aside: reserve, capture, release, expire. Each is one statement in the caller's transaction.

It knows when a reservation is still held, and what a repeat is answered; it knows nothing of what is sold.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from service.errors import Conflict, Invalid, NotFound
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.kernel.jobs import Counts
from service.payments.event import KOPEK
from service.payments.ledger import SQL, InsufficientBalance, Ledger, Reservation, Spending

# Reservations given back in one transaction: a few milliseconds of locks.
EXPIRE_BATCH = 200
# What numeric(14, 2) cannot hold any more.
AMOUNT_END_RUB = Decimal(10**12)

_reserve = SQL.one("reserve", Reservation)
_get_reservation = SQL.one("get_reservation", Reservation)
_release = SQL.one("release", Reservation)
_prolong = SQL.exec("prolong")
_expire = SQL.value("expire", int)


class ReservationMismatch(Conflict):
    """The reservation exists with other parameters."""

    code = "reservation_mismatch"


class ReservationFinished(Conflict):
    """The reservation is not held any more."""

    code = "reservation_finished"


class Hold(msgspec.Struct, frozen=True):
    """Money to be put aside. The id is of whoever asks, made of what it is for: the same id is the same money."""

    reservation_id: UUID
    user_id: int
    amount_rub: Decimal
    purpose: str


async def reserve(conn: Connection, hold: Hold, expires_at: datetime | None) -> Reservation:
    """Put money aside; asked again with the same id, it is the same reservation, whatever became of it.

    `expires_at` None: until somebody captures or releases it. Raises InsufficientBalance, ReservationMismatch.
    """
    require_amount(hold.amount_rub)
    held = await _reserve(conn, expires_at=expires_at, **msgspec.structs.asdict(hold))
    if held is not None:
        return held
    known = await _get_reservation(conn, reservation_id=hold.reservation_id)
    if known is None:
        raise InsufficientBalance
    if (known.user_id, known.amount_rub) != (hold.user_id, hold.amount_rub):
        raise ReservationMismatch
    return known


async def capture(conn: Connection, ledger: Ledger, spending: Spending, now: datetime) -> Reservation:
    """Spend what was put aside, or less of it: the rest goes back at once. Asked again the same, it is done already.

    Raises NotFound, ReservationMismatch (more than was put aside, or captured with another amount),
    ReservationFinished (released or expired).
    """
    require_amount(spending.amount_rub)
    captured = await ledger.capture(conn, spending, now)
    if captured is not None:
        return captured
    known = await get(conn, spending.reservation_id)
    if known.status == "captured" and known.captured_rub == spending.amount_rub:
        return known
    if known.status == "captured" or spending.amount_rub > known.amount_rub:
        raise ReservationMismatch
    raise ReservationFinished


async def release(conn: Connection, reservation_id: UUID, now: datetime) -> Reservation:
    """Give back what was put aside. Asked again, or after it expired, it is done already.

    Raises NotFound, ReservationFinished (captured).
    """
    released = await _release(conn, reservation_id=reservation_id, now=now)
    if released is not None:
        return released
    known = await get(conn, reservation_id)
    if known.status == "captured":
        raise ReservationFinished
    return known


async def get(conn: Connection, reservation_id: UUID) -> Reservation:
    """Raises NotFound."""
    known = await _get_reservation(conn, reservation_id=reservation_id)
    if known is None:
        raise NotFound("There is no such reservation.")
    return known


async def prolong(conn: Connection, reservation_ids: Sequence[UUID], expires_at: datetime) -> None:
    """Keep these while whatever they are for is alive. Those that have ended stay so."""
    await _prolong(conn, reservation_ids=list(reservation_ids), expires_at=expires_at)


async def expire(rooms: Rooms) -> Counts:
    """Give back what nobody captured in its time."""
    now, expired = rooms.of(Clock).now(), 0
    while True:
        async with rooms.of(Database).transaction() as conn:
            batch = await _expire(conn, now=now, batch=EXPIRE_BATCH)
        expired += batch
        if not batch:
            return {"expired": expired}


def require_amount(amount_rub: Decimal) -> None:
    """Raises Invalid unless it is positive, in whole kopeks, and fits into a balance."""
    if not amount_rub.is_finite() or not 0 < amount_rub < AMOUNT_END_RUB or amount_rub % KOPEK != 0:
        raise Invalid("An amount must be positive and in whole kopeks.")
