"""What keeps the queue in order: the dead are noticed, money comes back with them, and money stays where it must."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from service.errors import SchemaDrift
from service.features.generation.billing import Billing
from service.features.generation.providers.provider import Pending
from service.features.generation.queue import tending
from service.features.generation.queue.bell import SETTLES_IN_S, Bell
from service.features.generation.work import Ended
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.payments import reservations as holds
from tests.cast import PAYER
from tests.features.generation.queue.test_table import put_off
from tests.features.generation.queue.workshop import (
    PAID,
    PRICE,
    Another,
    Workshop,
    answering,
    becomes,
    order,
    people,
    reservations,
    row_of,
    statuses,
    success,
)
from tests.payments.money import Noon, balance_of, credit


async def test_the_third_death_ends_it_and_gives_the_money_back(workshop: Workshop, raw: Any, clock: Noon) -> None:
    await credit(workshop.rooms, "10.00")
    wanted = order(what=PAID)
    await workshop.place(wanted)
    for _ in range(2):
        await workshop.claim()
        assert await tending.rescue(workshop.rooms) == {"rescued": 1, "lost": 0}
    await workshop.claim()
    assert await tending.rescue(workshop.rooms) == {"rescued": 0, "lost": 1}
    row = await row_of(raw, wanted.job_id)
    assert (row["status"], row["error_code"], row["due_at"]) == ("failed", "worker_lost", clock.now())
    assert await reservations(raw) == [("released", 0)]
    assert await balance_of(raw) == Decimal("10.00")
    assert workshop.told() == [("failed", "worker_lost")]


async def test_a_job_and_its_money_end_together(workshop: Workshop, raw: Any) -> None:
    """Where the money cannot be given back, the job is not ended either."""
    await credit(workshop.rooms, "10.00")
    await workshop.place(order(what=PAID))
    await workshop.claim()
    await raw.execute("UPDATE generation_jobs SET attempts = 3")
    await raw.execute("ALTER TABLE payment_reservations RENAME TO elsewhere")
    with pytest.raises(SchemaDrift):
        await tending.rescue(workshop.rooms)
    await raw.execute("ALTER TABLE elsewhere RENAME TO payment_reservations")
    assert await statuses(raw) == {"running": 1}
    assert (await tending.rescue(workshop.rooms))["lost"] == 1
    assert await balance_of(raw) == Decimal("10.00")


async def test_what_was_spent_already_holds_up_nobody(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "10.00")
    for _ in range(3):
        await workshop.place(order(what=PAID))
    claim, *_ = await workshop.claim()
    await raw.execute("UPDATE generation_jobs SET attempts = 3")
    async with workshop.rooms.of(Database).transaction() as conn:
        ended = Ended(claim.job_id, 1, "success")
        await workshop.rooms.of(Billing).settle(workshop.rooms, conn, ended, claim)
    assert (await tending.rescue(workshop.rooms))["lost"] == 3
    assert await reservations(raw) == [("captured", PRICE), ("released", 0), ("released", 0)]


async def test_paid_work_of_the_dead_waits_for_the_money(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "10.00")
    await workshop.place(order(what=PAID))
    await workshop.place(order())
    await workshop.claim()
    billing = workshop.rooms.of(Billing)
    workshop.rooms = workshop.rooms.with_({Billing: Billing()})
    assert (await tending.rescue(workshop.rooms))["rescued"] == 1
    workshop.rooms = workshop.rooms.with_({Billing: billing})
    assert (await tending.rescue(workshop.rooms))["rescued"] == 1


async def test_many_rescuers_and_many_people(workshop: Workshop, another: Another, raw: Any) -> None:
    """Each job is rescued once, and no two of them wait for each other's balances."""
    user_ids = range(1, 31)
    await people(raw, *user_ids)
    for user_id in user_ids:
        await credit(workshop.rooms, "9.00", user_id=user_id)
        for _ in range(3):
            await workshop.place(order(user_id=user_id, what=PAID))
    await workshop.claim()
    await raw.execute("UPDATE generation_jobs SET attempts = 3, deadline_at = now() + random() * interval '1 hour'")
    shops = [workshop, await another(), await another()]
    tending_batch, tending.BATCH = tending.BATCH, 11
    try:
        counts = await asyncio.gather(*(tending.rescue(shop.rooms) for shop in shops for _ in range(2)))
    finally:
        tending.BATCH = tending_batch
    assert sum(one["lost"] for one in counts) == 90
    assert sum(len(shop.events) for shop in shops) == 90
    assert await raw.fetchval("SELECT sum(balance_rub) FROM balances") == 270


async def test_after_an_outage_everybody_may_beat_first(workshop: Workshop, raw: Any, clock: Noon) -> None:
    """All beats are late then, and nobody is dead."""

    class Still(Clock):
        at = 1_000.0

        def monotonic(self) -> float:
            return self.at

    instance_id, still = uuid4(), Still()
    bell = Bell(workshop.rooms.of(Database), still)
    workshop.rooms = workshop.rooms.with_({Bell: bell})
    bell._count_outage()
    assert bell.is_settled, "at a start nobody was kept from beating"
    await workshop.place(order())
    await workshop.claim(instance_id)
    await workshop.beat(instance_id)
    clock.forward(seconds=61)
    bell._count_outage()
    assert await tending.rescue(workshop.rooms) == {"rescued": 0, "lost": 0}
    await workshop.beat(instance_id)
    still.at += SETTLES_IN_S
    assert await tending.rescue(workshop.rooms) == {"rescued": 0, "lost": 0}
    clock.forward(seconds=61)
    assert await tending.rescue(workshop.rooms) == {"rescued": 1, "lost": 0}


async def test_money_stays_aside_for_as_long_as_it_takes(workshop: Workshop, raw: Any, clock: Noon) -> None:
    """Three hours in the queue and under way, while what is not prolonged goes back."""
    await credit(workshop.rooms, "20.00")
    states = ["queued", "under way", "over there"]
    for prompt in states:
        await workshop.place(order(prompt, what=PAID))
    forgotten = order("forgotten", what=PAID)
    await workshop.place(forgotten)
    await raw.execute("DELETE FROM generation_jobs WHERE job_id = $1", forgotten.job_id)
    for claim in await workshop.claim(batch=2):
        if claim.prompt == "over there":
            await put_off(workshop, claim, due_s=10_000, reference="t1")
    for _ in range(18):
        clock.forward(minutes=10)
        assert await tending.prolong(workshop.rooms) == {"prolonged": 3}
        await holds.expire(workshop.rooms)
    assert await reservations(raw) == [("expired", 0), *[("held", 0)] * 3]
    workshop.maker.deeds["check"] = answering(Pending("t1", 1))
    await workshop.cancel(await raw.fetchval("SELECT job_id FROM generation_jobs WHERE prompt = 'under way'"))
    assert await tending.prolong(workshop.rooms) == {"prolonged": 2}


async def test_prolongs_batch_by_batch_while_others_end(another: Another, raw: Any, clock: Noon) -> None:
    workshop = await another(RESERVATION_TTL="30")
    await people(raw, PAYER.user_id)
    tending_batch, tending.BATCH = tending.BATCH, 3
    try:
        await credit(workshop.rooms, "60.00")
        for _ in range(9):
            await workshop.place(order(what=PAID))
        async with workshop.working():
            while await raw.fetchval("SELECT count(*) FROM generation_jobs WHERE finished_at IS NULL"):
                clock.forward(seconds=5)
                await asyncio.gather(
                    tending.prolong(workshop.rooms), tending.prolong(workshop.rooms), holds.expire(workshop.rooms)
                )
        assert await tending.prolong(workshop.rooms) == {"prolonged": 0}
    finally:
        tending.BATCH = tending_batch
    assert await reservations(raw) == [("captured", PRICE)] * 9


async def test_the_old_is_forgotten_and_the_open_is_not(workshop: Workshop, raw: Any, clock: Noon) -> None:
    instance_id = uuid4()
    await workshop.beat(instance_id)
    ended, left = order(), order()
    await workshop.place(ended)
    (claim,) = await workshop.claim()
    await workshop.finish(success(claim))
    await workshop.place(left)
    clock.forward(days=29)
    assert await tending.prune(workshop.rooms) == {"pruned": 0}
    assert await raw.fetchval("SELECT count(*) FROM instances") == 0
    clock.forward(days=2)
    assert await tending.prune(workshop.rooms) == {"pruned": 1}
    assert await row_of(raw, ended.job_id) is None
    async with workshop.working():
        await becomes(raw, left.job_id, "success")
