"""A payment that is settled is told of, once, to whoever hears of it; nothing else is."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from service.feature import NOBODY, Event, Hearers, Rooms
from service.kernel.database import Database
from service.payments import callback
from service.payments.event import Money
from service.payments.settle import Settlement, SettlementInTables
from tests.cast import FRIEND, PAYER
from tests.payments.money import BROKEN, order, paid, refunded, rooms_for


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
def rooms(db: Database, heard: list[Event]) -> Rooms:
    hearing = (lambda _, event: heard.append(event),)
    hearers = Hearers({"payment_settled": hearing, "payment_review": hearing})
    return rooms_for(db).with_({Hearers: hearers})


@pytest.fixture(autouse=True)
async def invariant(raw: Any) -> Any:
    yield
    assert await raw.fetch(BROKEN) == []


async def test_a_payment_is_told_of_once(rooms: Rooms, raw: Any, heard: list[Event]) -> None:
    payment_id = await order(raw)
    report = paid(payment_id)
    await callback.settled(rooms, report)
    await callback.settled(rooms, report)
    told = {"payment_id": payment_id, "provider": "yookassa", "credit_rub": Decimal("150.00")}
    assert heard == [Event("payment_settled", PAYER.user_id, told)]


async def test_money_for_an_operator_is_told_of_once(rooms: Rooms, raw: Any, heard: list[Event]) -> None:
    report = paid(payment_id := await order(raw), money=Money(Decimal("1.00"), "RUB"))
    outcome = await callback.settled(rooms, report)
    await callback.settled(rooms, report)
    assert outcome.status == "review"
    told = {"payment_id": payment_id, "provider": "yookassa", "reason": outcome.reason}
    assert heard == [Event("payment_review", NOBODY, told)]


async def test_those_that_are_settled_together_are_each_told_of(rooms: Rooms, raw: Any, heard: list[Event]) -> None:
    users = [PAYER.user_id, FRIEND.user_id]
    reports = [paid(await order(raw, user_id=user_id), f"p{user_id}") for user_id in users]
    async with rooms.of(Database).transaction() as conn:
        outcomes = await rooms.of(Settlement).settle_together(rooms, conn, reports)
    assert not heard, "not inside of the transaction"
    assert [outcome.paid_by for outcome in outcomes] == users
    till = callback.Till(5.0)
    others = [paid(await order(raw, user_id=user_id), f"q{user_id}") for user_id in users]
    outcomes = await asyncio.gather(*(till.settle(rooms, report) for report in others))
    assert [outcome.paid_by for outcome in outcomes] == users


async def test_neither_a_refund_nor_what_waits_is_a_payment(rooms: Rooms, raw: Any, heard: list[Event]) -> None:
    await callback.settled(rooms, paid(None))
    await callback.settled(rooms, paid(await order(raw), "p2"))
    await callback.settled(rooms, refunded("p2"))
    assert [event.user_id for event in heard] == [PAYER.user_id]


async def test_what_is_rolled_back_is_not_told_of(rooms: Rooms, raw: Any, heard: list[Event]) -> None:
    class Broken(SettlementInTables):
        async def settle(self, *told: Any) -> Any:
            await super().settle(*told)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await callback.settled(rooms.with_({Settlement: Broken()}), paid(await order(raw)))
    assert not heard
