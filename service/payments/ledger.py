"""The ledger: every movement of a balance, once, and booked.

It knows balances, effect keys and entries, and what stands in while payment_transactions is missing; it knows no
processor and no order. A movement is one statement in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

from service.errors import Conflict, UserMissing
from service.feature import Erasing, Feature, Offer, Rooms, owns
from service.kernel import queries
from service.kernel.database import Connection, Database
from service.kernel.jobs import Counts, Job
from service.kernel.log import Log
from service.text import Text

EntryType = Literal["topup", "deduction", "refund", "referral", "chargeback", "adjustment"]

# People whose differences are booked in one transaction: a few milliseconds of locks.
BOOK_BATCH = 500
BOOK_EVERY_S = 30.0
PAGE = 10
NEWEST = (datetime.max.replace(tzinfo=UTC), 0)

log = Log("payments")


class InsufficientBalance(Conflict):
    """There is not enough money on the balance."""

    code = "insufficient_balance"


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """One movement of a balance. Without `may_owe` it does not take the balance below zero."""

    effect_key: str
    user_id: int
    amount_rub: Decimal
    type: EntryType
    reason: str
    payment_id: UUID | None = None
    refund_id: UUID | None = None
    may_owe: bool = False


class Reservation(msgspec.Struct, frozen=True):
    """A row of payment_reservations: money put aside, captured (also in part), released or expired."""

    reservation_id: UUID
    user_id: int
    amount_rub: Decimal
    captured_rub: Decimal
    status: Literal["held", "captured", "released", "expired"]
    purpose: str
    expires_at: datetime | None


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a reservation that is captured: `amount_rub` of it is spent, positive, and booked as this."""

    reservation_id: UUID
    amount_rub: Decimal
    effect_key: str
    type: EntryType = "deduction"
    reason: str = ""
    payment_id: UUID | None = None
    refund_id: UUID | None = None


class Balance(msgspec.Struct, frozen=True):
    """What a person can spend (below zero: a debt), and what is put aside."""

    user_id: int
    balance_rub: Decimal
    held_rub: Decimal


class Entry(msgspec.Struct, frozen=True):
    """A row of payment_transactions."""

    id: int
    user_id: int
    amount_rub: Decimal
    type: EntryType
    reason: str | None
    created_at: datetime
    effect_key: str | None
    balance_rub: Decimal | None
    payment_id: UUID | None


class _Posted(msgspec.Struct, frozen=True):
    is_new: bool
    balance_rub: Decimal | None


SQL = queries.room(
    "ledger",
    violations={
        "balances_user_known": UserMissing,
        "payment_effects_user_known": UserMissing,
        "payment_reservations_user_known": UserMissing,
        "payment_transactions_user_known": UserMissing,
    },
)
_post = SQL.one("post", _Posted)
_post_unbooked = SQL.one("post_unbooked", _Posted)
_post_each = SQL.each("post")
_post_each_unbooked = SQL.each("post_unbooked")
_capture = SQL.one("capture", Reservation)
_capture_unbooked = SQL.one("capture_unbooked", Reservation)
_get_balance = SQL.one("get_balance", Balance)
_list_entries = SQL.many("list_entries", Entry)
_list_unbooked = SQL.value("list_unbooked", list[int])
_lock_balances = SQL.value("lock_balances", int)
_book_differences = SQL.value("book_differences", int)


class Ledger:
    """Moves balances. This one stands in while payment_transactions is missing: it remembers what is not booked."""

    async def post(self, conn: Connection, posting: Posting) -> Decimal | None:
        """The balance after it; None where this effect was had before.

        Raises InsufficientBalance, UserMissing: the transaction must not be committed then.
        """
        return _after(
            await _post_unbooked(
                conn,
                effect_key=posting.effect_key,
                user_id=posting.user_id,
                amount_rub=posting.amount_rub,
                may_owe=posting.may_owe,
            )
        )

    async def entries(
        self, conn: Connection, user_id: int, *, after: tuple[datetime, int], page: int
    ) -> Sequence[Entry] | None:
        """A person's history as `list_entries` tells it; None where there is no book to read it from."""
        return None

    async def post_each(self, conn: Connection, postings: Sequence[Posting]) -> list[Decimal | None]:
        """The same for many, in one round trip."""
        columns = ("effect_key", "user_id", "amount_rub", "may_owe")
        rows = [{name: getattr(posting, name) for name in columns} for posting in postings]
        return [_after(posted) for posted in await _post_each_unbooked(conn, rows)]

    async def capture(self, conn: Connection, spending: Spending, now: datetime) -> Reservation | None:
        """The reservation, captured; None where it is not held, is held no longer, or is smaller."""
        return await _capture_unbooked(
            conn, reservation_id=spending.reservation_id, amount_rub=spending.amount_rub, now=now
        )


class LedgerInTable(Ledger):
    """payment_transactions: each movement and its entry are one statement."""

    async def post(self, conn: Connection, posting: Posting) -> Decimal | None:
        return _after(await _post(conn, **msgspec.structs.asdict(posting)))

    async def entries(
        self, conn: Connection, user_id: int, *, after: tuple[datetime, int], page: int
    ) -> Sequence[Entry] | None:
        return await list_entries(conn, user_id, after=after, page=page)

    async def post_each(self, conn: Connection, postings: Sequence[Posting]) -> list[Decimal | None]:
        rows = [msgspec.structs.asdict(posting) for posting in postings]
        return [_after(posted) for posted in await _post_each(conn, rows)]

    async def capture(self, conn: Connection, spending: Spending, now: datetime) -> Reservation | None:
        return await _capture(conn, now=now, **msgspec.structs.asdict(spending))


async def get_balance(conn: Connection, user_id: int) -> Balance:
    """What he has; nothing, where he never had any."""
    return await _get_balance(conn, user_id=user_id) or Balance(user_id, Decimal("0.00"), Decimal("0.00"))


async def list_entries(
    conn: Connection, user_id: int, *, after: tuple[datetime, int] = NEWEST, page: int = PAGE
) -> Sequence[Entry]:
    """A person's history, newest first, after the (created_at, id) of the previous page's last entry."""
    before_at, before_id = after
    return await _list_entries(conn, user_id=user_id, before_at=before_at, before_id=before_id, page=page)


async def book_differences(rooms: Rooms) -> Counts:
    """Book what moved while the ledger was missing, or what a ledger that lost its past does not explain. Once."""
    booked = 0
    database = rooms.of(Database)
    while True:
        async with database.transaction() as conn:
            user_ids = await _list_unbooked(conn, batch=BOOK_BATCH)
            if not user_ids:
                return {"booked": booked}
            await _lock_balances(conn, user_ids=user_ids)
            booked += await _book_differences(conn, user_ids=user_ids)


def _after(posted: _Posted | None) -> Decimal | None:
    assert posted is not None, "the query always answers"
    if posted.is_new and posted.balance_rub is None:
        raise InsufficientBalance
    return posted.balance_rub


FEATURE = Feature(
    name="payment_transactions",
    title=Text(en="The ledger", ru="Журнал движений денег"),
    erases={"payment_transactions": Erasing(names_him=("effect_key", "reason"))},
    needs={
        "payment_transactions": owns(
            "id",
            "user_id",
            "amount_rub",
            "type",
            "reason",
            "created_at",
            "effect_key",
            "balance_rub",
            "payment_id",
            "refund_id",
            "reservation_id",
        )
    },
    offers=(Offer(Ledger, lambda _: LedgerInTable(), lambda _: Ledger()),),
)
JOB = Job("book_differences", BOOK_EVERY_S, book_differences, recovers=True)
