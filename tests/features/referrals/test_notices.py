"""Who got a reward is told of it, at least once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.errors import Unavailable
from service.features.referrals.notices import BATCH, tell_referrers
from tests.features.referrals.programme import linked
from tests.payments.bot.shop import Shop, open_shop

REWARDED = """
UPDATE referrals SET reward_rub = 12.5, rewarded_at = now() - interval '1 s', tell_at = now() - interval '1 s'
WHERE rewarded_at IS NULL
"""
UNTOLD = "SELECT count(*) FROM referrals WHERE tell_at IS NOT NULL"


@pytest.fixture
async def shop(database_url: str) -> Any:
    async with open_shop(database_url) as opened:
        yield opened


def rooms(shop: Shop) -> Any:
    return shop.served.operations.switchboard.mounted.rooms


async def rewarded(raw: Any, shop: Shop, *friends: int, referrer: int = 0) -> None:
    await linked(raw, *friends, referrer=referrer or shop.payer.id)
    await raw.execute(REWARDED)


async def test_each_in_his_language_and_once(shop: Shop, raw: Any) -> None:
    for person in (shop.payer, shop.friend):
        await person.says("/start")
    await linked(raw, 10_000, referrer=shop.payer.id)
    await rewarded(raw, shop, 10_001, referrer=shop.friend.id)
    counts = await asyncio.gather(*(tell_referrers(rooms(shop)) for _ in range(3)))
    assert sum(one["told"] for one in counts) == 2
    await shop.payer.hears("Your friend has topped up: 12.50 ₽ of it is yours.")
    await shop.friend.hears("Ваш друг пополнил баланс: вам начислено 12.50 ₽.")
    assert await tell_referrers(rooms(shop)) == {"told": 0}
    assert len([call for call in shop.sandbox.calls.of("sendMessage") if "12.50" in call.params["text"]]) == 2


async def test_more_than_a_batch(shop: Shop, raw: Any) -> None:
    await shop.payer.says("/start")
    await rewarded(raw, shop, *range(10_000, 10_001 + BATCH))
    assert await tell_referrers(rooms(shop)) == {"told": BATCH + 1}
    assert await raw.fetchval(UNTOLD) == 0


async def test_who_blocked_the_bot_is_done_with(shop: Shop, raw: Any) -> None:
    await shop.payer.says("/start")
    await shop.payer.blocks()
    await rewarded(raw, shop, 10_000)
    await tell_referrers(rooms(shop))
    assert await raw.fetchval(UNTOLD) == 0


async def test_while_telegram_is_down_nobody_counts_as_told(shop: Shop, raw: Any) -> None:
    await shop.payer.says("/start")
    await rewarded(raw, shop, 10_000)
    shop.sandbox.faults.fail("sendMessage", status=500)
    with pytest.raises(Unavailable):
        await tell_referrers(rooms(shop))
    assert await tell_referrers(rooms(shop)) == {"told": 0}, "another try in a minute"
    assert await raw.fetchval(UNTOLD) == 1
    await raw.execute("UPDATE referrals SET tell_at = now() - interval '1 s'")
    assert await tell_referrers(rooms(shop)) == {"told": 1}
    await shop.payer.hears("12.50 ₽")
