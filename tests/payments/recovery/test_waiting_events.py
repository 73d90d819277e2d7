"""Events that wait: when they are tried again, what holds them up, and when an operator has to look."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from service.errors import DatabaseAway, Upstream
from service.feature import Rooms
from service.payments.providers import Providers
from service.payments.recovery.waiting_events import apply_waiting_events
from service.payments.settle import Settlement
from tests.payments.money import Noon, balance_of, entries_of, order, paid, refunded, settle
from tests.payments.recovery.shop import FakeShop, cancelled_ever_later, keep, statuses

CREDITED = [("topup", Decimal("150.00"))]


async def test_it_is_applied_when_its_order_is_there(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    """Case 7: the callback was faster than the order."""
    order_id = uuid4()
    report = shop.says(paid(order_id))
    assert (await settle(faked, report)).status == "waiting"
    assert await apply_waiting_events(faked) == {}  # not due yet
    noon.forward(seconds=10)
    assert await apply_waiting_events(faked) == {"waiting": 1}
    await order(raw, payment_id=order_id)
    noon.forward(seconds=11)
    assert await apply_waiting_events(faked) == {"applied": 1}
    assert await entries_of(raw) == CREDITED
    assert await statuses(raw) == ["applied"]
    noon.forward(days=1)
    assert await apply_waiting_events(faked) == {}


async def test_what_waited_for_a_payment_is_applied_in_the_same_run(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    """Case 4: the refund came first, and both before the table of the payments did."""
    order_id = await order(raw)
    await keep(faked, shop.says(refunded()))
    await keep(faked, shop.says(paid(order_id)))
    assert await apply_waiting_events(faked) == {"waiting": 1, "applied": 2}
    assert await balance_of(raw) == Decimal("100.00")


async def test_the_pauses_grow_to_an_hour(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    await keep(faked, shop.says(paid(uuid4())))
    pauses = []
    for attempt in range(1, 14):
        assert await apply_waiting_events(faked) == {"waiting": 1}
        row = await raw.fetchrow("SELECT attempts, due_at FROM payment_events")
        assert row["attempts"] == attempt
        pauses.append((row["due_at"] - noon.now()).total_seconds())
        noon.at = row["due_at"]
    expected = [min(10 * 2**number, 3600) for number in range(13)]
    assert all(0.9 * right <= pause <= max(1.1 * right, 10) for pause, right in zip(pauses, expected, strict=True))


async def test_it_waits_for_three_days(
    faked: Rooms, shop: FakeShop, noon: Noon, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 38: nobody ordered it. Case 14: it does not wait for ever, and keeps its reason."""
    await settle(faked, shop.says(paid(None)))
    noon.forward(hours=71, minutes=59)
    assert await apply_waiting_events(faked) == {"waiting": 1}
    noon.forward(hours=2)
    assert await apply_waiting_events(faked) == {"review": 1}
    row = await raw.fetchrow("SELECT status, reason, finished_at FROM payment_events")
    assert tuple(row) == ("review", "no payment of ours is known by these names", None)
    assert [one.getMessage() for one in caplog.records if one.levelname == "ERROR"] == ["payment to review"]
    noon.forward(days=30)
    assert await apply_waiting_events(faked) == {}


async def test_what_fits_at_the_last_moment_is_applied(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    """However old it is: it is tried before it is given up."""
    report = shop.says(paid(await order(raw)))
    await keep(faked, report)
    noon.forward(days=30)
    assert await apply_waiting_events(faked) == {"applied": 1}
    assert await entries_of(raw) == CREDITED


async def test_poison_does_not_hold_up_the_others(
    faked: Rooms, shop: FakeShop, noon: Noon, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Case 14: whatever reading or settling an event raises is its own matter."""
    unreadable, impossible = shop.says(paid(None)), shop.says(paid(None, effect_key=None))
    shop.said[unreadable.body] = RuntimeError("cannot be read")
    shop.said[impossible.body] = msgspec.structs.replace(
        impossible, event=paid(await order(raw), effect_key=None, delivery_key=impossible.event.delivery_key).event
    )
    for report in (unreadable, impossible, shop.says(paid(await order(raw), "good"))):
        await keep(faked, report)
    assert await apply_waiting_events(faked) == {"failed": 2, "applied": 1}
    assert await statuses(raw) == ["waiting", "waiting", "applied"]
    assert await entries_of(raw) == CREDITED
    assert {one.getMessage() for one in caplog.records} == {"event not applied"}
    noon.forward(hours=73)
    assert await apply_waiting_events(faked) == {"review": 2}
    reasons = await raw.fetch("SELECT reason FROM payment_events WHERE status = 'review' ORDER BY id")
    assert [row["reason"] for row in reasons] == ["RuntimeError", "AssertionError"]


async def test_a_processor_that_is_not_configured_any_more(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    """Its events are not even tried: they wait for its keys, however long."""
    await keep(faked, shop.says(paid(await order(raw))))
    noon.forward(days=30)
    assert await apply_waiting_events(faked.with_({Providers: Providers([])})) == {}
    assert await raw.fetchval("SELECT attempts FROM payment_events") == 0
    assert await apply_waiting_events(faked) == {"applied": 1}


async def test_a_hint_is_confirmed_first(faked: Rooms, noon: Noon, raw: Any) -> None:
    """Case 13: what was stored while YooKassa's API was away counts only on its own word."""
    shop = FakeShop(asks_back=True)
    rooms = faked.with_({Providers: Providers([shop])})
    hint = shop.says(paid(await order(raw)))
    await keep(rooms, hint)
    assert await apply_waiting_events(rooms) == {"waiting": 1}
    assert await entries_of(raw) == []
    noon.forward(seconds=11)
    shop.answers["confirm"] = hint
    assert await apply_waiting_events(rooms) == {"applied": 1}
    assert await entries_of(raw) == CREDITED


async def test_a_hint_that_is_not_true_leaves_room_for_the_truth(faked: Rooms, raw: Any) -> None:
    """Case 17: somebody said too early that it was paid; when it is, the same words must still count."""
    shop = FakeShop(asks_back=True)
    rooms = faked.with_({Providers: Providers([shop])})
    order_id = await order(raw)
    hint = shop.says(paid(order_id, delivery_key="payment.succeeded:p1"))
    await keep(rooms, hint)
    shop.answers["confirm"] = paid(order_id, change="nothing", delivery_key="payment.pending:p1", effect_key=None)
    assert await apply_waiting_events(rooms) == {"ignored": 1}
    keys = await raw.fetch("SELECT delivery_key, status FROM payment_events")
    assert [tuple(row) for row in keys] == [("payment.pending:p1", "ignored")]
    assert (await settle(rooms, hint)).status == "applied"
    assert await entries_of(raw) == CREDITED


async def test_a_processor_that_does_not_answer_is_asked_little(faked: Rooms, raw: Any) -> None:
    shop = FakeShop(asks_back=True)
    rooms = faked.with_({Providers: Providers([shop])})
    for number in range(10):
        await keep(rooms, shop.says(paid(await order(raw), f"p{number}")))
    assert await apply_waiting_events(rooms) == {"waiting": 10}
    assert shop.asked == ["confirm", "confirm"]


async def test_a_processor_that_asks_for_a_pause_gets_it(faked: Rooms, raw: Any) -> None:
    shop = FakeShop(asks_back=True)
    shop.answers["confirm"] = Upstream("429", retry_after=30)
    rooms = faked.with_({Providers: Providers([shop])})
    for number in range(3):
        await keep(rooms, shop.says(paid(await order(raw), f"p{number}")))
    assert await apply_waiting_events(rooms) == {"waiting": 3}
    assert shop.asked == ["confirm"]


async def test_two_instances_at_once(faked: Rooms, shop: FakeShop, raw: Any) -> None:
    """Case 15: each event is claimed once."""
    for number in range(60):
        await keep(faked, shop.says(paid(await order(raw), f"p{number}")))
    runs = await asyncio.gather(*(apply_waiting_events(faked) for _ in range(4)))
    assert sum(run.get("applied", 0) for run in runs) == 60
    assert await raw.fetchval("SELECT max(attempts) FROM payment_events") == 1
    assert await balance_of(raw) == 60 * Decimal("150.00")


async def test_a_database_that_goes_away_is_no_events_fault(
    faked: Rooms, shop: FakeShop, raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(Settlement):
        async def settle(self, *_: Any) -> Any:
            raise DatabaseAway

    await keep(faked, shop.says(paid(await order(raw))))
    with pytest.raises(DatabaseAway):
        await apply_waiting_events(faked.with_({Settlement: Away()}))
    assert not caplog.records
    assert await statuses(raw) == ["waiting"]


async def test_a_clock_that_jumps_back(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    """Case 16: an event from our future waits until then, and is applied once."""
    noon.forward(hours=1)
    await keep(faked, shop.says(paid(await order(raw))))
    noon.forward(hours=-1)
    assert await apply_waiting_events(faked) == {}
    noon.forward(hours=1)
    assert await apply_waiting_events(faked) == {"applied": 1}
    assert await entries_of(raw) == CREDITED


async def test_killed_at_any_moment_it_is_applied_once(faked: Rooms, shop: FakeShop, noon: Noon, raw: Any) -> None:
    """Case 10: a run that is cancelled a little later each time, until one ends by itself, leaves nothing half done."""
    await keep(faked, shop.says(paid(await order(raw))))
    cancelled = await cancelled_ever_later(lambda: apply_waiting_events(faked), noon, raw)
    assert cancelled > 5
    noon.forward(hours=2)
    await apply_waiting_events(faked)
    assert await entries_of(raw) == CREDITED
    assert await statuses(raw) == ["applied"]
