"""Open orders: answers that were lost, callbacks that never came, and how long a processor is asked."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from service.errors import Upstream
from service.feature import Rooms
from service.payments.event import Payment
from service.payments.providers import Providers
from service.payments.providers.provider import Created
from service.payments.recovery.open_orders import settle_open_orders
from tests.e2e.processors import PRICES, Market, Till
from tests.payments.money import Noon, balance_of, entries_of, order, paid
from tests.payments.recovery.shop import FakeShop, Moving, cancelled_ever_later, status_of

NAMES = ("yookassa", "stripe", "polar")
CREATE = {
    "yookassa": "yookassa POST /payments",
    "stripe": "stripe POST /v1/checkout/sessions",
    "polar": "polar POST /v1/checkouts",
}
DUE = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def open_order(raw: Any, **columns: Any) -> UUID:
    """Ordered at noon, and to be asked about since then."""
    row = {"created_at": DUE, "check_at": DUE, "expires_at": DUE + timedelta(hours=24)}
    return await order(raw, **{**row, **columns})


async def left_creating(till: Till, stands: Market, provider: str, *, after: bool) -> None:
    """An order whose answer from the processor never came; `after`: it was made there."""
    stands.processors.faults.drop(CREATE[provider], after=after)
    with pytest.raises(Upstream):
        await till.order(provider)


@pytest.mark.parametrize("after", [False, True], ids=["not made", "made"])
@pytest.mark.parametrize("provider", NAMES)
async def test_an_answer_that_was_lost_is_asked_for_again(
    rooms: Rooms, till: Till, stands: Market, clock: Moving, raw: Any, provider: str, after: bool
) -> None:
    """With the same key, so that there is one payment at the processor, and it can be paid."""
    await left_creating(till, stands, provider, after=after)
    assert await settle_open_orders(rooms) == {}  # whoever ordered it may still be waiting for the answer
    clock.forward(seconds=61)
    assert await settle_open_orders(rooms) == {"made": 1}
    row = await raw.fetchrow("SELECT status, provider_payment_id, pay_url FROM payments")
    assert row["status"] == "pending"
    assert row["pay_url"]
    made = {
        "yookassa": stands.processors.yookassa.payments,
        "stripe": stands.processors.stripe.sessions,
        "polar": {} if after else stands.processors.polar.checkouts,  # Polar knows no keys: the second is the link
    }[provider]
    assert provider == "polar" or list(made) == [row["provider_payment_id"]]
    getattr(stands.processors, provider).pay(row["provider_payment_id"])
    clock.forward(minutes=6)
    assert await settle_open_orders(rooms) == {"settled": 1}
    assert await entries_of(raw) == [("topup", PRICES[provider][1])]


@pytest.mark.parametrize("provider", NAMES)
async def test_a_callback_that_never_came(
    rooms: Rooms, till: Till, stands: Market, clock: Moving, raw: Any, provider: str
) -> None:
    """It was paid, and nobody told us: the processor is asked five minutes after the order."""
    payment = await till.order(provider)
    stands.pay(payment)
    clock.forward(minutes=4)
    assert await settle_open_orders(rooms) == {}
    clock.forward(minutes=2)
    assert await settle_open_orders(rooms) == {"settled": 1}
    assert await entries_of(raw) == [("topup", PRICES[provider][1])]
    clock.forward(days=1)
    assert await settle_open_orders(rooms) == {}


async def test_what_was_put_aside_is_taken(rooms: Rooms, till: Till, stands: Market, clock: Moving, raw: Any) -> None:
    """Two-step payments: authorized, told by nobody, captured by us."""
    payment = await till.order("yookassa")
    there = stands.processors.yookassa.payments[payment.provider_payment_id]
    there["status"], there["paid"] = "waiting_for_capture", True
    clock.forward(minutes=6)
    assert await settle_open_orders(rooms) == {"settled": 2}  # that it is put aside, and that it is ours
    assert await status_of(raw, payment.payment_id) == "succeeded"
    assert await balance_of(raw) == Decimal("150.00")
    assert stands.processors.calls.of("yookassa POST /payments/{id}/capture")


async def test_a_payment_that_was_canceled(rooms: Rooms, till: Till, stands: Market, clock: Moving, raw: Any) -> None:
    payment = await till.order("yookassa")
    stands.processors.yookassa.cancel(payment.provider_payment_id)
    clock.forward(minutes=6)
    assert await settle_open_orders(rooms) == {"settled": 1}
    assert await status_of(raw, payment.payment_id) == "canceled"
    assert await entries_of(raw) == []


async def test_a_capture_whose_answer_was_lost(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    """The processor refuses the second one for good: what it says of the payment counts."""
    payment_id = await open_order(raw, status="waiting_for_capture")
    shop.answers |= {"capture": Upstream("no answer"), "look_up": [paid(payment_id)]}
    assert await settle_open_orders(faked) == {"unanswered": 1}
    shop.answers["capture"] = Upstream("captured already", permanent=True)
    noon.forward(minutes=6)
    assert await settle_open_orders(faked) == {"settled": 1}
    assert await balance_of(raw) == Decimal("150.00")


async def test_a_refusal_for_good(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    payment_id = await open_order(raw, status="creating")
    shop.answers["create"] = Upstream("400 invalid_request", permanent=True)
    assert await settle_open_orders(faked) == {"canceled": 1}
    assert await status_of(raw, payment_id) == "canceled"


async def test_no_second_payment_is_made_once_the_key_may_be_forgotten(
    faked: Rooms, shop: FakeShop, noon: Noon, raw: Any
) -> None:
    payment_id = await open_order(raw, status="creating")
    noon.forward(hours=23, minutes=59)
    assert await settle_open_orders(faked) == {"unanswered": 1}
    noon.forward(hours=2)
    assert await settle_open_orders(faked) == {"expired": 1}
    assert shop.asked == ["create"]
    assert await status_of(raw, payment_id) == "expired"


async def test_the_pauses_grow_to_an_hour(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    await open_order(raw)
    shop.answers["look_up"] = []
    pauses = []
    for _ in range(6):
        assert await settle_open_orders(faked) == {"asked": 1}
        due_at = await raw.fetchval("SELECT check_at FROM payments")
        pauses.append((due_at - noon.now()).total_seconds() / 60)
        noon.at = due_at
    for pause, expected in zip(pauses, (5, 10, 20, 40, 60, 60), strict=True):
        assert 0.9 * expected <= pause <= 1.1 * expected


async def test_it_expires_on_the_processors_word_alone(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    payment_id = await open_order(raw)
    noon.forward(hours=24, minutes=59)
    shop.answers["look_up"] = []
    assert await settle_open_orders(faked) == {"asked": 1}  # there is some grace
    del shop.answers["look_up"]
    noon.forward(hours=2)
    assert await settle_open_orders(faked) == {"unanswered": 1}
    assert await status_of(raw, payment_id) == "pending"
    shop.answers["look_up"] = []
    noon.forward(hours=2)
    assert await settle_open_orders(faked) == {"expired": 1}
    assert await status_of(raw, payment_id) == "expired"


async def test_paid_at_the_last_moment(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    payment_id = await open_order(raw)
    noon.forward(hours=26)
    shop.answers["look_up"] = [paid(payment_id)]
    assert await settle_open_orders(faked) == {"settled": 1}
    assert await balance_of(raw) == Decimal("150.00")


async def test_after_three_days_it_is_left_to_operators(
    faked: Rooms, shop: FakeShop, noon: Noon, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    payment_id = await open_order(raw, status="waiting_for_capture")
    noon.forward(hours=72)
    assert await settle_open_orders(faked) == {"left": 1}
    assert await status_of(raw, payment_id) == "waiting_for_capture"
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == ["order left open"]
    noon.forward(days=30)
    assert await settle_open_orders(faked) == {}


async def test_poison_does_not_hold_up_the_others(
    faked: Rooms, shop: FakeShop, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 14, for orders."""
    await open_order(raw, created_at=DUE - timedelta(minutes=1))
    good = await open_order(raw)

    class Poisoned(FakeShop):
        async def look_up(self, payment: Payment) -> Any:
            return [paid(good)] if payment.payment_id == good else [None]

    assert await settle_open_orders(faked.with_({Providers: Providers([Poisoned()])})) == {"failed": 1, "settled": 1}
    assert [one.getMessage() for one in caplog.records] == ["order not followed"]


async def test_a_run_is_bounded_and_goes_on_in_the_next(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    for _ in range(61):
        await open_order(raw)
    shop.answers["look_up"] = []
    assert await settle_open_orders(faked) == {"asked": 50}
    assert await settle_open_orders(faked) == {"asked": 11}


@pytest.mark.parametrize(
    ("error", "calls"), [(Upstream("not reached"), 2), (Upstream("429", retry_after=5.0), 1)], ids=["dead", "busy"]
)
async def test_a_processor_that_cannot_be_asked_is_left_alone(
    faked: Rooms, shop: FakeShop, raw: Any, error: Upstream, calls: int
) -> None:
    """And the orders at another one are not held up by it; those that nobody claimed are due in the next run."""
    other = FakeShop("stripe")
    other.answers["look_up"], shop.answers["look_up"] = [], error
    for _ in range(30):
        await open_order(raw)
    await open_order(raw, provider="stripe", check_at=DUE - timedelta(seconds=1))
    rooms = faked.with_({Providers: Providers([shop, other])})
    assert await settle_open_orders(rooms) == {"unanswered": 9, "asked": 1}
    assert len(shop.asked) == calls
    assert await raw.fetchval("SELECT count(*) FROM payments WHERE check_at = $1", DUE) == 21


async def test_a_processor_that_is_not_configured_any_more(faked: Rooms, noon: Noon, raw: Any) -> None:
    await open_order(raw)
    noon.forward(days=9)
    assert await settle_open_orders(faked.with_({Providers: Providers([])})) == {}
    assert await raw.fetchval("SELECT checks FROM payments") == 0


async def test_two_instances_at_once(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    """Case 15: each order is asked about once."""
    for _ in range(40):
        await open_order(raw)
    shop.answers["look_up"] = []
    runs = await asyncio.gather(*(settle_open_orders(faked) for _ in range(3)))
    assert sum(run.get("asked", 0) for run in runs) == len(shop.asked) == 40


async def test_no_transaction_is_open_while_a_processor_is_asked(faked: Rooms, raw: Any) -> None:
    """Case 11's other side: a slow processor must not hold a row."""
    seen = []

    class Slow(FakeShop):
        async def look_up(self, payment: Payment) -> Any:
            query = """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
            """
            seen.append(await raw.fetchval(query))
            return []

        async def create(self, payment: Payment, **_: Any) -> Created:
            await self.look_up(payment)
            return Created("p1", "https://example.org")

    await open_order(raw)
    await open_order(raw, status="creating")
    assert await settle_open_orders(faked.with_({Providers: Providers([Slow()])})) == {"asked": 1, "made": 1}
    assert seen == [0, 0]


async def test_killed_at_any_moment_it_is_credited_once(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    """Case 10: a run that is cancelled a little later each time, until one ends by itself."""
    payment_id = await open_order(raw, status="creating", expires_at=DUE + timedelta(days=365))
    await raw.execute("UPDATE payments SET created_at = now() + interval '300 days'")
    shop.answers |= {"create": Created("p1", "https://example.org"), "look_up": [paid(payment_id)]}
    assert await cancelled_ever_later(lambda: settle_open_orders(faked), noon, raw) > 2
    noon.forward(hours=2)
    assert await cancelled_ever_later(lambda: settle_open_orders(faked), noon, raw) >= 0
    noon.forward(hours=2)
    await settle_open_orders(faked)
    assert await entries_of(raw) == [("topup", Decimal("150.00"))]
