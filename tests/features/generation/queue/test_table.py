"""The queue's table: who comes when, who holds what, and who may end it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from service.errors import UserMissing
from service.features.generation.queue import table
from service.features.generation.work import Claim, Placed
from service.kernel.database import Database
from tests.cast import FRIEND, PAYER
from tests.features.generation.queue.workshop import (
    EVERYTHING,
    FREE,
    NARROW,
    PAID,
    Workshop,
    after,
    model,
    order,
    people,
    row_of,
    statuses,
    success,
)
from tests.payments.money import Noon, credit


async def test_an_order_is_one_job_however_often_it_comes(workshop: Workshop, raw: Any) -> None:
    wanted = order()
    placed = await asyncio.gather(*(workshop.place(wanted) for _ in range(20)))
    assert sorted(one.is_new for one in placed) == [False] * 19 + [True]
    assert all(one.is_kept and not one.refused for one in placed)
    assert await statuses(raw) == {"queued": 1}


async def test_an_order_of_nobody(workshop: Workshop) -> None:
    with pytest.raises(UserMissing):
        await workshop.place(order(user_id=1))


async def test_no_person_has_more_than_ten_open(workshop: Workshop, raw: Any) -> None:
    placed = await asyncio.gather(*(workshop.place(order()) for _ in range(20)))
    assert [one.is_new for one in placed].count(True) == 10
    assert sorted(one.ahead for one in placed if one.is_new) == list(range(10))
    assert [one for one in placed if one.refused] == [Placed(10, False, False, True)] * 10
    (claim, *_) = await workshop.claim(batch=1)
    assert (await workshop.place(order())).refused, "what is under way is open as well"
    await workshop.finish(success(claim))
    assert (await workshop.place(order())).is_new
    assert (await workshop.place(order(user_id=FRIEND.user_id))).ahead == 0


async def test_what_is_known_is_not_too_much(workshop: Workshop) -> None:
    wanted = [order() for _ in range(10)]
    for one in wanted:
        await workshop.place(one)
    again = await workshop.place(wanted[3])
    assert (again.is_new, again.refused) == (False, False)


async def test_a_hundred_of_one_are_not_ahead_of_one_of_ten(workshop: Workshop, raw: Any, clock: Noon) -> None:
    await people(raw, *range(1, 11))
    async with workshop.rooms.of(Database).transaction() as conn:
        for number in range(100):
            await table.enqueue(conn, order(str(number)), clock.now(), 100)
    clock.forward(seconds=1)
    for user_id in range(1, 11):
        await workshop.place(order(user_id=user_id))
    first = await workshop.claim(batch=11)
    assert sorted(one.user_id for one in first) == [*range(1, 11), PAYER.user_id]
    rest = sorted(await workshop.claim(batch=100), key=lambda one: one.place)
    assert [one.prompt for one in rest] == [str(number) for number in range(1, 100)]
    assert rest[0].place - clock.now() == timedelta(seconds=9)


async def test_in_the_order_of_their_places(workshop: Workshop, raw: Any, clock: Noon) -> None:
    await people(raw, *range(1, 21))
    for user_id in range(1, 21):
        clock.forward(seconds=1)
        await workshop.place(order(user_id=user_id))
    taken = [{one.user_id for one in await workshop.claim(batch=4)} for _ in range(5)]
    assert taken == [set(range(at, at + 4)) for at in range(1, 21, 4)]


async def test_a_claim_is_counted_and_has_a_deadline(workshop: Workshop, raw: Any, clock: Noon) -> None:
    await workshop.place(order("a dog"))
    instance_id = uuid4()
    (claim,) = await workshop.claim(instance_id)
    assert (claim.prompt, claim.lease, claim.attempts, claim.reference) == ("a dog", 1, 1, None)
    assert (claim.started_at, claim.deadline_at) == (clock.now(), after(clock, FREE.timeout_s))
    assert await workshop.beat(instance_id) == {table.Lease(claim.job_id, 1)}
    assert await workshop.beat(uuid4()) == set()


async def test_many_claim_at_once_and_nobody_the_same(workshop: Workshop, raw: Any) -> None:
    user_ids = range(1, 201)
    await people(raw, *user_ids)
    await workshop.place_all([order(user_id=one) for one in user_ids])

    async def work() -> list[Claim]:
        mine: list[Claim] = []
        while claims := await workshop.claim(batch=7):
            mine += claims
        return mine

    claims = [one for mine in await asyncio.gather(*(work() for _ in range(8))) for one in mine]
    assert len({one.job_id for one in claims}) == len(claims)
    left = await workshop.claim(batch=200)  # somebody may have passed what another one looked at
    assert {one.user_id for one in claims} | {one.user_id for one in left} == set(user_ids)
    assert len(claims) + len(left) == 200


async def test_due_again_comes_before_what_is_new(workshop: Workshop, clock: Noon) -> None:
    await workshop.place(order("first"))
    (claim,) = await workshop.claim()
    await put_off(workshop, claim, due_s=5)
    await workshop.place(order("second"))
    assert [one.prompt for one in await workshop.claim(batch=0)] == []
    clock.forward(seconds=5)
    assert [one.prompt for one in await workshop.claim(batch=1)] == ["first"]


async def put_off(workshop: Workshop, claim: Claim, due_s: float, reference: str | None = None) -> int:
    async with workshop.rooms.of(Database).acquire() as conn:
        return await table.put_off(
            conn,
            job_id=claim.job_id,
            lease=claim.lease,
            reference=reference,
            progress_message_id=7,
            due_at=after(workshop.clock, due_s),
            now=workshop.clock.now(),
        )


async def test_the_floor_keeps_what_is_below_it_waiting(workshop: Workshop, clock: Noon) -> None:
    await workshop.place(order("early"))
    clock.forward(seconds=60)
    await workshop.place(order("late"))
    floor = after(clock, -1)
    assert [one.prompt for one in await workshop.claim(since=floor)] == ["late"]
    assert [one.prompt for one in await workshop.claim()] == ["early"]


async def test_nothing_dearer_than_that(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "10.00")
    await workshop.place(order(what=PAID))
    await workshop.place(order())
    assert [one.model_id for one in await workshop.claim(most_rub=0)] == ["free"]
    (claim,) = await workshop.claim(most_rub=EVERYTHING)
    await put_off(workshop, claim, due_s=0)
    assert await workshop.claim(most_rub=0) == []
    assert len(await workshop.claim()) == 1


async def test_as_many_as_a_model_bears(workshop: Workshop, raw: Any) -> None:
    """Also where many claim at the same moment; and whoever ends makes room for one."""
    await people(raw, *range(1, 21))
    for user_id in range(1, 21):
        await workshop.place(order(user_id=user_id, what=NARROW))
    assert await workshop.claim() == []
    done = await asyncio.gather(*(workshop.claim_limited(batch=5) for _ in range(8)))
    claims = [one for mine in done for one in mine]
    assert [one.user_id for one in claims] == [1, 2, 3], "one of them took all, in their order"
    assert all(one.attempts == 1 and one.lease == 1 for one in claims)
    await workshop.finish(success(claims[0]))
    await workshop.cancel(claims[1].job_id, 2)
    await put_off(workshop, claims[2], due_s=100, reference="t1")
    claims = await workshop.claim_limited()
    assert [one.user_id for one in claims] == [4, 5], "what is under way at the provider's takes a place"
    assert await workshop.claim_limited() == []


async def test_each_limited_model_has_its_own_limit(workshop: Workshop, raw: Any) -> None:
    wide, single = model("wide", at_once=50), model("single", at_once=1)
    await people(raw, *range(1, 31))
    for user_id in range(1, 31):
        await workshop.place(order(user_id=user_id, what=(NARROW, single, wide)[user_id % 3]))
    claims = await workshop.claim_limited()
    assert {one: [claim.model_id for claim in claims].count(one) for one in ("narrow", "single", "wide")} == {
        "narrow": 3,
        "single": 1,
        "wide": 10,
    }


async def test_only_the_last_lease_counts(workshop: Workshop, raw: Any, clock: Noon) -> None:
    await workshop.place(order())
    instance_id = uuid4()
    (stale,) = await workshop.claim(instance_id)
    await rescue(workshop)
    (fresh,) = await workshop.claim()
    assert (fresh.lease, fresh.attempts) == (stale.lease + 2, 2)
    assert await workshop.finish(success(stale)) == set()
    assert await put_off(workshop, stale, due_s=0) == 0
    assert await workshop.finish(success(fresh, "this one")) == {fresh.job_id}
    assert await workshop.finish(success(fresh, "again")) == set()
    row = await row_of(raw, fresh.job_id)
    assert (row["status"], row["outputs"]) == ("success", '{"text": "this one"}')


async def rescue(workshop: Workshop, most: int = 3, ttl_s: float = 60, batch: int = 100) -> list[table.Rescued]:
    async with workshop.rooms.of(Database).transaction() as conn:
        return await table.rescue(
            conn,
            now=workshop.clock.now(),
            beat_since=after(workshop.clock, -ttl_s),
            overdue_since=after(workshop.clock, -30),
            most_attempts=most,
            most_rub=EVERYTHING,
            batch=batch,
        )


async def test_who_beats_keeps_what_he_has(workshop: Workshop, clock: Noon) -> None:
    alive, late, unknown = uuid4(), uuid4(), uuid4()
    for instance_id in (alive, late, unknown):
        await workshop.place(order(str(instance_id)))
        assert len(await workshop.claim(instance_id)) == 1
    for instance_id in (alive, late):
        await workshop.beat(instance_id)
    assert [one.prompt for one in await rescue(workshop)] == [str(unknown)]
    clock.forward(seconds=55)
    await workshop.beat(alive)
    clock.forward(seconds=6)
    assert [one.prompt for one in await rescue(workshop)] == [str(late)]
    clock.forward(seconds=30)
    await workshop.beat(alive)
    assert [one.prompt for one in await rescue(workshop)] == [str(alive)], "half a minute over its deadline"
    assert await rescue(workshop) == []


async def test_rescued_once_whoever_rescues(workshop: Workshop, raw: Any) -> None:
    await people(raw, *range(1, 41))
    await workshop.place_all([order(user_id=one) for one in range(1, 41)])
    await workshop.claim()
    done = await asyncio.gather(*(rescue(workshop, batch=15) for _ in range(6)))
    done += [await rescue(workshop)]
    rescued = [one.job_id for batch in done for one in batch]
    assert (len(rescued), len(set(rescued))) == (40, 40)
    assert await statuses(raw) == {"waiting": 40}


async def test_begun_too_often(workshop: Workshop, raw: Any, clock: Noon) -> None:
    await workshop.place(order())
    for attempt in (1, 2, 3):
        (claim,) = await workshop.claim()
        assert claim.attempts == attempt
        (one,) = await rescue(workshop)
        assert one.status == ("failed" if attempt == 3 else "waiting")
    row = await row_of(raw, claim.job_id)
    assert (row["error_code"], row["finished_at"], row["due_at"]) == ("worker_lost", clock.now(), clock.now())


async def test_a_task_at_the_providers_is_begun_once(workshop: Workshop, raw: Any) -> None:
    """However many look at it and die: it goes on over there."""
    await workshop.place(order())
    (claim,) = await workshop.claim()
    await put_off(workshop, claim, due_s=0, reference="t1")
    for _ in range(5):
        (again,) = await workshop.claim()
        assert (again.attempts, again.reference, again.deadline_at) == (1, "t1", claim.deadline_at)
        assert again.progress_message_id == 7
        (one,) = await rescue(workshop, most=1)
        assert one.status == "waiting"


async def test_a_call_back_while_it_waits(workshop: Workshop, raw: Any) -> None:
    await workshop.place(order())
    (claim,) = await workshop.claim()
    await put_off(workshop, claim, due_s=100, reference="t1")
    assert await workshop.claim() == []
    assert await called_back(workshop, claim) == 1
    assert len(await workshop.claim()) == 1
    assert (await row_of(raw, claim.job_id))["called_back_at"] is None


async def called_back(workshop: Workshop, claim: Claim) -> int:
    async with workshop.rooms.of(Database).acquire() as conn:
        return await table.call_back(conn, job_id=claim.job_id, now=workshop.clock.now())


async def test_a_call_back_before_it_is_let_go(workshop: Workshop, raw: Any, clock: Noon) -> None:
    """It came between the answer of the provider and the row of it."""
    await workshop.place(order())
    (claim,) = await workshop.claim()
    assert await called_back(workshop, claim) == 1
    assert (await row_of(raw, claim.job_id))["due_at"] is None
    await put_off(workshop, claim, due_s=100, reference="t1")
    (again,) = await workshop.claim()
    await put_off(workshop, again, due_s=100, reference="t1")
    assert await workshop.claim() == [], "it was looked at since"


async def test_a_call_back_too_late(workshop: Workshop) -> None:
    await workshop.place(order())
    (claim,) = await workshop.claim()
    await workshop.finish(success(claim))
    assert await called_back(workshop, claim) == 0


async def test_leaving_is_no_try(workshop: Workshop, raw: Any, clock: Noon) -> None:
    instance_id = uuid4()
    await workshop.beat(instance_id)
    await workshop.place(order("begun"))
    await workshop.place(order("over there"))
    for claim in await workshop.claim(uuid4()):
        await put_off(workshop, claim, due_s=0, reference="t1" if claim.prompt == "over there" else None)
    tries = {("begun", 2), ("over there", 1)}
    assert {(one.prompt, one.attempts) for one in await workshop.claim(instance_id)} == tries
    async with workshop.rooms.of(Database).acquire() as conn:
        assert await table.leave(conn, instance_id=instance_id, now=clock.now()) == 2
        assert await table.leave(conn, instance_id=instance_id, now=clock.now()) == 0
    assert await raw.fetchval("SELECT count(*) FROM instances") == 0
    assert {(one.prompt, one.attempts) for one in await workshop.claim()} == tries


async def test_disowned_by_whoever_has_it(workshop: Workshop, raw: Any) -> None:
    mine, other = uuid4(), uuid4()
    for instance_id in (mine, other):
        await workshop.beat(instance_id)
    await workshop.place(order())
    (claim,) = await workshop.claim(mine)
    lease = table.Lease(claim.job_id, claim.lease)
    async with workshop.rooms.of(Database).acquire() as conn:
        assert await table.disown(conn, other, [lease]) == 0
        assert await table.disown(conn, mine, [table.Lease(claim.job_id, claim.lease - 1)]) == 0
        assert await rescue(workshop) == []
        assert await table.disown(conn, mine, [lease]) == 1
    assert [one.status for one in await rescue(workshop)] == ["waiting"]


async def test_undelivered_and_delivered(workshop: Workshop, raw: Any, clock: Noon) -> None:
    await workshop.place(order())
    (claim,) = await workshop.claim()
    await workshop.finish(success(claim, "a text", due_at=after(clock, 60)))
    async with workshop.rooms.of(Database).acquire() as conn:

        async def undelivered() -> list[table.Undelivered]:
            return await table.claim_undelivered(conn, now=clock.now(), until=after(clock, 60), batch=5)

        assert await undelivered() == []
        clock.forward(seconds=60)
        (one,) = await undelivered()
        assert (one.deliveries, one.result.output.text if one.result.output else None) == (1, "a text")
        assert await undelivered() == []
        clock.forward(seconds=60)
        assert [again.deliveries for again in await undelivered()] == [2]
        assert await table.mark_delivered(conn, {claim.job_id: {"text": "a text"}}, clock.now()) == 1
        clock.forward(seconds=600)
        assert await undelivered() == []
    assert (await row_of(raw, claim.job_id))["delivered_at"] is not None


async def test_what_nobody_must_hear_is_delivered_at_once(workshop: Workshop, raw: Any, clock: Noon) -> None:
    await workshop.place(order())
    (claim,) = await workshop.claim()
    await workshop.finish(success(claim, None, due_at=None))
    assert (await row_of(raw, claim.job_id))["delivered_at"] == clock.now()


async def test_jobs_are_their_persons(workshop: Workshop) -> None:
    wanted = order()
    await workshop.place(wanted)
    assert await workshop.cancel(wanted.job_id, FRIEND.user_id) is None
    async with workshop.rooms.of(Database).acquire() as conn:
        assert await table.get_job(conn, job_id=wanted.job_id, user_id=FRIEND.user_id) is None
        job = await table.get_job(conn, job_id=wanted.job_id, user_id=PAYER.user_id)
        assert job is not None
        assert (job.prompt, job.status, job.outputs) == ("a cat", "queued", None)
        assert await table.is_known(conn, job_id=wanted.job_id)
        assert not await table.is_known(conn, job_id=uuid4())
