"""What features may do with money, on a transaction of their own."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from service.errors import Invalid
from service.feature import Rooms
from service.kernel.database import Database
from service.payments import wallet
from service.payments.wallet import Hold
from tests.cast import FRIEND, PAYER, STRANGER
from tests.payments.money import BROKEN, Noon, balance_of, credit, entries_of, rooms_for


@pytest.fixture
def clock() -> Noon:
    return Noon()


@pytest.fixture
def rooms(db: Database, clock: Noon) -> Rooms:
    return rooms_for(db, clock, RESERVATION_TTL="120")


@pytest.fixture(autouse=True)
async def invariant(raw: Any) -> Any:
    yield
    assert await raw.fetch(BROKEN) == []


async def test_who_never_had_money(rooms: Rooms) -> None:
    async with rooms.of(Database).acquire() as conn:
        found = await wallet.balance(conn, STRANGER.user_id)
    assert (found.balance_rub, found.held_rub) == (0, 0)


async def test_a_reward_comes_once(rooms: Rooms, raw: Any) -> None:
    """Once for its key, also to somebody whose row is made for it, and whoever gives it at the same time."""

    async def reward(key: str, user_id: int) -> bool:
        async with rooms.of(Database).transaction() as conn:
            return await wallet.reward(rooms, conn, key, user_id, Decimal("15.00"))

    done = await asyncio.gather(*(reward("payer-invited-friend", PAYER.user_id) for _ in range(10)))
    assert done.count(True) == 1
    assert await reward("payer-invited-stranger", PAYER.user_id)
    assert await entries_of(raw) == [("referral", Decimal("15.00"))] * 2
    assert await balance_of(raw) == Decimal("30.00")


@pytest.mark.parametrize("roubles", ["0", "-15.00", "0.001", "NaN"])
async def test_a_reward_is_an_amount(rooms: Rooms, roubles: str) -> None:
    async with rooms.of(Database).transaction() as conn:
        with pytest.raises(Invalid):
            await wallet.reward(rooms, conn, "key", PAYER.user_id, Decimal(roubles))


async def test_the_transaction_is_the_callers(rooms: Rooms, raw: Any) -> None:
    """What is paid for fails: the payment was never made, and the hold is as it was."""
    await credit(rooms, "10.00")
    wanted = Hold(uuid4(), PAYER.user_id, Decimal("4.00"), "a picture")
    async with rooms.of(Database).transaction() as conn:
        await wallet.reserve(rooms, conn, wanted)
    with pytest.raises(ZeroDivisionError):
        async with rooms.of(Database).transaction() as conn:
            await wallet.capture(rooms, conn, wanted.reservation_id, Decimal("4.00"), "a picture")
            raise ZeroDivisionError
    assert await balance_of(raw) == Decimal("6.00")
    async with rooms.of(Database).transaction() as conn:
        assert (await wallet.release(rooms, conn, wanted.reservation_id)).status == "released"


async def test_a_hold_lasts_as_long_as_is_set(rooms: Rooms, clock: Noon) -> None:
    await credit(rooms, "10.00")
    wanted = Hold(uuid4(), PAYER.user_id, Decimal("4.00"), "a picture")
    async with rooms.of(Database).transaction() as conn:
        held = await wallet.reserve(rooms, conn, wanted)
        assert held.expires_at == clock.now() + timedelta(seconds=120)
        clock.forward(seconds=119)
        await wallet.prolong(rooms, conn, [wanted.reservation_id])
        clock.forward(seconds=119)
        assert (await wallet.capture(rooms, conn, wanted.reservation_id, Decimal("4.00"), "")).status == "captured"


async def test_nobody_spends_the_money_of_another(rooms: Rooms, raw: Any) -> None:
    await credit(rooms, "10.00")
    await credit(rooms, "10.00", user_id=FRIEND.user_id)
    async with rooms.of(Database).transaction() as conn:
        held = await wallet.reserve(rooms, conn, Hold(uuid4(), FRIEND.user_id, Decimal("4.00"), "a picture"))
        await wallet.capture(rooms, conn, held.reservation_id, Decimal("4.00"), "a picture")
    assert await balance_of(raw) == Decimal("10.00")
    assert await balance_of(raw, FRIEND.user_id) == Decimal("6.00")
