"""Copies of a question: one is answered, the others wait for it or find its answer."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import Invalid, Unavailable
from service.kernel.once import Once


class Work:
    """Counts its runs, waits until it is let go, and then raises or returns."""

    def __init__(self) -> None:
        self.runs = 0
        self.go_on = asyncio.Event()
        self.error: BaseException | None = None

    async def __call__(self) -> str:
        self.runs += 1
        run = self.runs
        await self.go_on.wait()
        if self.error:
            raise self.error
        return f"answer {run}"


@pytest.fixture
def once() -> Once[int, str]:
    return Once(3, worth_it=lambda _: True)


async def begun(once: Once[int, str], work: Work, copies: int) -> list[asyncio.Task[tuple[str, bool]]]:
    tasks = [asyncio.create_task(once.answer(1, work)) for _ in range(copies)]
    await asyncio.sleep(0)
    assert work.runs == 1
    return tasks


async def test_copies_wait_for_the_first_and_find_it_later(once: Once[int, str]) -> None:
    work = Work()
    copies = await begun(once, work, 5)
    work.go_on.set()
    assert await asyncio.gather(*copies) == [("answer 1", False), *[("answer 1", True)] * 4]
    assert await once.answer(1, work) == ("answer 1", True)
    assert (await once.answer(2, work))[1] is False


async def test_an_error_is_told_to_all_who_wait_and_forgotten(once: Once[int, str]) -> None:
    work = Work()
    work.error = Invalid("no")
    copies = await begun(once, work, 3)
    work.go_on.set()
    assert {str(outcome) for outcome in await asyncio.gather(*copies, return_exceptions=True)} == {"no"}
    work.error = None
    assert await once.answer(1, work) == ("answer 2", False)


@pytest.mark.parametrize("error", [RuntimeError("inside"), asyncio.CancelledError()])
async def test_what_is_not_for_the_outside_is_unavailable_to_who_waits(once: Once[int, str], error: Exception) -> None:
    work = Work()
    work.error = error
    first, copy = await begun(once, work, 2)
    work.go_on.set()
    with pytest.raises(type(error)):
        await first
    with pytest.raises(Unavailable):
        await copy


async def test_the_first_may_leave(once: Once[int, str]) -> None:
    work = Work()
    first, copy = await begun(once, work, 2)
    first.cancel()
    with pytest.raises(Unavailable):
        await copy
    work.go_on.set()
    assert await once.answer(1, work) == ("answer 2", False)


async def test_who_waits_may_leave(once: Once[int, str]) -> None:
    work = Work()
    first, copy, other = await begun(once, work, 3)
    copy.cancel()
    await asyncio.sleep(0)
    work.go_on.set()
    assert await asyncio.gather(first, other) == [("answer 1", False), ("answer 1", True)]


async def test_what_is_not_worth_it_is_shared_and_forgotten() -> None:
    once = Once[int, str](3, worth_it=lambda answer: answer != "answer 1")
    work = Work()
    copies = await begun(once, work, 2)
    work.go_on.set()
    assert await asyncio.gather(*copies) == [("answer 1", False), ("answer 1", True)]
    assert await once.answer(1, work) == ("answer 2", False)
    assert await once.answer(1, work) == ("answer 2", True)


async def test_only_the_latest_are_remembered(once: Once[int, str]) -> None:
    work = Work()
    work.go_on.set()
    for key in range(5):
        await once.answer(key, work)
    assert [(await once.answer(key, work))[1] for key in (4, 3, 2)] == [True, True, True]
    assert (await once.answer(0, work))[1] is False


async def test_a_forgotten_answer_is_worked_out_again(once: Once[int, str]) -> None:
    work = Work()
    work.go_on.set()
    await once.answer(1, work)
    once.forget(1)
    once.forget(2)
    assert await once.answer(1, work) == ("answer 2", False)
