"""Orders and their end by whoever gave them: the money and the job are one, in every state."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from service.errors import Conflict, FeatureOff
from service.feature import Rooms
from service.features.generation import orders
from service.features.generation.billing import Billing
from service.features.generation.providers.provider import Pending, ProviderFailed
from service.features.generation.queue import tending
from service.kernel.database import Database
from service.payments.wallet import InsufficientBalance
from service.telegram.router import Context
from tests.cast import FRIEND, PAYER
from tests.features.generation.queue.conftest import another, clock, workshop
from tests.features.generation.queue.test_table import put_off
from tests.features.generation.queue.workshop import (
    FREE,
    PAID,
    PRICE,
    Workshop,
    answering,
    becomes,
    order,
    reservations,
    row_of,
    statuses,
    success,
)
from tests.payments.money import balance_of, credit, entries_of
from tests.waiting import until

__all__ = ["another", "clock", "workshop"]


async def test_without_enough_money_nothing_is_ordered(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "2.99")
    with pytest.raises(InsufficientBalance):
        await workshop.place(order(what=PAID))
    assert (await statuses(raw), await reservations(raw)) == ({}, [])


async def test_too_many_orders_cost_nothing(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "60.00")
    placed = await asyncio.gather(*(workshop.place(order(what=PAID)) for _ in range(20)))
    assert [one.is_new for one in placed].count(True) == 10
    assert await balance_of(raw) == Decimal("30.00")
    assert (await reservations(raw)).count(("held", 0)) == 10


async def test_as_many_as_there_is_money_for(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "10.00")
    done = await asyncio.gather(*(workshop.place(order(what=PAID)) for _ in range(8)), return_exceptions=True)
    assert len([one for one in done if isinstance(one, InsufficientBalance)]) == 5
    assert await statuses(raw) == {"queued": 3}
    assert await balance_of(raw) == 1


async def test_the_same_order_twenty_times(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "60.00")
    wanted = order(what=PAID)
    await asyncio.gather(*(workshop.place(wanted) for _ in range(20)))
    assert await statuses(raw) == {"queued": 1}
    assert await balance_of(raw) == Decimal("57.00")


async def test_an_order_that_is_rolled_back_never_was(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "60.00")
    with pytest.raises(Conflict):
        async with workshop.rooms.of(Database).transaction() as conn:
            ctx = Context(workshop.rooms, "en", PAYER.user_id, PAYER.user_id, conn=conn)
            await orders.place(ctx, order(what=PAID))
            raise Conflict
    assert (await statuses(raw), await reservations(raw)) == ({}, [])


@pytest.mark.parametrize("state", ["queued", "running", "waiting", "over there"])
async def test_called_off_in_each_state(workshop: Workshop, raw: Any, state: str) -> None:
    await credit(workshop.rooms, "10.00")
    wanted = order(what=PAID)
    await workshop.place(wanted)
    if state != "queued":
        (claim,) = await workshop.claim()
        if state != "running":
            await put_off(workshop, claim, due_s=10, reference="t1" if state == "over there" else None)
    assert await workshop.cancel(wanted.job_id, FRIEND.user_id) is None
    cancelled = await workshop.cancel(wanted.job_id)
    assert cancelled is not None
    assert (cancelled.price_rub, cancelled.prompt) == (PRICE, "a cat")
    assert await workshop.cancel(wanted.job_id) is None
    assert await balance_of(raw) == Decimal("10.00")
    assert await reservations(raw) == [("released", 0)]
    assert await statuses(raw) == {"cancelled": 1}
    if state != "queued":
        assert await workshop.finish(success(claim)) == set()
        assert await put_off(workshop, claim, due_s=0) == 0
    if state == "over there":
        await until(lambda: workshop.maker.cancelled == ["t1"])
    assert (await tending.rescue(workshop.rooms)) == {"rescued": 0, "lost": 0}
    assert await workshop.claim() == []


async def test_what_is_over_cannot_be_called_off(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "10.00")
    wanted = order(what=PAID)
    await workshop.place(wanted)
    async with workshop.working():
        await becomes(raw, wanted.job_id, "success")
        assert await workshop.cancel(wanted.job_id) is None
    assert await reservations(raw) == [("captured", PRICE)]


async def test_calling_off_races_the_end(workshop: Workshop, raw: Any) -> None:
    """Either it is charged and given, or neither: forty times."""
    await credit(workshop.rooms, "400.00")
    given = 0
    async with workshop.working():
        for number in range(40):
            wanted = order(str(number), what=PAID)
            await workshop.place(wanted)
            await asyncio.sleep(0.0005 * (number % 12))
            cancelled = await workshop.cancel(wanted.job_id)
            row = await row_of(raw, wanted.job_id)
            assert row["status"] == ("success" if cancelled is None else "cancelled")
            given += cancelled is None
    assert len((await entries_of(raw))[1:]) == given
    assert await balance_of(raw) == 400 - given * PRICE


async def test_paid_work_is_not_called_off_while_there_is_no_money(workshop: Workshop, raw: Any) -> None:
    """It could not be given back; so it goes on, or is called off later."""
    await credit(workshop.rooms, "10.00")
    wanted, free = order(what=PAID), order(what=FREE)
    for one in (wanted, free):
        await workshop.place(one)
    workshop.rooms = workshop.rooms.with_({Billing: Billing()})
    with pytest.raises(FeatureOff):
        await workshop.cancel(wanted.job_id)
    assert await workshop.cancel(free.job_id) is not None
    assert await statuses(raw) == {"queued": 1, "cancelled": 1}


async def test_a_provider_that_does_not_listen(workshop: Workshop, raw: Any, caplog: Any) -> None:
    workshop.maker.deeds["a cat"] = answering(Pending("t1", 100))

    async def refuse(_request: object, _reference: str) -> None:
        workshop.maker.cancelled.append("tried")
        raise ProviderFailed("down", "down", permanent=False)

    workshop.maker.cancel = refuse  # type: ignore[method-assign, assignment]
    wanted = order()
    await workshop.place(wanted)
    async with workshop.working():
        await becomes(raw, wanted.job_id, "waiting")
        assert await workshop.cancel(wanted.job_id) is not None
        await until(lambda: workshop.maker.cancelled == ["tried"])
    assert await statuses(raw) == {"cancelled": 1}


async def test_a_job_is_shown_to_its_person_alone(workshop: Workshop) -> None:
    wanted = order()
    await workshop.place(wanted)
    rooms: Rooms = workshop.rooms
    async with rooms.of(Database).transaction() as conn:
        for user_id, seen in ((PAYER.user_id, True), (FRIEND.user_id, False)):
            job = await orders.of(Context(rooms, "en", user_id, user_id, conn=conn), wanted.job_id)
            assert (job is not None) is seen
