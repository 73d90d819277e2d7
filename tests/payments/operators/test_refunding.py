"""POST /admin/payments/{id}/refund: the money moves once, whoever speaks first, and whatever is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

from service.errors import Conflict, Unavailable, Upstream
from service.feature import Rooms
from service.kernel.database import Database
from service.payments import orders
from service.payments.event import Money, Payment, Refund, Report
from service.payments.ledger import InsufficientBalance
from service.payments.operators import refunding
from service.payments.operators.refunding import Asked, Begun
from service.payments.providers import Providers
from service.payments.providers.api import Refused
from tests.cast import PAYER
from tests.e2e.processors import Market, Till
from tests.payments.money import Noon, balance_of, entries_of, order, paid, refunded, rooms_for, settle
from tests.payments.operators.desk import Desk, code
from tests.waiting import until

CALL = {
    "yookassa": "yookassa POST /refunds",
    "stripe": "stripe POST /v1/refunds",
    "polar": "polar POST /v1/refunds",
}


# With the processors' stand-ins, over HTTP.


async def bought(bot: Till, stands: Market, desk: Desk, provider: str) -> Payment:
    """A payment that has been credited, by its callback."""
    payment = await bot.order(provider)
    stands.pay(payment)
    stands.processors.release()
    await stands.processors.settled()
    stands.processors.hold()
    status, told = await desk.get(f"/admin/payments/{payment.payment_id}")
    assert (status, told["payment"]["status"]) == (200, "succeeded")
    return payment


async def hear(stands: Market) -> None:
    """Let every callback arrive."""
    stands.processors.release()
    await stands.processors.settled()
    stands.processors.hold()


@pytest.mark.parametrize("provider", CALL)
async def test_the_rest_is_given_back_and_the_callback_changes_nothing(
    desk: Desk, stands: Market, bot: Till, raw: Any, provider: str
) -> None:
    payment = await bought(bot, stands, desk, provider)
    status, told = await desk.refund(payment.payment_id)
    assert status in (200, 202)
    await hear(stands)
    assert await balance_of(raw) == Decimal("0.00")
    assert await entries_of(raw) == [("topup", payment.credit_rub), ("chargeback", -payment.credit_rub)]
    assert await raw.fetchval("SELECT status FROM payment_refunds") == "succeeded"
    assert UUID(told["refund_id"]) == await raw.fetchval("SELECT refund_id FROM payment_refunds")
    assert code(await desk.refund(payment.payment_id)) == (409, "conflict")
    assert len(stands.processors.calls.of(CALL[provider])) == 1


@pytest.mark.parametrize("provider", CALL)
async def test_asked_twice_it_is_given_once(desk: Desk, stands: Market, bot: Till, raw: Any, provider: str) -> None:
    """Case 42: an operator presses twice; the same key is the same refund at the processor, too."""
    payment = await bought(bot, stands, desk, provider)
    answers = await asyncio.gather(*(desk.refund(payment.payment_id, "1.00", key="one") for _ in range(5)))
    assert {status for status, _ in answers} <= {200, 202, 409}
    assert (await desk.refund(payment.payment_id, "1.00", key="one"))[0] in (200, 202)
    await hear(stands)
    assert await raw.fetchval("SELECT count(*) FROM payment_refunds") == 1
    assert [kind for kind, _ in await entries_of(raw)] == ["topup", "chargeback"]
    assert code(await desk.refund(payment.payment_id, "2.00", key="one")) == (422, "idempotency_mismatch")


@pytest.mark.parametrize("provider", CALL)
@pytest.mark.parametrize("after", [False, True])
async def test_a_lost_answer_is_no_lost_money(
    desk: Desk, stands: Market, bot: Till, raw: Any, provider: str, after: bool
) -> None:
    """The processor fails before or after it has done it: the roubles stay put aside until that is known."""
    payment = await bought(bot, stands, desk, provider)
    stands.processors.faults.drop(CALL[provider], after=after)
    status, told = await desk.refund(payment.payment_id, "1.00", key="one")
    assert (status, told["status"]) == (202, "requested")
    held = await raw.fetchval("SELECT sum(amount_rub) FROM payment_reservations WHERE status = 'held'")
    assert held == payment.credit_rub - await balance_of(raw) > 0
    assert (await desk.refund(payment.payment_id, "1.00", key="one"))[0] == 202, "left alone for a while"
    if after:
        await hear(stands)
        assert (await desk.refund(payment.payment_id, "1.00", key="one"))[0] == 200
    await raw.execute("UPDATE payment_refunds SET check_at = now() - interval '1 second'")
    assert (await desk.refund(payment.payment_id, "1.00", key="one"))[0] in (200, 202)
    await hear(stands)
    assert (await desk.refund(payment.payment_id, "1.00", key="one"))[0] == 200
    assert len(getattr(stands.processors, provider).refunds) == 1
    assert await entries_of(raw) == [("topup", payment.credit_rub), ("chargeback", -held)]


async def test_what_the_person_has_spent_is_not_given_back(desk: Desk, stands: Market, bot: Till, raw: Any) -> None:
    """Case 40: nothing but the processor's own doing may lead below zero."""
    payment = await bought(bot, stands, desk, "yookassa")
    await desk.adjust(PAYER.user_id, "-100.00")
    assert code(await desk.refund(payment.payment_id)) == (409, "insufficient_balance")
    assert code(await desk.refund(payment.payment_id, "50.01")) == (409, "insufficient_balance")
    assert await raw.fetchval("SELECT count(*) FROM payment_refunds") == 0
    assert (await desk.refund(payment.payment_id, "50.00"))[0] == 200
    assert await balance_of(raw) == Decimal("0.00")
    (call,) = stands.processors.calls.of(CALL["yookassa"])
    assert json.loads(call.body)["amount"] == {"value": "50.00", "currency": "RUB"}


async def test_what_cannot_be_given_back(desk: Desk, stands: Market, bot: Till) -> None:
    """Case 39: not more than is left, open refunds included; and only of what succeeded."""
    pending = await bot.order("yookassa")
    assert code(await desk.refund(pending.payment_id)) == (409, "conflict")
    assert code(await desk.refund(uuid4())) == (404, "not_found")
    assert code(await desk.refund("review")) == (404, "not_found")
    payment = await bought(bot, stands, desk, "yookassa")
    assert code(await desk.refund(payment.payment_id, "150.01")) == (409, "conflict")
    stands.processors.faults.drop(CALL["yookassa"])
    assert (await desk.refund(payment.payment_id, "100.00"))[0] == 202
    assert code(await desk.refund(payment.payment_id, "50.01")) == (409, "conflict")
    for amount in (1, "0.00", "-1.00", "1", "1.000"):
        assert code(await desk.refund(payment.payment_id, amount)) == (400, "invalid")
    assert code(await desk.refund(payment.payment_id, "1.00", key=None)) == (400, "invalid")


async def test_a_refusal_gives_the_roubles_again(desk: Desk, stands: Market, bot: Till, raw: Any) -> None:
    payment = await bought(bot, stands, desk, "yookassa")
    stands.processors.faults.fail(CALL["yookassa"], status=400)
    first = await desk.refund(payment.payment_id, "1.00", key="one")
    assert code(first) == (502, "upstream")
    assert "yookassa POST /refunds: 400" in first[1]["error"]["message"]
    assert await balance_of(raw) == payment.credit_rub
    assert await raw.fetchval("SELECT status FROM payment_refunds") == "failed"
    assert await desk.refund(payment.payment_id, "1.00", key="one") == first
    assert (await desk.refund(payment.payment_id, "1.00", key="two"))[0] == 200


async def test_wrong_keys_of_ours_say_nothing_of_the_refund(desk: Desk, stands: Market, bot: Till, raw: Any) -> None:
    payment = await bought(bot, stands, desk, "yookassa")
    stands.processors.faults.fail(CALL["yookassa"], status=401)
    status, told = await desk.refund(payment.payment_id, "1.00")
    assert (status, told["status"]) == (202, "requested")
    assert await balance_of(raw) == payment.credit_rub - Decimal("1.00")


async def test_a_refund_that_the_bank_sends_back(desk: Desk, stands: Market, bot: Till, raw: Any) -> None:
    """Case 39: it failed later: the balance has it again, once."""
    payment = await bought(bot, stands, desk, "stripe")
    await desk.refund(payment.payment_id)
    await hear(stands)
    (given,) = stands.processors.stripe.refunds
    stands.processors.stripe.fail_refund(given)
    await hear(stands)
    assert await balance_of(raw) == payment.credit_rub
    assert await raw.fetchval("SELECT status FROM payment_refunds") == "failed"


async def test_everything_is_refused_without_its_tables(desk: Desk, raw: Any, stands: Market, bot: Till) -> None:
    payment = await bought(bot, stands, desk, "yookassa")
    await raw.execute("ALTER TABLE payment_refunds RENAME TO gone")
    status, told = await desk.refund(payment.payment_id)
    assert (status, told["error"]["code"]) == (503, "feature_off")
    assert "payment_refunds table missing" in told["error"]["message"]
    assert await balance_of(raw) == payment.credit_rub
    await raw.execute("ALTER TABLE gone RENAME TO payment_refunds")


# In every order, with a processor that says what a test wants.


@dataclass
class Shop:
    """A processor; `says` are its answers to refunds, in turn."""

    says: list[Report | Upstream] = field(default_factory=list)
    lists: list[Report] = field(default_factory=list)
    asked: list[Refund] = field(default_factory=list)

    name = "yookassa"

    async def refund(self, refund: Refund, payment: Payment) -> Report:
        self.asked.append(refund)
        said = self.says.pop(0)
        if isinstance(said, Upstream):
            raise said
        return said

    async def look_up(self, payment: Payment) -> list[Report]:
        return self.lists


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def clock() -> Noon:
    return Noon()


@pytest.fixture
def rooms(db: Database, shop: Shop, clock: Noon) -> Rooms:
    return rooms_for(db, clock).with_({Providers: Providers([shop])})  # type: ignore[list-item]


@pytest.fixture
async def payment(rooms: Rooms, raw: Any, db: Database) -> AsyncIterator[Payment]:
    """150 roubles, credited."""
    payment_id = await order(raw)
    await settle(rooms, paid(payment_id))
    async with db.acquire() as conn:
        yield await orders.get(conn, payment_id)


async def begin(rooms: Rooms, payment: Payment, amount: str | None = "50.00", key: str = "one") -> Begun:
    asked = Asked(payment.payment_id, key, Decimal(amount) if amount else None, "asked for")
    async with rooms.of(Database).transaction() as conn:
        return await refunding.begin(rooms, conn, asked)


def of(begun: Begun, change: str = "refunded", name: str = "r1", *, named: bool = True) -> Report:
    """What the processor says of it, with our id or without."""
    money = Money(begun.refund.amount, "RUB")
    told: dict[str, Any] = {"request_id": begun.refund.refund_id} if named else {}
    return refunded(refund=name, change=change, money=money, **told)


ONCE = [("topup", Decimal("150.00")), ("chargeback", Decimal("-50.00"))]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("answer", ["refunded", "refund_pending", "lost"])
@pytest.mark.parametrize("first", ["callback", "answer"])
async def test_money_moves_once_in_every_order(
    rooms: Rooms, shop: Shop, payment: Payment, raw: Any, first: str, answer: str, named: bool
) -> None:
    """The callback before the answer or after it; with our id, or known by its amount alone."""
    begun = await begin(rooms, payment)
    callback = of(begun, named=named)
    shop.says = [Upstream("lost") if answer == "lost" else of(begun, answer)]
    if first == "callback":
        await settle(rooms, callback)
    status = await refunding.pursue(rooms, begun.refund, payment)
    if first == "answer":
        assert status == {"refunded": "succeeded", "refund_pending": "pending", "lost": "requested"}[answer]
        await settle(rooms, callback)
    await settle(rooms, callback)
    assert await entries_of(raw) == ONCE
    assert await balance_of(raw) == Decimal("100.00")
    assert await raw.fetch("SELECT status FROM payment_refunds") == [("succeeded",)]
    assert await raw.fetchval("SELECT status FROM payment_reservations") == "captured"


async def test_both_at_once(rooms: Rooms, shop: Shop, payment: Payment, raw: Any) -> None:
    begun = await begin(rooms, payment)
    shop.says = [of(begun)] * 3
    pursuing = (refunding.pursue(rooms, begun.refund, payment) for _ in range(3))
    await asyncio.gather(*pursuing, *(settle(rooms, of(begun)) for _ in range(3)))
    assert await entries_of(raw) == ONCE


async def test_two_of_the_same_amount_are_two(rooms: Rooms, shop: Shop, payment: Payment, raw: Any) -> None:
    """Ours, and one that somebody makes at the processor's own pages meanwhile, told without any id of ours."""
    begun = await begin(rooms, payment)
    shop.says = [of(begun, name="ours")]
    await settle(rooms, of(begun, name="theirs", named=False))
    await refunding.pursue(rooms, begun.refund, payment)
    assert await balance_of(raw) == Decimal("50.00")
    assert await entries_of(raw) == [*ONCE, ONCE[1]]
    assert await raw.fetchval("SELECT refunded_rub FROM payments") == Decimal("100.00")


async def test_already_given_is_given(rooms: Rooms, shop: Shop, payment: Payment, raw: Any) -> None:
    """Case 42: refused since it was given back at the processor's pages, which nobody has told us yet."""
    begun = await begin(rooms, payment)
    shop.says = [Refused("yookassa POST /refunds", 400, "already_refunded", None)]
    shop.lists = [of(begun, name="theirs", named=False)]
    assert await refunding.pursue(rooms, begun.refund, payment) == "succeeded"
    assert await entries_of(raw) == ONCE


async def test_refused_for_good(rooms: Rooms, shop: Shop, payment: Payment, raw: Any) -> None:
    begun = await begin(rooms, payment)
    shop.says = [Refused("yookassa POST /refunds", 400, "invalid_request", None)]
    assert await refunding.pursue(rooms, begun.refund, payment) == "failed"
    assert await balance_of(raw) == Decimal("150.00")
    assert await raw.fetchval("SELECT status FROM payment_reservations") == "released"


async def test_refused_after_its_callback_came(rooms: Rooms, shop: Shop, payment: Payment, raw: Any) -> None:
    """An answer was lost, and the repeat is refused: what the callback said stands."""
    begun = await begin(rooms, payment)
    await settle(rooms, of(begun))
    shop.says = [Refused("yookassa POST /refunds", 400, "already_refunded", None)]
    assert await refunding.pursue(rooms, begun.refund, payment) == "succeeded"
    assert await entries_of(raw) == ONCE


async def test_it_failed_at_the_processor(rooms: Rooms, shop: Shop, payment: Payment, raw: Any) -> None:
    begun = await begin(rooms, payment)
    shop.says = [of(begun, "returned")]
    assert await refunding.pursue(rooms, begun.refund, payment) == "failed"
    assert await balance_of(raw) == Decimal("150.00")
    await settle(rooms, of(begun, "refund_pending"))
    assert await raw.fetchval("SELECT status FROM payment_refunds") == "failed"


async def test_begun_again_it_is_the_same_refund(rooms: Rooms, payment: Payment, clock: Noon) -> None:
    begun = await begin(rooms, payment)
    assert begun.refund.refund_id == uuid5(payment.payment_id, "one")
    again = await begin(rooms, payment)
    assert (again.refund, again.is_ours) == (begun.refund, False)
    clock.forward(seconds=91)
    assert (await begin(rooms, payment)).is_ours
    assert not (await begin(rooms, payment)).is_ours
    assert not (await begin(rooms, payment, None)).is_ours
    with pytest.raises(Conflict):
        await begin(rooms, payment, "51.00")


async def test_parts_take_the_whole_credit_and_no_kopek_more(
    rooms: Rooms, shop: Shop, payment: Payment, raw: Any
) -> None:
    await raw.execute("UPDATE payments SET credit_rub = 100.01, amount = 3")
    await raw.execute("UPDATE balances SET balance_rub = 100.01, unbooked_rub = -49.99")
    parts = [await begin(rooms, payment, "1.00", key) for key in ("a", "b", "c")]
    assert sum([row[0] for row in await raw.fetch("SELECT amount_rub FROM payment_reservations")]) == Decimal("100.01")
    assert await balance_of(raw) == Decimal("0.00")
    for begun in parts:
        shop.says = [of(begun, name=str(begun.refund.refund_id))]
        assert await refunding.pursue(rooms, begun.refund, payment) == "succeeded"
    assert await raw.fetchval("SELECT refunded_rub FROM payments") == Decimal("100.01")
    with pytest.raises(Conflict):
        await begin(rooms, payment, None, "d")


async def test_twenty_at_once_take_no_more_than_there_is(rooms: Rooms, payment: Payment, raw: Any) -> None:
    begun = await asyncio.gather(
        *(begin(rooms, payment, "20.00", f"key {at}") for at in range(20)), return_exceptions=True
    )
    assert sum(isinstance(one, Begun) for one in begun) == 7
    assert await balance_of(raw) == Decimal("10.00")
    assert all(isinstance(one, Begun | Conflict | Unavailable) for one in begun)


async def test_the_money_must_be_there(rooms: Rooms, payment: Payment, raw: Any) -> None:
    await raw.execute("UPDATE balances SET balance_rub = 49.99, unbooked_rub = -100.01")
    with pytest.raises(InsufficientBalance):
        await begin(rooms, payment)
    assert await raw.fetchval("SELECT count(*) FROM payment_refunds") == 0


async def test_a_crash_after_it_was_begun_is_recovered(desk: Desk, stands: Market, bot: Till, raw: Any) -> None:
    """Nobody asked the processor yet: the job that pursues refunds does, when its time has come."""
    payment = await bought(bot, stands, desk, "yookassa")
    asked = Asked(payment.payment_id, "one", Decimal("50.00"), "asked for")
    async with bot.rooms.of(Database).transaction() as conn:
        await refunding.begin(bot.rooms, conn, asked)
    await raw.execute("UPDATE payment_refunds SET check_at = now()")
    desk.served.operations.jobs.poke("pursue_refunds")

    async def is_given() -> bool:
        return await raw.fetchval("SELECT status FROM payment_refunds") == "succeeded"

    await until(is_given, within=20)
    assert await entries_of(raw) == ONCE
