"""Faults on purpose: before the work, and after it, when only the answer is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.sandbox.processors.shop import CHECKOUT, PAYMENT, SESSION, Shop
from tests.sandbox.world import until

SESSIONS = "/v1/checkout/sessions"


async def create(shop: Shop, processor: str) -> Any:
    if processor == "yookassa":
        return await shop.yookassa("POST", "/payments", PAYMENT, key="k")
    if processor == "stripe":
        return await shop.stripe("POST", SESSIONS, SESSION, key="k")
    return await shop.polar("POST", "/v1/checkouts", CHECKOUT)


OPERATIONS = {
    "yookassa": "yookassa POST /payments",
    "stripe": f"stripe POST {SESSIONS}",
    "polar": "polar POST /v1/checkouts",
}
ALL = pytest.mark.parametrize("processor", OPERATIONS)


def made(shop: Shop, processor: str) -> int:
    emulators = shop.processors
    return len(
        {"yookassa": emulators.yookassa.payments, "stripe": emulators.stripe.sessions}.get(
            processor, emulators.polar.checkouts
        )
    )


@ALL
@pytest.mark.parametrize("after", [False, True])
async def test_a_500_says_nothing_about_the_work(shop: Shop, processor: str, after: bool) -> None:
    shop.processors.faults.fail(OPERATIONS[processor], after=after)
    assert (await create(shop, processor)).status == 500
    assert made(shop, processor) == after


@ALL
async def test_too_many_requests(shop: Shop, processor: str) -> None:
    shop.processors.faults.flood("*", times=2)
    assert [(await create(shop, processor)).status for _ in range(3)][:2] == [429, 429]
    assert made(shop, processor) == 1


@ALL
@pytest.mark.parametrize("after", [False, True])
async def test_a_connection_breaks(shop: Shop, processor: str, after: bool) -> None:
    shop.processors.faults.drop(OPERATIONS[processor], after=after)
    with pytest.raises(aiohttp.ClientError):
        await create(shop, processor)
    assert made(shop, processor) == after
    assert [call.status for call in shop.processors.calls.of(OPERATIONS[processor])] == [0]


@ALL
@pytest.mark.parametrize("after", [False, True])
async def test_an_answer_never_comes(shop: Shop, processor: str, after: bool) -> None:
    shop.processors.faults.hang(OPERATIONS[processor], after=after)
    waiting = asyncio.create_task(create(shop, processor))
    if after:
        await until(lambda: made(shop, processor) == 1)
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    await shop.processors.stop()
    with pytest.raises(aiohttp.ClientError):
        await waiting
    assert made(shop, processor) == after


@pytest.mark.parametrize("kind", ["fail", "drop"])
async def test_yookassa_tells_the_outcome_to_the_repeat_of_the_key(shop: Shop, kind: str) -> None:
    getattr(shop.processors.faults, kind)("yookassa POST /payments", after=True)
    if kind == "fail":
        assert (await create(shop, "yookassa"))["code"] == "internal_server_error"
    else:
        with pytest.raises(aiohttp.ClientError):
            await create(shop, "yookassa")
    repeated = await create(shop, "yookassa")
    assert repeated["id"] in shop.processors.yookassa.payments
    assert made(shop, "yookassa") == 1


async def test_stripe_replays_a_500_that_came_after_the_work_began(shop: Shop) -> None:
    shop.processors.faults.fail(OPERATIONS["stripe"], after=True)
    assert [(await create(shop, "stripe")).status for _ in range(2)] == [500, 500]
    listed = await shop.stripe("GET", SESSIONS)
    assert [one["client_reference_id"] for one in listed["data"]] == ["one"]


@pytest.mark.parametrize("kind", ["fail", "flood"])
async def test_stripe_runs_what_had_not_begun(shop: Shop, kind: str) -> None:
    getattr(shop.processors.faults, kind)(OPERATIONS["stripe"])
    first, second = await create(shop, "stripe"), await create(shop, "stripe")
    assert (first.status, second.status) == ({"fail": 500, "flood": 429}[kind], 200)


async def test_stripe_answers_the_repeat_when_only_the_connection_broke(shop: Shop) -> None:
    shop.processors.faults.drop(OPERATIONS["stripe"], after=True)
    with pytest.raises(aiohttp.ClientError):
        await create(shop, "stripe")
    assert (await create(shop, "stripe")).status == 200
    assert made(shop, "stripe") == 1


async def test_calls_are_recorded_by_operation(shop: Shop) -> None:
    payment = await create(shop, "yookassa")
    await shop.yookassa("GET", f"/payments/{payment['id']}")
    await shop.stripe("GET", f"{SESSIONS}?limit=0")
    await shop.polar("GET", "/v1/nothing")
    calls = [(call.method, call.status) for call in shop.processors.calls]
    assert calls == [
        ("yookassa POST /payments", 200),
        ("yookassa GET /payments/{id}", 200),
        (f"stripe GET {SESSIONS}", 400),
        ("polar GET ?", 404),
    ]
    call = shop.processors.calls.of("yookassa POST /payments")[0]
    assert (call.key, call.path) == ("k", "/payments")
    assert b'"150.00"' in call.body
    assert shop.processors.calls.of(f"stripe GET {SESSIONS}")[0].query == {"limit": "0"}
