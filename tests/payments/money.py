"""What tests of money share: an order in the table, an event about it, the invariant that holds after each step."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from service.config import Config
from service.feature import Hearers, Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import JobLoop
from service.payments.event import Money, PaymentEvent, Report
from service.payments.inbox import Outcome
from service.payments.ledger import Ledger, LedgerInTable, Posting
from service.payments.settle import Settlement, SettlementInTables
from service.users.people import People
from tests.cast import PAYER
from tests.serving import config_for

# What is tried at random is tried ten times as often.
LONG = os.environ.get("CHAOS") == "long"
ROUBLES = Money(Decimal("150.00"), "RUB")
deliveries = itertools.count(1)

# The invariant of DESIGN.md, 4: who breaks it, and by how much.
BROKEN = """
SELECT user_id, balance_rub, held_rub, booked_rub FROM (
    SELECT balances.user_id, balance_rub, unbooked_rub,
        coalesce((SELECT sum(amount_rub) FROM payment_reservations AS held
            WHERE held.user_id = balances.user_id AND held.status = 'held'), 0) AS held_rub,
        coalesce((SELECT sum(amount_rub) FROM payment_transactions AS entry
            WHERE entry.user_id = balances.user_id), 0) AS booked_rub
    FROM balances
) AS sums WHERE balance_rub + held_rub <> booked_rub + unbooked_rub
"""


class Noon(Clock):
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


def rooms_for(db: Database, clock: Clock | None = None, ledger: Ledger | None = None, **more: str) -> Rooms:
    """The rooms of money without a whole service around them."""
    clock = clock or Noon()
    return Rooms(
        {
            Config: config_for("postgresql://nowhere/none", **more),
            Clock: clock,
            Database: db,
            Ledger: ledger or LedgerInTable(),
            Settlement: SettlementInTables(),
            People: People(db, clock, cache_ttl_s=600),
            JobLoop: JobLoop((), lambda: None, lambda _: True),
            Hearers: Hearers(),
        }
    )


async def order(conn: Any, *, user_id: int = PAYER.user_id, provider: str = "yookassa", **columns: Any) -> UUID:
    """A payment that is being paid: 150 RUB for 150 RUB, unless `columns` say otherwise."""
    row = {
        "payment_id": uuid4(),
        "user_id": user_id,
        "provider": provider,
        "status": "pending",
        "amount": ROUBLES.amount,
    }
    row |= {"currency": "RUB", "credit_rub": ROUBLES.amount, "pack_id": "small"}
    row |= {"expires_at": datetime(2030, 1, 1, tzinfo=UTC), **columns}
    names, values = list(row), list(row.values())
    places = ", ".join(f"${at + 1}" for at in range(len(names)))
    await conn.execute("INSERT INTO users (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)
    await conn.execute(f"INSERT INTO payments ({', '.join(names)}) VALUES ({places})", *values)
    return row["payment_id"]


def paid(order_id: UUID | None, reference: str = "p1", **fields: Any) -> Report:
    """A processor says that it has been paid."""
    event = {
        "provider": "yookassa",
        "delivery_key": f"delivery-{next(deliveries)}",
        "name": "payment.succeeded",
        "change": "paid",
        "references": (("yookassa", reference),),
        "order_id": order_id,
        "money": ROUBLES,
        "effect_key": f"yookassa:payment:{reference}",
    }
    return Report(PaymentEvent(**{**event, **fields}), b"{}")


def refunded(reference: str = "p1", refund: str = "r1", amount: str = "50.00", **fields: Any) -> Report:
    """A processor says that money went back."""
    event = {
        "provider": "yookassa",
        "delivery_key": f"delivery-{next(deliveries)}",
        "name": "refund.succeeded",
        "change": "refunded",
        "references": (("yookassa", reference),),
        "money": Money(Decimal(amount), "RUB"),
        "effect_key": f"yookassa:refund:{refund}",
        "refund_id": refund,
    }
    return Report(PaymentEvent(**{**event, **fields}), b"{}")


async def settle(rooms: Rooms, report: Report) -> Outcome:
    """As the door does it."""
    async with rooms.of(Database).transaction() as conn:
        return await rooms.of(Settlement).settle(rooms, conn, report)


async def settle_until_nothing_waits(rooms: Rooms, reports: Iterable[Report]) -> None:
    """As recovery does it: whatever waits is tried again, until that changes nothing any more."""
    waiting, before = list(reports), None
    while waiting and len(waiting) != before:
        before = len(waiting)
        waiting = [report for report in waiting if (await settle(rooms, report)).status in ("waiting", "review")]


async def credit(rooms: Rooms, roubles: str, *, user_id: int = PAYER.user_id) -> None:
    """Give somebody money, as an operator does."""
    async with rooms.of(Database).transaction() as conn:
        await conn.execute("INSERT INTO users (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)
        posting = Posting(
            effect_key=f"adjust:{uuid4()}",
            user_id=user_id,
            amount_rub=Decimal(roubles),
            type="adjustment",
            reason="a test",
            may_owe=True,
        )
        await rooms.of(Ledger).post(conn, posting)


async def balance_of(conn: Any, user_id: int = PAYER.user_id) -> Decimal:
    return await conn.fetchval("SELECT balance_rub FROM balances WHERE user_id = $1", user_id) or Decimal("0.00")


async def entries_of(conn: Any, user_id: int = PAYER.user_id) -> list[tuple[str, Decimal]]:
    query = "SELECT type, amount_rub FROM payment_transactions WHERE user_id = $1 ORDER BY id"
    return [(row["type"], row["amount_rub"]) for row in await conn.fetch(query, user_id)]
