"""Calls under way at the same moment share a statement, and nothing else: not errors, not fates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import errors
from service.kernel.coalesce import BATCH_MAX, LANES, Coalesced
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_complaints")

DEADLINE_S = 0.2


class Table:
    """What is asked, in batches that end when the test says so, or at once."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.batches: list[tuple[int, ...]] = []
        self.gates: list[asyncio.Future[None]] = []
        self.at_once = at_once
        self.answer: Exception | None = None

    async def many(self, keys: Sequence[int]) -> Mapping[int, str]:
        """Odd keys are there, even ones are not; a negative one spoils its statement."""
        self.batches.append(tuple(keys))
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        if not self.at_once:
            await gate
        if self.answer:
            raise self.answer
        if min(keys) < 0:
            raise errors.Invalid
        return {key: f"row {key}" for key in keys if key % 2}


def expected(key: int) -> str | None:
    return f"row {key}" if key % 2 else None


async def started(table: Table, batches: int) -> None:
    await until(lambda: len(table.batches) == batches)


async def test_one_call_is_one_statement_of_one_key() -> None:
    table = Table()
    one = Coalesced(table.many, deadline_s=DEADLINE_S)
    assert (await one(1), await one(2)) == ("row 1", None)
    assert table.batches == [(1,), (2,)]


async def test_those_of_one_moment_share_a_statement() -> None:
    table = Table()
    one = Coalesced(table.many, deadline_s=DEADLINE_S)
    assert await asyncio.gather(*map(one, range(40))) == [expected(key) for key in range(40)]
    assert table.batches == [tuple(range(40))]


async def test_those_who_wait_share_the_next_statement() -> None:
    table = Table(at_once=False)
    one = Coalesced(table.many, deadline_s=5)
    calls = []
    for key in range(40):
        calls.append(asyncio.create_task(one(key)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(table.batches) == 1  # under way; a second lane would make the batches smaller
    table.at_once = True
    for gate in table.gates:
        gate.set_result(None)
    assert await asyncio.gather(*calls) == [expected(key) for key in range(40)]
    assert len(table.batches) == 2
    assert sorted(key for batch in table.batches for key in batch) == list(range(40))


async def test_the_same_key_is_asked_once() -> None:
    table = Table()
    one = Coalesced(table.many, deadline_s=DEADLINE_S)
    assert await asyncio.gather(*(one(7) for _ in range(10))) == ["row 7"] * 10
    assert table.batches == [(7,)]


async def test_a_key_that_is_under_way_is_asked_again() -> None:
    """What a statement under way will answer may be older than what the caller has done."""
    table = Table(at_once=False)
    one = Coalesced(table.many, deadline_s=5)
    first = asyncio.create_task(one(7))
    await started(table, 1)
    second = asyncio.create_task(one(7))
    await started(table, 2)
    for gate in table.gates:
        gate.set_result(None)
    assert (await first, await second) == ("row 7", "row 7")


async def test_a_bad_key_fails_its_own_caller_only() -> None:
    table = Table()
    one = Coalesced(table.many, deadline_s=DEADLINE_S)
    results = await asyncio.gather(*map(one, [1, -1, 3, -2, 4]), return_exceptions=True)
    assert [type(result) if isinstance(result, Exception) else result for result in results] == [
        "row 1",
        errors.Invalid,
        "row 3",
        errors.Invalid,
        None,
    ]
    assert table.batches == [(1, -1, 3, -2, 4), (1,), (-1,), (3,), (-2,), (4,)]


@pytest.mark.parametrize("error", [errors.DatabaseAway, errors.SchemaDrift, errors.PoolExhausted])
async def test_an_unavailable_database_is_told_to_all_at_once(error: type[errors.ServiceError]) -> None:
    table = Table()
    table.answer = error()
    one = Coalesced(table.many, deadline_s=DEADLINE_S)
    results = await asyncio.gather(*map(one, range(40)), return_exceptions=True)
    assert {type(result) for result in results} == {error}
    assert len(table.batches) == 1


async def test_a_caller_who_leaves_leaves_the_others_alone() -> None:
    table = Table(at_once=False)
    one = Coalesced(table.many, deadline_s=5)
    calls = [asyncio.create_task(one(key)) for key in (1, 3, 5)]
    await started(table, 1)
    calls[1].cancel()
    table.gates[0].set_result(None)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert (results[0], type(results[1]), results[2]) == ("row 1", asyncio.CancelledError, "row 5")


async def test_a_statement_has_its_deadline() -> None:
    table = Table(at_once=False)
    one = Coalesced(table.many, deadline_s=DEADLINE_S)
    results = await asyncio.gather(one(1), one(3), return_exceptions=True)
    assert [type(result) for result in results] == [errors.DeadlineExceeded] * 2
    table.at_once = True
    assert await one(1) == "row 1"


async def test_the_deadline_holds_for_the_second_tries_too() -> None:
    async def many(keys: Sequence[int]) -> Mapping[int, str]:
        if len(keys) > 1:
            raise errors.Invalid
        await asyncio.sleep(DEADLINE_S * 0.4)
        return {key: f"row {key}" for key in keys}

    one = Coalesced(many, deadline_s=DEADLINE_S)
    loop = asyncio.get_running_loop()
    began = loop.time()
    results = await asyncio.gather(*map(one, range(50)), return_exceptions=True)
    assert loop.time() - began < DEADLINE_S * 2
    assert results[0] == "row 0"
    assert type(results[-1]) is errors.DeadlineExceeded


async def test_a_stuck_lane_does_not_stop_the_other() -> None:
    table = Table(at_once=False)
    one = Coalesced(table.many, deadline_s=5)
    stuck = asyncio.create_task(one(1))
    await started(table, 1)
    table.at_once = True
    for key in range(2, 50):
        assert await asyncio.wait_for(one(key), 1) == expected(key)
    assert not stuck.done()
    table.gates[0].set_result(None)
    assert await stuck == "row 1"


async def test_more_than_a_batch_holds() -> None:
    table = Table()
    one = Coalesced(table.many, deadline_s=DEADLINE_S)
    keys = range(BATCH_MAX * 2 + 1)
    assert await asyncio.gather(*map(one, keys)) == [expected(key) for key in keys]
    assert [len(batch) for batch in table.batches] == [BATCH_MAX, BATCH_MAX, 1]


async def test_who_calls_when_both_lanes_end_is_not_forgotten() -> None:
    """Answered callers run before the tasks of the lanes are told to be over."""
    table = Table(at_once=False)
    one = Coalesced(table.many, deadline_s=5)

    async def twice(key: int) -> str | None:
        await one(key)
        return await one(key)

    calls = [asyncio.create_task(twice(1))]
    await started(table, 1)
    calls.append(asyncio.create_task(one(3)))
    await started(table, 2)
    table.at_once = True
    for gate in table.gates:
        gate.set_result(None)
    assert await asyncio.wait_for(asyncio.gather(*calls), 1) == ["row 1", "row 3"]


async def test_a_lane_that_is_cancelled_leaves_nobody_waiting() -> None:
    table = Table(at_once=False)
    one = Coalesced(table.many, deadline_s=5)
    call = asyncio.create_task(one(1))
    await started(table, 1)
    table.gates[0].cancel()
    with pytest.raises(errors.Unavailable):
        await asyncio.wait_for(call, 1)
    table.at_once = True
    assert await asyncio.wait_for(one(3), 1) == "row 3"


class Story:
    """Callers who come and go while statements are answered or fail, in any order."""

    def __init__(self) -> None:
        self.table = Table(at_once=False)
        self.one = Coalesced(self.table.many, deadline_s=30)
        self.calls: list[tuple[int, asyncio.Task[str | None]]] = []

    def under_way(self) -> list[asyncio.Future[None]]:
        return [gate for gate in self.table.gates if not gate.done()]

    def call(self, key: int) -> None:
        self.calls.append((key, asyncio.create_task(self.one(key))))

    def cancel(self, number: int) -> None:
        for _, call in self.calls[number : number + 1]:
            call.cancel()

    def answer(self, number: int) -> None:
        for gate in self.under_way()[number : number + 1]:
            gate.set_result(None)

    def fail(self, number: int) -> None:
        for gate in self.under_way()[number : number + 1]:
            gate.set_exception(errors.DatabaseAway())

    async def end(self) -> list[tuple[int, object]]:
        """Answer all, and tell what each caller got."""
        self.table.at_once = True
        for gate in self.under_way():
            gate.set_result(None)
        async with asyncio.timeout(5):
            results = await asyncio.gather(*(call for _, call in self.calls), return_exceptions=True)
        return [(key, result) for (key, _), result in zip(self.calls, results, strict=True)]


STEP = st.one_of(
    st.tuples(st.just(Story.call), st.integers(-3, 8)),
    st.tuples(st.just(Story.cancel), st.integers(0, 20)),
    st.tuples(st.just(Story.answer), st.integers(0, 1)),
    st.tuples(st.just(Story.fail), st.integers(0, 1)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_whatever_the_order_each_gets_his_own(steps: list[tuple[Callable[[Story, int], None], int]]) -> None:
    async def run() -> None:
        story = Story()
        for step, number in steps:
            step(story, number)
            await asyncio.sleep(0)
            assert len(story.under_way()) <= LANES
        for key, result in await story.end():
            if isinstance(result, errors.Invalid):
                assert key < 0
            elif not isinstance(result, asyncio.CancelledError | errors.DatabaseAway):
                assert (key >= 0, result) == (True, expected(key))

    asyncio.run(run())
