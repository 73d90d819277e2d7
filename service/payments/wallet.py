"""What features may know of money: a person's balance, money put aside and spent, a reward.

The one module of payments that features import; a feature that does puts NEEDS among its own. It knows reservations
and the ledger; it knows no processor. Everything works on the caller's transaction, so that what is paid for and the
payment are one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from service.config import Config
from service.feature import Need, Rooms, owns
from service.kernel.clock import Clock
from service.kernel.database import Connection
from service.payments import ledger, reservations
from service.payments.ledger import Balance, InsufficientBalance, Ledger, Posting, Reservation, Spending
from service.payments.reservations import Hold, ReservationFinished, ReservationMismatch
from service.users.people import People
from service.users.user import Profile

__all__ = [
    "NEEDS",
    "Balance",
    "Hold",
    "InsufficientBalance",
    "Reservation",
    "ReservationFinished",
    "ReservationMismatch",
    "balance",
    "capture",
    "prolong",
    "release",
    "reserve",
    "reward",
]

NEEDS: dict[str, Need] = {
    "balances": owns("user_id", "balance_rub", "unbooked_rub", "booked_in"),
    "payment_effects": owns("effect_key", "user_id"),
    "payment_reservations": owns(
        "reservation_id", "user_id", "amount_rub", "captured_rub", "status", "purpose", "expires_at", "finished_at"
    ),
}


async def balance(conn: Connection, user_id: int) -> Balance:
    return await ledger.get_balance(conn, user_id)


async def reserve(rooms: Rooms, conn: Connection, hold: Hold) -> Reservation:
    """Put money aside for RESERVATION_TTL seconds, or as long as it is prolonged. The same id is the same money.

    Raises InsufficientBalance, ReservationMismatch.
    """
    await rooms.of(People).ensure_on(conn, Profile(hold.user_id))
    return await reservations.reserve(conn, hold, rooms.of(Clock).now() + _lifetime(rooms))


async def capture(
    rooms: Rooms, conn: Connection, reservation_id: UUID, amount_rub: Decimal, reason: str
) -> Reservation:
    """Spend what was put aside, or less. Raises NotFound, ReservationMismatch, ReservationFinished."""
    spending = Spending(
        reservation_id=reservation_id, amount_rub=amount_rub, effect_key=f"capture:{reservation_id}", reason=reason
    )
    return await reservations.capture(conn, rooms.of(Ledger), spending, rooms.of(Clock).now())


async def release(rooms: Rooms, conn: Connection, reservation_id: UUID) -> Reservation:
    """Give it back. Raises NotFound, ReservationFinished."""
    return await reservations.release(conn, reservation_id, rooms.of(Clock).now())


async def prolong(rooms: Rooms, conn: Connection, reservation_ids: Sequence[UUID]) -> None:
    """What these are for is alive: hold them for RESERVATION_TTL seconds more."""
    await reservations.prolong(conn, reservation_ids, rooms.of(Clock).now() + _lifetime(rooms))


async def reward(rooms: Rooms, conn: Connection, key: str, user_id: int, amount_rub: Decimal) -> bool:
    """Credit a person, once for this key; whether this was the once."""
    reservations.require_amount(amount_rub)
    await rooms.of(People).ensure_on(conn, Profile(user_id))
    posting = Posting(effect_key=f"referral:{key}", user_id=user_id, amount_rub=amount_rub, type="referral", reason=key)
    return await rooms.of(Ledger).post(conn, posting) is not None


def _lifetime(rooms: Rooms) -> timedelta:
    return timedelta(seconds=rooms.of(Config).reservation_ttl)
