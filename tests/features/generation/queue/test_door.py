"""Where work comes in: the table, or the process itself where there is none, or none just now."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from service.features.generation.in_process import InProcess
from service.features.generation.queue.door import Queue, Wish
from service.features.generation.work import Claim, Order, Placed
from service.kernel.database import Database
from service.telegram.router import Context
from tests.features.generation.queue.workshop import EVERYTHING, LONG_AGO, NARROW, Workshop, order, statuses
from tests.waiting import until


async def placed_without_a_transaction(workshop: Workshop, wanted: Order) -> Placed:
    ctx = Context(workshop.rooms, "en", wanted.chat_id, wanted.user_id)
    placed = await ctx.of(Queue).place(ctx, wanted)
    for act in ctx.afterwards:
        act()
    return placed


async def test_without_a_table_it_is_made_here(workshop: Workshop, raw: Any) -> None:
    workshop.rooms = workshop.rooms.with_({Queue: Queue()})
    assert (await workshop.place(order("a fox"))).is_kept is False
    await until(lambda: workshop.ears.texts == ["made a fox"])
    assert await statuses(raw) == {}
    assert workshop.told() == [("started", None), ("success", None)]
    assert await claimed(workshop, wish()) == []


def wish(**fields: Any) -> Wish:
    told: dict[str, Any] = {"batch": 10, "most_rub": EVERYTHING, "since": LONG_AGO, "thorough": True}
    return Wish(uuid4(), **{**told, **fields})


async def claimed(workshop: Workshop, wish: Wish) -> list[Claim]:
    async with workshop.rooms.of(Database).acquire() as conn:
        return await workshop.rooms.of(Queue).claim(workshop.rooms, conn, wish)


async def test_with_the_database_away_it_is_made_here(workshop: Workshop, raw: Any) -> None:
    assert (await placed_without_a_transaction(workshop, order("a fox"))).is_new
    await until(lambda: workshop.ears.texts == ["made a fox"])
    assert workshop.rooms.of(InProcess) is not None
    assert await statuses(raw) == {}


async def test_limited_models_are_for_the_thorough(workshop: Workshop) -> None:
    for what in (NARROW, NARROW):
        await workshop.place(order(what=what))
    await workshop.place(order())
    assert [one.model_id for one in await claimed(workshop, wish(thorough=False))] == ["free"]
    await workshop.place(order())
    taken = await claimed(workshop, wish(batch=2))
    assert sorted(one.model_id for one in taken) == ["free", "narrow"], "no more than hands"


async def test_leaving(workshop: Workshop, raw: Any) -> None:
    door, mine = workshop.rooms.of(Queue), wish()
    assert await door.attend(workshop.rooms, mine.instance_id, "a test") == set()
    await workshop.place(order())
    (claim,) = await claimed(workshop, mine)
    (held,) = await door.attend(workshop.rooms, mine.instance_id, "a test")
    assert (held.job_id, held.lease) == (claim.job_id, claim.lease)
    assert await door.leave(workshop.rooms, mine.instance_id) == 1
    assert await statuses(raw) == {"waiting": 1}
