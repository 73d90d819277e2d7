"""What paid work costs: put aside, then spent or given back, once; and nothing where there is no money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from service.errors import DatabaseAway, FeatureOff
from service.features.generation.billing import Billing, BillingByBalance, Lost
from service.features.generation.work import Ended
from service.kernel.database import Database
from service.payments import reservations as holds
from service.telegram.router import Context
from tests.cast import PAYER
from tests.features.generation.queue.conftest import another, clock, workshop
from tests.features.generation.queue.workshop import PAID, PRICE, Workshop, order, reservations
from tests.payments.money import Noon, balance_of, credit

__all__ = ["another", "clock", "workshop"]


def ended(job_id: Any, status: Any = "success") -> Ended:
    return Ended(job_id, 1, status)


async def settle(workshop: Workshop, claim: Any, status: Any = "success") -> None:
    async with workshop.rooms.of(Database).transaction() as conn:
        await workshop.rooms.of(Billing).settle(workshop.rooms, conn, ended(claim.job_id, status), claim)


async def claimed(workshop: Workshop) -> Any:
    await credit(workshop.rooms, "10.00")
    await workshop.place(order(what=PAID))
    (claim,) = await workshop.claim()
    return claim


async def test_held_until_it_is_not(workshop: Workshop, raw: Any, clock: Noon) -> None:
    claim, billing = await claimed(workshop), BillingByBalance()
    assert await billing.is_held(workshop.rooms, claim)
    assert await billing.is_held(workshop.rooms, claim), "asking puts nothing aside"
    assert await balance_of(raw) == Decimal("7.00")
    clock.forward(hours=2)
    await holds.expire(workshop.rooms)
    assert not await billing.is_held(workshop.rooms, claim)


async def test_made_anew_the_table_takes_it_again(workshop: Workshop, raw: Any) -> None:
    """Somebody emptied it: where there is the money it is put aside once more, else the work is not done."""
    claim, billing = await claimed(workshop), BillingByBalance()
    await raw.execute("DELETE FROM payment_reservations")
    await raw.execute("UPDATE balances SET balance_rub = 10")
    assert await billing.is_held(workshop.rooms, claim)
    await raw.execute("DELETE FROM payment_reservations")
    assert not await billing.is_held(workshop.rooms, _dearer(claim))
    await raw.execute("UPDATE balances SET balance_rub = 10")


def _dearer(claim: Any) -> Any:

    return msgspec.structs.replace(claim, price_rub=Decimal("50.00"))


async def test_somebody_elses_reservation(workshop: Workshop) -> None:
    claim = await claimed(workshop)
    assert not await BillingByBalance().is_held(workshop.rooms, _dearer(claim))


async def test_settled_twice_it_is_charged_once(workshop: Workshop, raw: Any) -> None:
    claim = await claimed(workshop)
    for _ in range(2):
        await settle(workshop, claim)
    assert await balance_of(raw) == Decimal("7.00")
    await settle(workshop, claim, "failed")  # what is spent is spent
    assert await reservations(raw) == [("captured", PRICE)]
    assert await raw.fetchval("SELECT reason FROM payment_transactions WHERE type = 'deduction'") == PAID.title.en


async def test_given_back_twice_it_is_back_once(workshop: Workshop, raw: Any) -> None:
    claim = await claimed(workshop)
    for _ in range(2):
        await settle(workshop, claim, "timeout")
    assert await balance_of(raw) == Decimal("10.00")
    with pytest.raises(Lost):
        await settle(workshop, claim)
    assert await balance_of(raw) == Decimal("10.00")


async def test_late_by_a_moment(workshop: Workshop, raw: Any, clock: Noon) -> None:
    """Its time is over, though nobody has given it back yet."""
    claim = await claimed(workshop)
    clock.forward(hours=2)
    with pytest.raises(Lost):
        await settle(workshop, claim)
    await holds.expire(workshop.rooms)
    assert await balance_of(raw) == Decimal("10.00")


async def test_what_was_never_put_aside(workshop: Workshop) -> None:
    claim = msgspec.structs.replace(await claimed(workshop), job_id=uuid4())
    with pytest.raises(Lost):
        await settle(workshop, claim)
    await settle(workshop, claim, "failed")


async def test_with_the_database_away_nothing_is_sold(workshop: Workshop) -> None:
    ctx = Context(workshop.rooms, "en", PAYER.user_id, PAYER.user_id)
    with pytest.raises(DatabaseAway):
        await BillingByBalance().place(ctx, order(what=PAID))


async def test_without_money_nothing_is_done(workshop: Workshop) -> None:
    claim, absent = await claimed(workshop), Billing()
    assert absent.most_rub == 0
    with pytest.raises(FeatureOff):
        await absent.is_held(workshop.rooms, claim)
    async with workshop.rooms.of(Database).transaction() as conn:
        with pytest.raises(FeatureOff):
            await absent.settle(workshop.rooms, conn, ended(claim.job_id), claim)
        with pytest.raises(FeatureOff):
            await absent.release(workshop.rooms, conn, claim.job_id)
