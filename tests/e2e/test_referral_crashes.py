"""Killed after each step of linking and of rewarding, then run again: one referrer, one reward, books that agree."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.cast import PAYER
from tests.e2e.processors import Market, Till
from tests.e2e.test_money import bot, stands, verified
from tests.e2e.test_money_crashes import KILLED, STEPS_MOST, Nursery, nursery
from tests.payments.money import BROKEN, entries_of, order, paid, settle

__all__ = ["bot", "nursery", "stands"]

CAME = datetime(2026, 1, 1, tzinfo=UTC)


async def brought(raw: Any, bot: Till, friend: int) -> None:
    """Somebody came by the payer's link, and has paid; nobody has looked at that."""
    await raw.execute(
        "INSERT INTO users (user_id, created_at, started_at, started_with) VALUES ($1, $2, $2, $3)",
        friend,
        CAME,
        f"ref_{PAYER.user_id}",
    )
    await settle(bot.rooms, paid(await order(raw, user_id=friend), f"p{friend}"))


@pytest.mark.parametrize("job", ["link_referrals", "catch_up_rewards"])
async def test_killed_at_any_step(
    nursery: Nursery, stands: Market, bot: Till, raw: Any, job: str, database_url: str
) -> None:
    await raw.execute("INSERT INTO users (user_id, created_at) VALUES ($1, $2)", PAYER.user_id, CAME)
    for step in range(1, STEPS_MOST):
        await brought(raw, bot, 10_000 + step)
        died = await nursery.ran(job, step, "recover") == KILLED
        assert await raw.fetch(BROKEN) == [], step
        for _ in range(2):
            assert await nursery.ran("", 0, "recover") == 0
        assert (
            await raw.fetchval("SELECT count(*) FROM referrals WHERE reward_rub = 15 AND tell_at IS NOT NULL") == step
        )
        assert await entries_of(raw) == [("referral", Decimal("15.00"))] * step
        if not died:
            break
    assert 3 < step < STEPS_MOST - 1
    await verified(database_url)
