"""Refunds whose end is not known: asked for again where the answer was lost, asked about where they are under way."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.errors import Upstream
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.payments import orders
from service.payments.event import Payment
from service.payments.operators import refunding
from service.payments.providers import Providers
from service.payments.recovery.missed_payments import find_missed_payments
from service.payments.recovery.open_refunds import pursue_refunds
from tests.e2e.processors import Market, Till
from tests.payments.money import Noon, balance_of, order, paid, refunded, settle
from tests.payments.recovery.shop import FakeShop, Moving, statuses

NAMES = ("yookassa", "stripe", "polar")
REFUND = {"yookassa": "yookassa POST /refunds", "stripe": "stripe POST /v1/refunds", "polar": "polar POST /v1/refunds"}


async def begun(rooms: Rooms, payment_id: UUID, amount: str | None = None, key: str = "one") -> UUID:
    """An operator's refund as a crash leaves it, before the processor was asked."""
    asked = refunding.Asked(payment_id, key, Decimal(amount) if amount else None, "asked for")
    async with rooms.of(Database).transaction() as conn:
        return (await refunding.begin(rooms, conn, asked)).refund.refund_id


async def paid_order(rooms: Rooms, raw: Any, reference: str = "p1") -> UUID:
    payment_id = await order(raw, created_at=rooms.of(Clock).now())
    await settle(rooms, paid(payment_id, reference))
    return payment_id


async def heard_of(rooms: Rooms, raw: Any, **fields: Any) -> None:
    """A refund that somebody began at the processor's own pages, and that takes its time."""
    await paid_order(rooms, raw)
    await settle(rooms, refunded(change="refund_pending", **fields))
    await raw.execute("UPDATE payment_refunds SET created_at = $1, check_at = $1", rooms.of(Clock).now())


@pytest.mark.parametrize("after", [False, True], ids=["not given", "given"])
@pytest.mark.parametrize("provider", NAMES)
async def test_an_answer_that_was_lost(
    rooms: Rooms, till: Till, stands: Market, clock: Moving, raw: Any, provider: str, after: bool
) -> None:
    """Case 42: asked for again with the same key, it is given once."""
    payment = await till.order(provider)
    stands.pay(payment)
    await find_missed_payments(rooms)
    stands.processors.faults.drop(REFUND[provider], after=after)
    refund_id = await begun(rooms, payment.payment_id)
    async with rooms.of(Database).acquire() as conn:
        current: Payment = await orders.get(conn, payment.payment_id)
    with pytest.raises(Upstream):
        await rooms.of(Providers).get(provider).refund(await _refund(rooms, refund_id), current)
    assert await pursue_refunds(rooms) == {}  # whoever asked for it may be at work
    clock.forward(minutes=2)
    assert await pursue_refunds(rooms) in ({"settled": 1}, {"asked": 1})
    if await statuses(raw, "payment_refunds") == ["pending"]:
        clock.forward(minutes=6)
        assert await pursue_refunds(rooms) == {"settled": 1}
    assert len(getattr(stands.processors, provider).refunds) == 1
    assert await balance_of(raw) == Decimal("0.00")


async def _refund(rooms: Rooms, refund_id: UUID) -> Any:
    async with rooms.of(Database).acquire() as conn:
        return await refunding._get_refund(conn, refund_id=refund_id)


async def test_one_that_is_not_ours_is_asked_about_and_never_asked_for(
    faked: Rooms, shop: FakeShop, noon: Noon, raw: Any
) -> None:
    """Asking for it would give the money back twice."""
    await heard_of(faked, raw)
    shop.answers["look_up"] = []
    noon.forward(minutes=1)
    assert await pursue_refunds(faked) == {"asked": 1}
    shop.answers["look_up"] = [refunded()]
    noon.forward(minutes=6)
    assert await pursue_refunds(faked) == {"settled": 1}
    assert set(shop.asked) == {"look_up"}
    assert await balance_of(raw) == Decimal("100.00")


async def test_a_refusal_gives_the_roubles_back(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    await begun(faked, await paid_order(faked, raw))
    assert await balance_of(raw) == Decimal("0.00")
    shop.answers |= {"refund": Upstream("too late", permanent=True), "look_up": []}
    noon.forward(minutes=2)
    assert await pursue_refunds(faked) == {"refused": 1}
    assert await balance_of(raw) == Decimal("150.00")
    assert await statuses(raw, "payment_refunds") == ["failed"]


async def test_after_three_days_it_is_left_to_operators(
    faked: Rooms, shop: FakeShop, noon: Noon, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The roubles stay put aside: nobody knows whether they were given."""
    await begun(faked, await paid_order(faked, raw))
    noon.forward(hours=71)
    assert await pursue_refunds(faked) == {"unanswered": 1}
    noon.forward(hours=2)
    assert await pursue_refunds(faked) == {"left": 1}
    assert await statuses(raw, "payment_refunds") == ["requested"]
    assert await balance_of(raw) == Decimal("0.00")
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == ["refund left open"]
    noon.forward(days=30)
    assert await pursue_refunds(faked) == {}


async def test_a_dispute_is_not_asked_about(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    await heard_of(faked, raw, refund_kind="dispute")
    noon.forward(days=1)
    assert await pursue_refunds(faked) == {}


async def test_a_processor_that_does_not_answer_is_asked_little(
    faked: Rooms, shop: FakeShop, noon: Noon, raw: Any
) -> None:
    for number in range(5):
        await begun(faked, await paid_order(faked, raw, f"p{number}"))
    noon.forward(minutes=2)
    assert await pursue_refunds(faked) == {"unanswered": 5}
    assert shop.asked == ["refund", "refund"]


async def test_poison_does_not_hold_up_the_others(
    faked: Rooms, shop: FakeShop, noon: Noon, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 14, for refunds."""
    first = await begun(faked, await paid_order(faked, raw, "p1"))
    noon.forward(seconds=1)
    second = await begun(faked, await paid_order(faked, raw, "p2"))
    fine = refunded("p2", "r2", "150.00", request_id=second)
    shop.answers["refund"] = [RuntimeError(first), fine]
    noon.forward(minutes=2)
    assert await pursue_refunds(faked) == {"failed": 1, "settled": 1}
    assert [one.getMessage() for one in caplog.records] == ["refund not followed"]


async def test_two_instances_at_once(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    """Case 15: each refund is asked for once."""
    refund_id = await begun(faked, await paid_order(faked, raw))
    shop.answers["refund"] = refunded(refund=str(uuid4()), amount="150.00", request_id=refund_id)
    noon.forward(minutes=2)
    runs = await asyncio.gather(*(pursue_refunds(faked) for _ in range(4)))
    assert [run for run in runs if run] == [{"settled": 1}]
    assert shop.asked == ["refund"]
