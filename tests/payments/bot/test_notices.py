"""Who paid is told, at least once, and nobody of old news."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from service.errors import Unavailable
from service.payments.bot.notices import BATCH, tell_payers
from tests.payments.bot.shop import Shop
from tests.payments.money import order


def rooms(shop: Shop) -> Any:
    return shop.served.operations.switchboard.mounted.rooms


async def succeeded(raw: Any, user_id: int, ago: timedelta = timedelta(0)) -> Any:
    """A payment that was settled so long ago, and of which nobody was told."""
    payment_id = await order(raw, user_id=user_id)
    await raw.execute(
        "UPDATE payments SET status = 'succeeded', settled_at = now() - $2::interval,"
        " check_at = now() - $2::interval WHERE payment_id = $1",
        payment_id,
        ago,
    )
    return payment_id


async def told_at(raw: Any, payment_id: Any) -> Any:
    return await raw.fetchval("SELECT told_at FROM payments WHERE payment_id = $1", payment_id)


def notices(shop: Shop) -> list[str]:
    return [call.params["text"] for call in shop.sandbox.calls.of("sendMessage")]


async def test_each_in_his_language_and_once(shop: Shop, raw: Any) -> None:
    await raw.execute("INSERT INTO users (user_id, language) VALUES ($1, 'ru')", shop.stranger.id)
    for person in (shop.payer, shop.stranger):
        await person.says("/start")
        await succeeded(raw, person.id)
    counts = await asyncio.gather(*(tell_payers(rooms(shop)) for _ in range(3)))
    assert sum(one["told"] for one in counts) == 2
    await shop.payer.hears("150 ₽ arrived. Balance: 0 ₽.")
    await shop.stranger.hears("Поступило 150 ₽. Баланс: 0 ₽.")
    assert len([text for text in notices(shop) if "150 ₽" in text]) == 2
    assert await tell_payers(rooms(shop)) == {"told": 0}


async def test_more_than_a_batch(shop: Shop, raw: Any) -> None:
    await shop.payer.says("/start")
    for _ in range(BATCH + 1):
        await succeeded(raw, shop.payer.id, ago=timedelta(days=4))
    assert await tell_payers(rooms(shop)) == {"told": BATCH + 1}
    assert not [text for text in notices(shop) if "arrived" in text], "of old news nobody is told"


async def test_who_blocked_the_bot_is_done_with(shop: Shop, raw: Any) -> None:
    await shop.payer.says("/start")
    await shop.payer.blocks()
    payment_id = await succeeded(raw, shop.payer.id)
    await tell_payers(rooms(shop))
    assert await told_at(raw, payment_id) is not None


async def test_while_telegram_is_down_nobody_counts_as_told(shop: Shop, raw: Any) -> None:
    await shop.payer.says("/start")
    payment_id = await succeeded(raw, shop.payer.id)
    shop.sandbox.faults.fail("sendMessage", status=500)
    with pytest.raises(Unavailable):
        await tell_payers(rooms(shop))
    assert await tell_payers(rooms(shop)) == {"told": 0}, "another try in a minute"
    assert await told_at(raw, payment_id) is None
    await raw.execute("UPDATE payments SET check_at = now()")
    assert await tell_payers(rooms(shop)) == {"told": 1}
    await shop.payer.hears("150 ₽ arrived")
