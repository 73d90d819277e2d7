"""Free work without a queue: a few at a time, a few of each person, and told however it ends."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import Upstream
from service.features.generation import in_process
from service.features.generation.in_process import AT_ONCE, PER_PERSON, InProcess
from service.features.generation.providers.provider import Output, Pending, ProviderFailed
from service.features.generation.work import Order, Placed
from tests.features.generation.queue.conftest import another, clock, workshop
from tests.features.generation.queue.workshop import Workshop, answering, forever, order, raising
from tests.waiting import until

__all__ = ["another", "clock", "workshop"]


def took(workshop: Workshop, wanted: Order) -> Placed:
    placed = workshop.rooms.of(InProcess).place(wanted)
    if placed.is_new:
        workshop.rooms.of(InProcess).start(workshop.rooms, wanted)
    return placed


async def test_a_few_of_each_person_and_a_few_at_once(workshop: Workshop) -> None:
    workshop.maker.deeds["a cat"] = forever()
    mine = [took(workshop, order()) for _ in range(PER_PERSON + 1)]
    assert [one.is_new for one in mine] == [True] * PER_PERSON + [False]
    assert mine[-1].refused
    assert not mine[-1].is_kept
    assert [one.ahead for one in mine] == [*range(PER_PERSON), PER_PERSON]
    for user_id in range(1, 20):
        assert took(workshop, order(user_id=user_id)).is_new
    await until(lambda: workshop.maker.under_way == AT_ONCE)
    assert workshop.maker.most_under_way == AT_ONCE


async def test_not_more_than_fit_into_memory(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "WAITING_MAX", 5)
    workshop.maker.deeds["a cat"] = forever()
    done = [took(workshop, order(user_id=user_id)).is_new for user_id in range(1, 8)]
    assert done == [True] * 5 + [False] * 2


async def test_who_has_his_may_order_again(workshop: Workshop) -> None:
    for turn in range(1, 4):
        for _ in range(PER_PERSON):
            assert took(workshop, order()).is_new
        await until(lambda turn=turn: len(workshop.ears.texts) == turn * PER_PERSON)  # type: ignore[misc]
        await until(lambda: not workshop.rooms.of(InProcess)._tasks)
    assert not workshop.rooms.of(InProcess)._open


async def test_it_waits_for_a_provider_that_takes_its_time(workshop: Workshop) -> None:
    workshop.maker.deeds["a cat"] = answering(Pending("t1", 0.01))
    workshop.maker.deeds["check"] = answering(Pending("t1", 0.01), Output("at last"))
    took(workshop, order())
    await until(lambda: workshop.ears.texts == ["at last"])
    assert workshop.told() == [("started", None), ("success", None)]


async def test_a_failure_is_told_and_counted(workshop: Workshop) -> None:
    workshop.maker.deeds["a cat"] = raising(ProviderFailed("refused", "no", permanent=True))
    took(workshop, order())
    await until(lambda: workshop.ears.texts)
    assert workshop.told() == [("started", None), ("failed", "refused")]


@pytest.mark.parametrize("deaf", [Upstream("away"), None])
async def test_its_place_is_free_whoever_hears(workshop: Workshop, deaf: Exception | None) -> None:
    workshop.ears.deaf = deaf
    took(workshop, order())
    await until(lambda: not workshop.rooms.of(InProcess)._tasks)
    assert took(workshop, order()).ahead == 0


async def test_a_stop_gives_up_what_takes_too_long(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "STOP_GRACE_S", 0.05)
    workshop.maker.deeds["long"] = forever()

    async def soon(_request: object) -> Output:
        await asyncio.sleep(0.01)
        return Output("in time")

    workshop.maker.deeds["short"] = soon
    for prompt in ("long", "short"):
        took(workshop, order(prompt))
    await until(lambda: workshop.maker.under_way == 2)
    await workshop.rooms.of(InProcess).stop()
    await until(lambda: workshop.maker.under_way == 0)
    assert workshop.ears.texts == ["in time"]
