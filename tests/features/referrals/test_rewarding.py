"""A share of a friend's first top-up: once, whoever looks, and whatever happened meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.feature import Rooms
from service.features.referrals import rewarding
from service.features.referrals.rewarding import LATELY, catch_up_rewards, reward, reward_referrers, share_of
from service.kernel.database import Database
from service.kernel.jobs import Counts
from service.payments import wallet
from tests.cast import FRIEND, PAYER, STRANGER
from tests.features.referrals.programme import CAME, linked, rooms_of, topped_up
from tests.payments.money import Noon, balance_of, entries_of

Sweep = Callable[[Rooms], Awaitable[Counts]]
FIFTEEN = [("referral", Decimal("15.00"))]


@pytest.fixture(params=[reward_referrers, catch_up_rewards])
def sweep(request: pytest.FixtureRequest, clock: Noon) -> Sweep:
    """Either finds what was paid just now."""
    clock.at = CAME + timedelta(minutes=1)
    return request.param


async def row(raw: Any, friend: int = FRIEND.user_id) -> tuple[Decimal, bool, bool]:
    """(the reward, whether it is decided, whether somebody is to be told)"""
    query = "SELECT reward_rub, rewarded_at IS NOT NULL, tell_at IS NOT NULL FROM referrals WHERE referred_id = $1"
    return tuple(await raw.fetchrow(query, friend))


async def test_a_share_of_the_first_top_up(rooms: Rooms, raw: Any, sweep: Sweep) -> None:
    await linked(raw)
    assert await sweep(rooms) == {"rewarded": 0}
    assert await row(raw) == (0, False, False), "he has not paid"
    await topped_up(raw)
    await topped_up(raw, at=CAME + timedelta(seconds=1), amount=9000, credit_rub=9000)
    assert await sweep(rooms) == {"rewarded": 1}
    assert await row(raw) == (15, True, True)
    await topped_up(raw, at=CAME + timedelta(seconds=2))
    assert await sweep(rooms) == {"rewarded": 0}
    assert await entries_of(raw) == FIFTEEN
    assert await balance_of(raw, FRIEND.user_id) == 0


async def test_nobody_is_rewarded_for_strangers(rooms: Rooms, raw: Any, sweep: Sweep) -> None:
    await linked(raw)
    await topped_up(raw, STRANGER.user_id)
    await raw.execute("UPDATE referrals SET void_reason = 'second referrer'")
    await topped_up(raw)
    assert await sweep(rooms) == {"rewarded": 0}
    assert await entries_of(raw) == []


@pytest.mark.parametrize("together", [1, 20])
async def test_twenty_at_once_are_one_reward(rooms: Rooms, raw: Any, together: int) -> None:
    """S3-50. Those who come too late wait for nobody."""
    friends = range(10_000, 10_000 + together)
    await linked(raw, *friends)
    for friend in friends:
        await topped_up(raw, friend)
    counts = await asyncio.gather(*(catch_up_rewards(rooms) for _ in range(20)))
    assert sum(one["rewarded"] for one in counts) == together
    assert await entries_of(raw) == FIFTEEN * together


async def test_a_crash_before_the_commit_is_nothing(
    rooms: Rooms, raw: Any, monkeypatch: pytest.MonkeyPatch, sweep: Sweep
) -> None:
    await linked(raw, FRIEND.user_id, STRANGER.user_id)
    for friend in (FRIEND, STRANGER):
        await topped_up(raw, friend.user_id)
    given_before, left = wallet.reward, [1]

    async def given_and_died(*told: Any) -> bool:
        assert await given_before(*told)
        if left.pop() if left else 0:
            raise ZeroDivisionError
        return True

    monkeypatch.setattr(wallet, "reward", given_and_died)
    assert await sweep(rooms) == {"rewarded": 1}, "one that fails holds up nobody"
    assert await row(raw) == (0, False, False)
    assert await sweep(rooms) == {"rewarded": 1}
    assert await entries_of(raw) == FIFTEEN * 2


async def test_a_table_that_lost_its_rows_is_not_paid_for_twice(rooms: Rooms, raw: Any, sweep: Sweep) -> None:
    await linked(raw)
    await topped_up(raw)
    await sweep(rooms)
    await raw.execute("DELETE FROM referrals")
    await linked(raw)
    assert await sweep(rooms) == {"rewarded": 0}
    assert await row(raw) == (15, True, False), "and nobody is told twice"
    assert await entries_of(raw) == FIFTEEN


@pytest.mark.parametrize(("percent", "roubles"), [("0", "150.00"), ("10", "0.09"), ("0.01", "99.99")])
async def test_less_than_a_kopek_is_nothing_and_decided(
    db: Database, raw: Any, clock: Noon, percent: str, roubles: str
) -> None:
    await linked(raw)
    await topped_up(raw, amount=Decimal(roubles), credit_rub=Decimal(roubles))
    assert await catch_up_rewards(rooms_of(db, percent, clock)) == {"rewarded": 0}
    assert await row(raw) == (0, True, False)
    assert await catch_up_rewards(rooms_of(db, "10", clock)) == {"rewarded": 0}, "decided is decided"
    assert await entries_of(raw) == []


async def test_a_top_up_that_went_back_is_none(rooms: Rooms, raw: Any, sweep: Sweep) -> None:
    """The next one is the first then; of one that went back in part, what is left counts."""
    await linked(raw)
    await topped_up(raw, refunded_amount=150, refunded_rub=150)
    assert await sweep(rooms) == {"rewarded": 0}
    assert await row(raw) == (0, False, False)
    await topped_up(raw, at=CAME + timedelta(seconds=1), refunded_amount=100, refunded_rub=100)
    await topped_up(raw, at=CAME + timedelta(seconds=2))
    assert await sweep(rooms) == {"rewarded": 1}
    assert await entries_of(raw) == [("referral", Decimal("5.00"))]


async def test_what_goes_back_later_leaves_the_reward(rooms: Rooms, raw: Any, sweep: Sweep) -> None:
    await linked(raw)
    await topped_up(raw)
    await sweep(rooms)
    await raw.execute("UPDATE payments SET refunded_amount = amount, refunded_rub = credit_rub")
    await topped_up(raw, at=CAME + timedelta(seconds=1))
    assert await sweep(rooms) == {"rewarded": 0}
    assert await entries_of(raw) == FIFTEEN


async def test_orders_that_nobody_paid(rooms: Rooms, raw: Any, sweep: Sweep) -> None:
    await linked(raw)
    for status in ("creating", "pending", "waiting_for_capture", "canceled", "expired", "review"):
        await topped_up(raw, status=status, settled_at=None)
    assert await sweep(rooms) == {"rewarded": 0}


async def test_test_money_is_none_where_it_is_live(db: Database, rooms: Rooms, raw: Any, sweep: Sweep) -> None:
    secrets = {"ADMIN_TOKEN": "an-operators-token-of-some-length", "TELEGRAM_WEBHOOK_SECRET": "secret-of-a-webhook"}
    live = rooms_of(db, clock=Noon(), ENVIRONMENT="production", **secrets)
    await linked(raw)
    await topped_up(raw, test=True)
    for look in (reward_referrers, catch_up_rewards):
        assert await look(live) == {"rewarded": 0}
    assert await sweep(rooms) == {"rewarded": 1}, "in development there is no other"


async def test_the_prompt_job_looks_at_new_orders_alone(rooms: Rooms, raw: Any, clock: Noon) -> None:
    clock.at = CAME + LATELY + timedelta(minutes=1)
    await linked(raw)
    await topped_up(raw)
    assert await reward_referrers(rooms) == {"rewarded": 0}
    assert await catch_up_rewards(rooms) == {"rewarded": 1}


async def test_more_than_a_batch(rooms: Rooms, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewarding, "BATCH", 3)
    friends = range(10_000, 10_010)
    await linked(raw, *friends)
    for friend in friends[2:]:
        await topped_up(raw, friend)
    assert await catch_up_rewards(rooms) == {"rewarded": 8}
    assert await entries_of(raw) == FIFTEEN * 8


async def test_somebody_else_at_work_is_not_waited_for(rooms: Rooms, raw: Any) -> None:
    await linked(raw)
    await topped_up(raw)
    referral_id = await raw.fetchval("SELECT id FROM referrals")
    async with raw.transaction():
        await raw.execute("SELECT FROM referrals FOR UPDATE")
        assert not await reward(rooms, referral_id)
    assert await reward(rooms, referral_id)


async def test_a_reward_fills_a_debt(rooms: Rooms, raw: Any, sweep: Sweep) -> None:
    await linked(raw)
    await topped_up(raw)
    await raw.execute("INSERT INTO balances (user_id, balance_rub, unbooked_rub) VALUES ($1, -20, -20)", PAYER.user_id)
    assert await sweep(rooms) == {"rewarded": 1}
    assert await balance_of(raw) == -5


@given(
    st.decimals("0.01", "999999999.99", places=2, allow_nan=False), st.decimals("0", "100", places=2, allow_nan=False)
)
def test_a_share_is_whole_kopeks_and_not_one_too_many(kept: Decimal, percent: Decimal) -> None:
    share = share_of(kept, percent)
    assert share.as_tuple().exponent == -2
    assert 0 <= kept * percent / 100 - share < Decimal("0.01")
    assert 0 <= share <= kept
