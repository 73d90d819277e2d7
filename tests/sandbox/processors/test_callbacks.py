"""Callbacks are sent until they are acknowledged, or held for a test to deliver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from service.sandbox.processors import resend_after
from tests.sandbox.processors.shop import CHECKOUT, PAYMENT, SESSION, Got, Shop, opened
from tests.sandbox.world import until


async def buy(shop: Shop) -> None:
    """One payment with each processor: seven callbacks."""
    shop.processors.yookassa.pay((await shop.yookassa("POST", "/payments", PAYMENT))["id"])
    shop.processors.stripe.pay((await shop.stripe("POST", "/v1/checkout/sessions", SESSION))["id"])
    shop.processors.polar.pay((await shop.polar("POST", "/v1/checkouts", CHECKOUT))["id"])


def times(count: int, status: int) -> Callable[[Got], int]:
    """Answer each body with `status` for so many times, and then with 200."""
    seen: dict[bytes, int] = {}

    def react(got: Got) -> int:
        seen[got.body] = seen.get(got.body, 0) + 1
        return status if seen[got.body] <= count else 200

    return react


async def test_each_goes_to_its_own_door(shop: Shop) -> None:
    await buy(shop)
    await shop.processors.settled()
    paths = sorted(got.path for got in shop.got)
    assert paths == ["/payments/polar"] * 3 + ["/payments/stripe"] * 3 + ["/payments/yookassa"]
    assert all(callback.acknowledged for callback in shop.processors.callbacks)


@pytest.mark.parametrize("status", [500, 503, 302, 404])
async def test_what_is_not_acknowledged_is_sent_again(shop: Shop, status: int) -> None:
    shop.react = times(2, status)
    await buy(shop)
    await shop.processors.settled()
    assert [len(callback.attempts) for callback in shop.processors.callbacks] == [3] * 7
    assert [one.status for one in shop.processors.callbacks[0].attempts] == [status, status, 200]


async def test_only_yookassa_wants_exactly_200(shop: Shop) -> None:
    shop.react = times(1, 204)
    await buy(shop)
    await shop.processors.settled()
    assert [len(callback.attempts) for callback in shop.processors.callbacks] == [2, 1, 1, 1, 1, 1, 1]


async def test_an_attempt_is_signed_afresh_and_keeps_its_id(shop: Shop) -> None:
    def react(got: Got) -> int:
        shop.clock.now += 60
        return 503 if len(shop.got) < 12 else 200

    shop.react = react
    await buy(shop)
    await shop.processors.settled()
    for path, header, same in (
        ("/payments/stripe", "Stripe-Signature", False),
        ("/payments/polar", "webhook-signature", False),
        ("/payments/polar", "webhook-id", True),
    ):
        first = next(got for got in shop.got if got.path == path)
        values = [got.headers[header] for got in shop.got if got.body == first.body]
        assert len(values) > 1
        assert len(set(values)) == (1 if same else len(values))


async def test_a_shop_that_is_away_is_tried_again(shop: Shop) -> None:
    address, shop.address = shop.address, "http://127.0.0.1:1"
    await buy(shop)
    callback = shop.processors.callbacks[0]
    await until(lambda: len(callback.attempts) > 1)
    assert (callback.attempts[0].status, callback.attempts[0].why) == (0, "connection refused")
    shop.address = address
    await shop.processors.settled()
    assert callback.acknowledged


async def test_a_callback_is_given_up() -> None:
    async with opened(schedule=lambda failures: 0.0 if failures < 3 else None) as shop:
        shop.react = lambda got: 500
        await buy(shop)
        await shop.processors.settled()
        assert {len(callback.attempts) for callback in shop.processors.callbacks} == {3}
        assert {(one.acknowledged, one.given_up) for one in shop.processors.callbacks} == {(False, True)}


async def test_pending_is_what_waits_to_be_sent_again() -> None:
    async with opened(schedule=lambda failures: 3600.0) as shop:
        shop.react = lambda got: 200 if got.path == "/payments/stripe" else 503
        await buy(shop)
        await until(lambda: len(shop.processors.pending) == 4 and all(one.attempts for one in shop.processors.pending))
        assert {callback.processor for callback in shop.processors.pending} == {"yookassa", "polar"}
        with pytest.raises(TimeoutError):
            await shop.processors.settled(0.01)


async def test_a_test_delivers_what_is_held(shop: Shop) -> None:
    shop.processors.hold()
    await buy(shop)
    assert (len(shop.processors.held), shop.processors.pending, shop.got) == (7, [], [])
    last, first = shop.processors.held[-1], shop.processors.held[0]
    assert [await shop.processors.deliver(one) for one in (last, first, last)] == [200, 200, 200]
    assert [got.body for got in shop.got] == [last.body, first.body, last.body]
    assert (last.path, last.headers()["webhook-id"]) == ("/payments/polar", last.id)
    shop.processors.release()
    await shop.processors.settled()
    assert len(shop.got) == 3 + 5
    assert shop.processors.held == []


async def test_deliveries_may_be_parallel(shop: Shop) -> None:
    shop.processors.hold()
    await buy(shop)
    statuses = await asyncio.gather(*[shop.processors.deliver(one) for one in shop.processors.held * 5])
    assert statuses == [200] * 35


def test_the_seconds_double_up_to_a_minute_for_a_day() -> None:
    waits = [resend_after(failures) for failures in range(1, 1441)]
    assert waits[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert waits[-1] is None
    assert 85_000 < sum(wait or 0 for wait in waits) < 87_000
