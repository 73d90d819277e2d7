"""The processors' lists: money that nobody told us of, and money that is none of ours."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from service.errors import Upstream
from service.feature import Rooms
from service.payments.providers import Providers
from service.payments.recovery.missed_payments import Positions, find_missed_payments
from service.payments.recovery.waiting_events import apply_waiting_events
from tests.e2e.processors import PRICES, Market, Till
from tests.payments.money import Noon, balance_of, entries_of, order, paid, refunded, settle
from tests.payments.recovery.shop import FakeShop, Moving, statuses

NAMES = ("yookassa", "stripe", "polar")


def found(counts: Any) -> dict[str, int]:
    """What was news, without what was not."""
    return {result: count for result, count in counts.items() if count}


@pytest.mark.parametrize("provider", NAMES)
async def test_it_is_found_and_credited_once(rooms: Rooms, till: Till, stands: Market, raw: Any, provider: str) -> None:
    """No callback came, and nobody asked about the order yet. When the callback comes after all, it is a repeat."""
    stands.pay(await till.order(provider))
    assert found(await find_missed_payments(rooms)) == {"found": 1}
    assert await entries_of(raw) == [("topup", PRICES[provider][1])]
    assert found(await find_missed_payments(rooms)) == {}
    for callback in stands.processors.held:
        await settle(rooms, rooms.of(Providers).get(provider).parse(callback.body))
    assert await entries_of(raw) == [("topup", PRICES[provider][1])]


@pytest.mark.parametrize("provider", NAMES)
async def test_an_order_that_had_expired_here_is_found_too(
    rooms: Rooms, till: Till, stands: Market, raw: Any, provider: str
) -> None:
    """Money that did arrive counts, whatever was thought before."""
    payment = await till.order(provider)
    await raw.execute("UPDATE payments SET status = 'expired'")
    stands.pay(payment)
    assert found(await find_missed_payments(rooms)) == {"found": 1}
    assert await balance_of(raw) == PRICES[provider][1]


async def test_a_refund_that_was_made_at_the_processors_pages(
    rooms: Rooms, till: Till, stands: Market, raw: Any
) -> None:
    """Found together with its payment: a list may have the refund first."""
    payment = await till.order("stripe")
    stands.pay(payment)
    session = stands.processors.stripe.sessions[payment.provider_payment_id]
    async with aiohttp.ClientSession() as http:
        headers = {"Authorization": "Bearer sk_test_sandbox"}
        asked = {"payment_intent": session["payment_intent"], "amount": "500"}
        async with http.post(f"{stands.base}/stripe/v1/refunds", data=asked, headers=headers) as response:
            assert response.status == 200, await response.text()
    counts = found(await find_missed_payments(rooms))
    assert counts["found"] >= 2
    await apply_waiting_events(rooms)
    assert await balance_of(raw) == Decimal("0.00")


async def test_a_refund_before_its_payment_in_the_list(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    order_id = await order(raw)
    shop.answers["listed"] = [shop.says(refunded()), shop.says(paid(order_id))]
    assert found(await find_missed_payments(faked)) == {"found": 2}
    assert await balance_of(raw) == Decimal("100.00")


async def test_other_softwares_money_is_left_alone(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    """The shop may be shared: what names neither an order nor a payment of ours is not even stored."""
    shop.answers["listed"] = [shop.says(paid(None, f"other{number}")) for number in range(50)]
    assert found(await find_missed_payments(faked)) == {}
    assert await statuses(raw) == []


async def test_an_order_of_ours_that_is_not_there_is_kept(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    """It has our mark: operators will see it, should it never fit."""
    shop.answers["listed"] = [shop.says(paid(uuid4()))]
    assert found(await find_missed_payments(faked)) == {"waiting": 1}
    assert found(await find_missed_payments(faked)) == {}
    assert await statuses(raw) == ["waiting"]


async def test_stars_of_an_unknown_order_are_kept(faked: Rooms, raw: Any) -> None:
    """Case 38: a bot's Stars are nobody else's."""
    stars = FakeShop("telegram")
    report = paid(None, "s1", provider="telegram", references=(("telegram", "s1"),))
    stars.answers["listed"] = [stars.says(report)]
    assert found(await find_missed_payments(faked.with_({Providers: Providers([stars])}))) == {"waiting": 1}


async def test_another_amount_than_was_ordered(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    """Case 37: found, and for operators."""
    shop.answers["listed"] = [shop.says(paid(await order(raw, amount=Decimal("200.00"))))]
    assert found(await find_missed_payments(faked)) == {"review": 1}
    assert found(await find_missed_payments(faked)) == {}
    assert await entries_of(raw) == []


async def test_how_far_back_it_looks(faked: Rooms, shop: FakeShop, noon: Noon) -> None:
    """Two days at first, then from the last whole list on; a list that broke off is read again."""
    start = noon.now()
    shop.answers["listed"] = []
    await find_missed_payments(faked)
    noon.forward(minutes=10)
    shop.answers["listed"] = [Upstream("broke off")]
    assert found(await find_missed_payments(faked)) == {"unanswered": 1}
    noon.forward(minutes=10)
    shop.answers["listed"] = []
    await find_missed_payments(faked)
    noon.forward(hours=-5)  # case 16: the clock was wrong
    await find_missed_payments(faked)
    hour = timedelta(hours=1)
    assert shop.sinces == [start - 48 * hour, start - hour, start - hour, noon.now() - hour]


async def test_what_broke_off_is_found_the_next_time(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    report = shop.says(paid(await order(raw)))
    shop.answers["listed"] = [Upstream("broke off"), report]
    assert found(await find_missed_payments(faked)) == {"unanswered": 1}
    shop.answers["listed"] = [report]
    assert found(await find_missed_payments(faked)) == {"found": 1}


async def test_a_processor_that_does_not_answer_hides_no_other(
    faked: Rooms, shop: FakeShop, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No warning for silence, one for a key that is refused."""
    caplog.set_level("INFO")
    other, refused = FakeShop("stripe"), FakeShop("polar")
    other.answers["listed"] = [other.says(paid(await order(raw)))]
    refused.answers["listed"] = Upstream("401", permanent=True)
    rooms = faked.with_({Providers: Providers([shop, other, refused])})
    assert found(await find_missed_payments(rooms)) == {"unanswered": 2, "found": 1}
    told = [(one.levelname, one.getMessage()) for one in caplog.records]
    assert told.count(("INFO", "list not read")) == told.count(("WARNING", "list not read")) == 1


async def test_poison_hides_no_other(
    faked: Rooms, shop: FakeShop, noon: Noon, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 14: it is kept among what waits, and the list counts as read."""
    poison = shop.says(paid(await order(raw), "bad", effect_key=None))
    shop.answers["listed"] = [poison, shop.says(paid(await order(raw), "good"))]
    assert found(await find_missed_payments(faked)) == {"failed": 1, "found": 1}
    assert await statuses(raw) == ["waiting", "applied"]
    assert {one.getMessage() for one in caplog.records} == {"event not applied"}
    shop.answers["listed"] = []
    await find_missed_payments(faked)
    assert shop.sinces[1] == noon.now() - timedelta(hours=1)


async def test_a_known_one_costs_a_statement_that_writes_nothing(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    shop.answers["listed"] = [shop.says(paid(await order(raw)))]
    for _ in range(3):
        await find_missed_payments(faked)
    assert await raw.fetchval("SELECT deliveries FROM payment_events") == 1


async def test_two_instances_at_once(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    """Case 15: both read the same list, and each payment is credited once."""
    shop.answers["listed"] = [shop.says(paid(await order(raw), f"p{number}")) for number in range(20)]
    rooms = [faked.with_({Positions: Positions()}) for _ in range(3)]
    runs = await asyncio.gather(*(find_missed_payments(one) for one in rooms))
    assert sum(run["found"] for run in runs) == 20
    assert await balance_of(raw) == 20 * Decimal("150.00")


async def test_a_new_process_looks_back_two_days(
    rooms: Rooms, till: Till, stands: Market, clock: Moving, raw: Any
) -> None:
    """We were down while it was paid, and for a day after."""
    stands.pay(await till.order("yookassa"))
    clock.forward(hours=36)
    assert found(await find_missed_payments(rooms.with_({Positions: Positions()}))) == {"found": 1}
