"""Settlement: what an event does to a payment, a balance and the ledger."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from service.feature import Rooms
from service.kernel.database import Database
from tests.payments.money import BROKEN, balance_of, entries_of, order, paid, refunded, rooms_for, settle


@pytest.fixture
def rooms(db: Database) -> Rooms:
    return rooms_for(db)


@pytest.fixture(autouse=True)
async def invariant(raw: Any) -> Any:
    yield
    assert await raw.fetch(BROKEN) == []


async def test_a_paid_order_is_credited_once(rooms: Rooms, raw: Any) -> None:
    payment_id = await order(raw)
    assert (await settle(rooms, paid(payment_id))).status == "applied"
    again = await settle(rooms, paid(payment_id))
    assert (again.status, again.reason) == ("ignored", "the payment is succeeded already")
    assert await entries_of(raw) == [("topup", Decimal("150.00"))]
    assert await balance_of(raw) == Decimal("150.00")


async def test_a_repeated_delivery_is_known(rooms: Rooms, raw: Any) -> None:
    report = paid(await order(raw))
    await settle(rooms, report)
    again = await settle(rooms, report)
    assert again.repeated
    assert again.status == "applied"


async def test_fifty_copies_at_once(rooms: Rooms, raw: Any) -> None:
    """Case 1: the same event 50 times in parallel is one entry."""
    report = paid(await order(raw))
    outcomes = await asyncio.gather(*(settle(rooms, report) for _ in range(50)))
    assert sum(not outcome.repeated for outcome in outcomes) == 1
    assert await entries_of(raw) == [("topup", Decimal("150.00"))]


async def test_a_refund_takes_its_part_of_the_credit(rooms: Rooms, raw: Any) -> None:
    payment_id = await order(raw)
    await settle(rooms, paid(payment_id))
    assert (await settle(rooms, refunded())).status == "applied"
    assert await balance_of(raw) == Decimal("100.00")
    assert await raw.fetchval("SELECT refunded_rub FROM payments WHERE payment_id = $1", payment_id) == Decimal("50.00")


async def test_a_refund_before_its_payment_waits(rooms: Rooms, raw: Any) -> None:
    payment_id, refund = await order(raw), refunded()
    assert (await settle(rooms, refund)).status == "waiting"
    await settle(rooms, paid(payment_id))
    assert (await settle(rooms, refund)).status == "applied"
    assert await balance_of(raw) == Decimal("100.00")


async def test_a_refund_that_fails_is_given_again(rooms: Rooms, raw: Any) -> None:
    await settle(rooms, paid(await order(raw)))
    await settle(rooms, refunded())
    assert (await settle(rooms, refunded(change="returned"))).status == "applied"
    assert await balance_of(raw) == Decimal("150.00")
    assert (await settle(rooms, refunded())).status == "ignored"
    assert [kind for kind, _ in await entries_of(raw)] == ["topup", "chargeback", "adjustment"]
