"""Callbacks of one moment are settled in one transaction, or each on its own where one is odd: the same comes out."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.errors import Conflict
from service.feature import Rooms
from service.kernel.database import Database
from service.payments.callback import Till
from service.payments.event import Money, Report
from service.payments.inbox import Outcome
from service.payments.ledger import Ledger
from service.payments.settle import Entangled, Settlement
from tests.cast import PAYER
from tests.payments.money import BROKEN, ROUBLES, balance_of, entries_of, order, paid, rooms_for, settle

USERS = range(8_000, 8_020)


@pytest.fixture
def rooms(db: Database) -> Rooms:
    return rooms_for(db)


@pytest.fixture(autouse=True)
async def invariant(raw: Any) -> Any:
    yield
    assert await raw.fetch(BROKEN) == []


async def orders(raw: Any) -> list[UUID]:
    """One of each person."""
    return [await order(raw, user_id=user_id) for user_id in USERS]


def told(payment_ids: list[UUID]) -> list[Report]:
    return [paid(payment_id, f"p{at}") for at, payment_id in enumerate(payment_ids)]


async def together(rooms: Rooms, reports: list[Report]) -> list[Outcome]:
    async with rooms.of(Database).transaction() as conn:
        return await rooms.of(Settlement).settle_together(rooms, conn, reports)


async def at_the_till(rooms: Rooms, reports: list[Report]) -> list[Outcome]:
    till = Till(5.0)
    return await asyncio.gather(*(till.settle(rooms, report) for report in reports))


async def credited(raw: Any) -> dict[int, Decimal]:
    return dict(await raw.fetch("SELECT user_id, sum(amount_rub) FROM payment_transactions GROUP BY user_id"))


def settled_for(payment_id: UUID) -> Outcome:
    return Outcome("applied", "", payment_id, paid_by=PAYER.user_id, credit_rub=ROUBLES.amount)


async def test_each_has_its_effect(rooms: Rooms, raw: Any) -> None:
    payment_ids = await orders(raw)
    outcomes = await together(rooms, told(payment_ids))
    each = zip(payment_ids, USERS, strict=True)
    assert [(one.status, one.payment_id, one.paid_by) for one in outcomes] == [("applied", *pair) for pair in each]
    assert await credited(raw) == dict.fromkeys(USERS, ROUBLES.amount)
    rows = await raw.fetch("SELECT status, payment_id FROM payment_events ORDER BY id")
    assert {row["status"] for row in rows} == {"applied"}
    assert {row["payment_id"] for row in rows} == set(payment_ids)
    again = [await settle(rooms, report) for report in told(payment_ids)]
    assert {outcome.reason for outcome in again} == {"the payment is succeeded already"}


async def test_it_is_one_transaction(rooms: Rooms, raw: Any) -> None:
    reports = told(await orders(raw))
    outcomes = await at_the_till(rooms, reports)
    assert {outcome.status for outcome in outcomes} == {"applied"}
    assert await raw.fetchval("SELECT count(DISTINCT xmin::text) FROM payment_transactions") == 1


async def test_a_lone_one_is_settled_by_itself(rooms: Rooms, raw: Any) -> None:
    payment_id = await order(raw)
    assert await at_the_till(rooms, [paid(payment_id)]) == [settled_for(payment_id)]


@pytest.mark.parametrize("odd", ["amount", "payer", "unknown", "known", "provider", "twice", "effect"])
async def test_an_odd_one_leaves_the_others_what_they_are(rooms: Rooms, raw: Any, odd: str) -> None:
    """Case 2, 37, 38: nothing of a transaction with an odd one stands, and each is settled alone."""
    payment_ids = await orders(raw)
    reports = told(payment_ids)
    strange = await strangeness(rooms, raw, odd, payment_ids)
    with pytest.raises(Entangled):
        await together(rooms, [*reports, strange])
    assert await raw.fetchval("SELECT count(*) FROM payment_events WHERE name = 'payment.succeeded'") == 0
    outcomes = await at_the_till(rooms, [*reports, strange])
    assert sum(outcome.status == "applied" for outcome in outcomes) == len(USERS)
    assert await credited(raw) == dict.fromkeys(USERS, ROUBLES.amount)


async def strangeness(rooms: Rooms, raw: Any, odd: str, payment_ids: list[UUID]) -> Report:
    """An event that cannot be settled together with the others, and credits nobody anything more."""
    if odd in ("amount", "payer", "provider"):
        payment_id = await order(raw, user_id=USERS[0], provider="stripe" if odd == "provider" else "yookassa")
        money = Money(Decimal("1.00"), "RUB") if odd == "amount" else ROUBLES
        return paid(payment_id, "odd", money=money, user_id=1 if odd == "payer" else None)
    if odd == "unknown":
        return paid(uuid4(), "odd")
    if odd == "known":
        report = paid(await order(raw, user_id=USERS[0], status="canceled"), "odd", name="another", change="nothing")
        await settle(rooms, report)
        return paid(payment_ids[0], "p0", delivery_key=report.event.delivery_key)
    if odd == "effect":
        return paid(payment_ids[1], "odd", effect_key="yookassa:payment:p1")
    return paid(payment_ids[0], "p0")


async def test_an_error_is_its_own_callers(rooms: Rooms, raw: Any) -> None:
    """Not even a row that cannot be written keeps the others from theirs."""
    reports = told(await orders(raw))
    await raw.execute("ALTER TABLE payment_transactions ADD CONSTRAINT not_this_one CHECK (user_id <> 8003)")
    till = Till(5.0)
    outcomes = await asyncio.gather(*(till.settle(rooms, report) for report in reports), return_exceptions=True)
    failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert [type(error) for error in failed] == [Conflict]
    assert set(await credited(raw)) == set(USERS) - {8003}


async def test_without_the_ledger(db: Database, raw: Any) -> None:
    rooms = rooms_for(db).with_({Ledger: Ledger()})
    await together(rooms, told(await orders(raw)))
    assert await raw.fetchval("SELECT sum(unbooked_rub) FROM balances") == ROUBLES.amount * len(USERS)
    assert await credited(raw) == {}


async def test_without_the_tables_of_money_each_is_kept(db: Database, raw: Any) -> None:
    rooms = rooms_for(db).with_({Settlement: Settlement()})
    outcomes = await at_the_till(rooms, told(await orders(raw)))
    assert {outcome.status for outcome in outcomes} == {"waiting"}


async def test_several_payments_of_one_person(rooms: Rooms, raw: Any) -> None:
    payment_ids = [await order(raw) for _ in range(10)]
    await together(rooms, told(payment_ids))
    assert await balance_of(raw) == ROUBLES.amount * 10
    assert len(await entries_of(raw)) == 10


async def test_batches_that_cross_each_other(rooms: Rooms, raw: Any) -> None:
    """The same people, in opposite orders, in many transactions at once: nobody waits for whoever waits for him."""
    batches = [told(await orders(raw)) for _ in range(12)]
    for at, batch in enumerate(batches):
        batches[at] = [paid(report.event.order_id, f"b{at}-{number}") for number, report in enumerate(batch)][
            :: -1 if at % 2 else 1
        ]
    outcomes = await asyncio.gather(*(together(rooms, batch) for batch in batches))
    assert {outcome.status for batch in outcomes for outcome in batch} == {"applied"}
    assert await credited(raw) == dict.fromkeys(USERS, ROUBLES.amount * 12)
