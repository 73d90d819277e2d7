"""Reservations that nobody captured in their time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.payments import reservations, wallet
from tests.cast import PAYER
from tests.payments.money import Noon, balance_of, order, paid, settle


async def put_aside(rooms: Rooms, amount: str = "10.00") -> UUID:
    """As a feature does it: for RESERVATION_TTL, an hour."""
    hold = wallet.Hold(uuid4(), PAYER.user_id, Decimal(amount), "work")
    async with rooms.of(Database).transaction() as conn:
        return (await wallet.reserve(rooms, conn, hold)).reservation_id


async def status(raw: Any, reservation_id: UUID) -> str:
    return await raw.fetchval("SELECT status FROM payment_reservations WHERE reservation_id = $1", reservation_id)


async def test_an_hour_is_the_limit(faked: Rooms, noon: Noon, raw: Any) -> None:
    """61 minutes old: given back. 59: kept. Older, and prolonged: kept."""
    await settle(faked, paid(await order(raw)))
    alive = await put_aside(faked)
    old = await put_aside(faked)
    noon.forward(minutes=2)
    young = await put_aside(faked)
    noon.forward(minutes=59)
    async with faked.of(Database).transaction() as conn:
        await reservations.prolong(conn, [alive], faked.of(Clock).now() + timedelta(hours=1))
    assert await reservations.expire(faked) == {"expired": 1}
    assert [await status(raw, one) for one in (old, young, alive)] == ["expired", "held", "held"]
    assert await balance_of(raw) == Decimal("130.00")
    noon.forward(minutes=1)
    assert await reservations.expire(faked) == {"expired": 1}
    assert await status(raw, young) == "expired"
    assert await reservations.expire(faked) == {"expired": 0}


async def test_each_is_given_back_once_by_several_instances(faked: Rooms, noon: Noon, raw: Any) -> None:
    """Case 15."""
    await settle(faked, paid(await order(raw)))
    for _ in range(100):
        await put_aside(faked, "1.00")
    noon.forward(hours=2)
    runs = await asyncio.gather(*(reservations.expire(faked) for _ in range(4)))
    assert sum(run["expired"] for run in runs) == 100
    assert await balance_of(raw) == Decimal("150.00")
