"""Recovery within a running service: what an outage left is mended as soon as it is over, without a restart."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from service.sandbox.processors import Callback
from tests.e2e.processors import Market, Till, till
from tests.payments.money import balance_of
from tests.serving import serving
from tests.waiting import until


@pytest.fixture
async def bot(database_url: str, stands: Market) -> AsyncIterator[Till]:
    async with till(database_url, stands) as bot:
        yield bot


async def told(stands: Market, provider: str) -> Callback:
    """The callback of the payment, which nobody has delivered yet."""
    return next(one for one in stands.processors.held if one.processor == provider)


@pytest.mark.parametrize("provider", ["yookassa", "polar"])
async def test_what_came_while_balances_were_missing(
    database_url: str, stands: Market, bot: Till, raw: Any, provider: str
) -> None:
    """Stored and answered 200; applied when the table is back, within a minute."""
    async with serving(database_url, PROBE_INTERVAL="1", **stands.settings) as served:
        stands.webhooks.append(served.base)
        payment = await bot.order(provider)
        await raw.execute("ALTER TABLE balances RENAME TO balances_gone")
        await served.operations.switchboard.refresh()
        stands.pay(payment)
        assert await stands.processors.deliver(await told(stands, provider)) == 200
        assert await raw.fetchval("SELECT status FROM payment_events") == "waiting"
        await raw.execute("ALTER TABLE balances_gone RENAME TO balances")
        took = await until(lambda: _has(raw, payment.credit_rub), within=60)
        assert took < 10


async def test_what_came_while_yookassa_was_away(database_url: str, stands: Market, bot: Till, raw: Any) -> None:
    """Case 13: the hint was stored, and is confirmed later although it never comes again."""
    async with serving(database_url, **stands.settings) as served:
        stands.webhooks.append(served.base)
        stands.pay(await bot.order("yookassa"))
        stands.processors.faults.fail("yookassa GET /payments/{id}")
        assert await stands.processors.deliver(await told(stands, "yookassa")) == 503
        served.operations.jobs.poke("apply_waiting_events")
        await until(lambda: _has(raw, Decimal("150.00")))


async def test_a_start_where_nobody_answers(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """As in development, where the processors' stand-ins are served by the very process that starts.

    The doors do not wait for them, and nobody is warned.
    """
    caplog.set_level("INFO")
    started = time.monotonic()
    async with serving(database_url):
        assert time.monotonic() - started < 5
        await until(lambda: [one.getMessage() for one in caplog.records].count("list not read") == 4)
    assert not [one for one in caplog.records if one.name == "payments" and one.levelname != "INFO"]


async def _has(raw: Any, credited: Decimal) -> bool:
    return await balance_of(raw) == credited
