"""The worker: from an order to its delivery, and who has a job when somebody dies, hangs, stops or changes his mind."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from service.catalog import Catalog
from service.errors import FeatureOff, Invalid, TransactionConflict, Unavailable, Upstream
from service.feature import Rooms
from service.features.generation.billing import Billing, BillingByBalance
from service.features.generation.providers.provider import File, Output, Pending, ProviderFailed, Request
from service.features.generation.queue import tending, worker
from service.features.generation.queue.bell import Bell
from service.features.generation.queue.door import Queue, QueueInTable, Wish
from service.features.generation.queue.table import Lease
from service.features.generation.work import Claim, Ended
from service.kernel.database import Connection, Database
from tests.cast import PAYER
from tests.features.generation.queue.workshop import (
    NARROW,
    PAID,
    PRICE,
    Another,
    Workshop,
    answering,
    becomes,
    forever,
    model,
    order,
    people,
    raising,
    reservations,
    row_of,
    statuses,
)
from tests.payments.money import balance_of, credit, entries_of
from tests.waiting import until


async def test_from_the_order_to_the_delivery(workshop: Workshop, raw: Any) -> None:
    async with workshop.working():
        wanted = order("a fox")
        await workshop.place(wanted)
        row = await becomes(raw, wanted.job_id, "success")
        await until(lambda: workshop.ears.texts == ["made a fox"])
    assert workshop.told() == [("started", None), ("success", None)]
    told = workshop.events[-1].told
    assert (told["request_id"], told["is_free"], told["price_rub"]) == (str(wanted.job_id), True, 0)
    assert (await row_of(raw, wanted.job_id))["delivered_at"] is not None
    assert (row["instance_id"], row["attempts"]) == (None, 1)
    assert await raw.fetchval("SELECT count(*) FROM balances") == 0, "free work touches no balance"
    assert await raw.fetchval("SELECT count(*) FROM payment_reservations") == 0
    assert await raw.fetchval("SELECT count(*) FROM instances") == 0, "it said good-bye"


async def test_paid_work(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "10.00")
    wanted = order(what=PAID)
    await workshop.place(wanted)
    assert await balance_of(raw) == Decimal("7.00")
    async with workshop.working():
        await becomes(raw, wanted.job_id, "success")
        await until(lambda: workshop.ears.texts)
    assert await reservations(raw) == [("captured", PRICE)]
    assert (await entries_of(raw))[1:] == [("deduction", -PRICE)]
    assert workshop.events[-1].told["price_rub"] == PRICE


async def test_what_fails_costs_nothing(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "10.00")
    workshop.maker.deeds["a cat"] = raising(ProviderFailed("refused", "no", permanent=True))
    wanted = order(what=PAID)
    await workshop.place(wanted)
    async with workshop.working():
        row = await becomes(raw, wanted.job_id, "failed")
    assert (row["error_code"], row["attempts"]) == ("refused", 1)
    assert await reservations(raw) == [("released", 0)]
    assert await balance_of(raw) == Decimal("10.00")
    assert workshop.told()[-1] == ("failed", "refused")
    assert workshop.events[-1].told["price_rub"] == 0


@pytest.mark.parametrize("how", ["expired", "gone before the end"])
async def test_what_was_put_aside_is_lost(workshop: Workshop, raw: Any, how: str) -> None:
    """Nothing is given and nothing charged, whenever that is noticed."""
    await credit(workshop.rooms, "10.00")

    async def lose(_request: Request | None = None) -> Output:
        async with workshop.rooms.of(Database).transaction() as conn:
            await conn.execute("UPDATE payment_reservations SET status = 'released', finished_at = now()")
            await conn.execute("UPDATE balances SET balance_rub = balance_rub + 3")
        return Output("a secret")

    wanted = order("lost", what=PAID)
    await workshop.place(wanted)
    if how == "expired":
        await lose()
    else:
        workshop.maker.deeds["lost"] = lose
    async with workshop.working():
        row = await becomes(raw, wanted.job_id, "failed")
        await until(lambda: workshop.ears.heard)
    assert (row["error_code"], row["outputs"]) == ("reservation_lost", None)
    assert len(workshop.maker.started) == (0 if how == "expired" else 1)
    assert "secret" not in str(workshop.ears.heard)
    assert await balance_of(raw) == Decimal("10.00")
    assert workshop.told()[-1] == ("failed", "reservation_lost")


async def test_paid_work_waits_while_there_is_no_money(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "10.00")
    paid, free = order(what=PAID), order()
    await workshop.place(paid)
    billing = workshop.rooms.of(Billing)
    workshop.rooms = workshop.rooms.with_({Billing: Billing()})
    with pytest.raises(FeatureOff):
        await workshop.place(order(what=PAID))
    async with workshop.working():
        await workshop.place(free)
        await becomes(raw, free.job_id, "success")
        assert (await row_of(raw, paid.job_id))["status"] == "queued"
        workshop.rooms = workshop.rooms.with_({Billing: billing})
        await becomes(raw, paid.job_id, "success")


async def test_tries_again_what_may_end_better(
    workshop: Workshop, raw: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "POLL_S", 0.02)
    busy = ProviderFailed("rate_limited", "wait", permanent=False, retry_after=20)
    workshop.maker.deeds["a cat"] = raising(busy, RuntimeError("a mistake"))
    wanted = order()
    await workshop.place(wanted)
    async with workshop.working():
        row = await becomes(raw, wanted.job_id, "waiting")
        assert (row["due_at"] - clock.now()).total_seconds() == 20, "as long as the provider asks"
        clock.forward(seconds=20)
        await until(lambda: len(workshop.maker.started) == 2)
        row = await becomes(raw, wanted.job_id, "waiting")
        assert 5 <= (row["due_at"] - clock.now()).total_seconds() <= 15, "twice five, more or less"
        clock.forward(seconds=15)
        row = await becomes(raw, wanted.job_id, "success")
    assert (row["attempts"], row["error_code"]) == (3, None)
    assert [word for word, _ in workshop.told()] == ["started"] * 3 + ["success"]


async def test_three_tries_are_enough(
    workshop: Workshop, raw: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "POLL_S", 0.02)
    workshop.maker.deeds["a cat"] = raising(*[RuntimeError("a mistake")] * 9)
    await credit(workshop.rooms, "10.00")
    wanted = order(what=PAID)
    await workshop.place(wanted)
    async with workshop.working():
        for tries in (1, 2):
            await until(lambda tries=tries: len(workshop.maker.started) == tries)  # type: ignore[misc]
            await becomes(raw, wanted.job_id, "waiting")
            clock.forward(seconds=300)
        row = await becomes(raw, wanted.job_id, "failed")
    assert (row["attempts"], row["error_code"], row["error_message"]) == (3, "broken", "RuntimeError")
    assert await balance_of(raw) == Decimal("10.00")


async def test_what_takes_longer_than_it_may(workshop: Workshop, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.maker.deeds["a cat"] = forever()
    slow = model("slow", timeout_s=1)
    wanted = order(what=slow)
    sell(workshop, slow)
    await workshop.place(wanted)
    async with workshop.working():
        row = await becomes(raw, wanted.job_id, "timeout")
    assert row["error_code"] == "timeout"
    assert workshop.told()[-1] == ("timeout", "timeout")


def sell(workshop: Workshop, *models: Any) -> None:
    workshop.rooms = workshop.rooms.with_({Catalog: Catalog(packs=(), referral_percent=Decimal(0), models=models)})


async def test_a_model_that_is_not_sold_any_more(workshop: Workshop, raw: Any) -> None:
    await credit(workshop.rooms, "10.00")
    wanted = order(what=PAID)
    await workshop.place(wanted)
    sell(workshop)
    async with workshop.working():
        row = await becomes(raw, wanted.job_id, "failed")
    assert row["error_code"] == "model_gone"
    assert await balance_of(raw) == Decimal("10.00")


async def test_under_way_at_the_providers(
    workshop: Workshop, raw: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "POLL_S", 0.02)
    workshop.maker.deeds["a cat"] = answering(Pending("task-1", 5))
    workshop.maker.deeds["check"] = answering(Pending("task-1", 5), Output("a cat at last"))
    wanted = order()
    await workshop.place(wanted)
    async with workshop.working():
        row = await becomes(raw, wanted.job_id, "waiting")
        assert (row["reference"], row["instance_id"]) == ("task-1", None)
        clock.forward(seconds=5)
        await until(lambda: len(workshop.maker.checked) == 1)
        await becomes(raw, wanted.job_id, "waiting")
        clock.forward(seconds=5)
        row = await becomes(raw, wanted.job_id, "success")
        await until(lambda: workshop.ears.texts == ["a cat at last"])
    assert (row["attempts"], len(workshop.maker.started)) == (1, 1)
    assert workshop.told() == [("started", None), ("success", None)]
    assert workshop.events[-1].told["task_id"] == "task-1"
    assert workshop.events[-1].told["duration_ms"] == 10_000


async def test_a_task_is_given_up_at_its_deadline(
    workshop: Workshop, raw: Any, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage at the provider's included: its silence does not make the deadline later."""
    monkeypatch.setattr(worker, "POLL_S", 0.02)
    workshop.maker.deeds["a cat"] = answering(Pending("task-1", 5))
    down = ProviderFailed("unreachable", "down", permanent=False, retry_after=1_000)
    workshop.maker.deeds["check"] = raising(down)
    wanted = order()
    await workshop.place(wanted)
    async with workshop.working():
        deadline = (await becomes(raw, wanted.job_id, "waiting"))["deadline_at"]
        clock.forward(seconds=5)
        await until(lambda: workshop.maker.checked)
        row = await becomes(raw, wanted.job_id, "waiting")
        assert (row["due_at"], row["reference"]) == (deadline, "task-1")
        clock.forward(seconds=56)
        row = await becomes(raw, wanted.job_id, "timeout")
        await until(lambda: workshop.maker.cancelled == ["task-1"])
    assert len(workshop.maker.checked) == 1


async def test_called_off_while_it_is_made_by_another_process(workshop: Workshop, another: Another, raw: Any) -> None:
    await credit(workshop.rooms, "10.00")
    other = await another()
    other.maker.deeds["a cat"] = forever()
    wanted = order(what=PAID)
    await workshop.place(wanted)
    async with other.working():
        await until(lambda: other.maker.under_way == 1)
        assert await workshop.cancel(wanted.job_id) is not None
        await until(lambda: other.maker.under_way == 0)
        assert await workshop.cancel(wanted.job_id) is None
    row = await row_of(raw, wanted.job_id)
    assert (row["status"], row["instance_id"], row["delivered_at"]) == ("cancelled", None, workshop.clock.now())
    assert other.ears.texts == []
    assert await reservations(raw) == [("released", 0)]
    assert await balance_of(raw) == Decimal("10.00")


async def test_called_off_though_nobody_heard(workshop: Workshop, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next beat notices."""
    workshop.maker.deeds["a cat"] = forever()
    workshop.rooms = workshop.rooms.with_({Bell: workshop.rooms.of(Bell)})
    wanted = order()
    await workshop.place(wanted)
    async with workshop.working() as worker:
        await until(lambda: workshop.maker.under_way == 1)
        await raw.execute("UPDATE generation_jobs SET status = 'cancelled', lease = lease + 1, instance_id = NULL")
        await worker._beat()
        await until(lambda: workshop.maker.under_way == 0)
    assert workshop.ears.texts == []


async def test_taken_from_us_while_we_slept(workshop: Workshop, another: Another, raw: Any, clock: Any) -> None:
    """It is done once, by whoever has it now; what we made of it is thrown away."""
    await credit(workshop.rooms, "10.00")
    awake = asyncio.Event()

    async def late(_request: Request) -> Output:
        await awake.wait()
        return Output("too late")

    workshop.maker.deeds["a cat"] = late
    wanted = order(what=PAID)
    await workshop.place(wanted)
    async with workshop.working() as sleeper:
        await until(lambda: workshop.maker.under_way == 1)
        for loop in sleeper._loops:
            loop.cancel()
        clock.forward(seconds=61)
        other = await another()
        assert await tending.rescue(other.rooms) == {"rescued": 1, "lost": 0}
        async with other.working():
            await becomes(raw, wanted.job_id, "success")
        awake.set()
        await until(lambda: not sleeper._tasks)
    assert (other.ears.texts, workshop.ears.texts) == (["made a cat"], [])
    assert await reservations(raw) == [("captured", PRICE)]
    assert workshop.told() == [("started", None)]


async def test_a_stop_leaves_the_rest_to_others(workshop: Workshop, another: Another, raw: Any) -> None:
    workshop.maker.deeds["long"] = forever()
    long = order("long")
    async with workshop.working():
        await workshop.place(long)
        await until(lambda: workshop.maker.under_way == 1)
    assert dict(await row_of(raw, long.job_id))["status"] == "waiting"
    other = await another()
    async with other.working():
        row = await becomes(raw, long.job_id, "success")
    assert row["attempts"] == 1, "that was no try"


async def test_a_claim_whose_answer_was_lost(workshop: Workshop, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row says that we have it, and we know nothing of it: it is found, and not when its deadline is over."""
    monkeypatch.setattr(worker, "SWEEP_S", 0.1)
    monkeypatch.setattr(worker, "POLL_S", 0.02)

    class Deaf(QueueInTable):
        lost = 0

        async def claim(self, rooms: Rooms, conn: Connection, wish: Wish) -> list[Claim]:
            claims = await super().claim(rooms, conn, wish)
            if claims and not self.lost:
                self.lost = len(claims)
                raise Unavailable
            return claims

    deaf = Deaf()
    workshop.rooms = workshop.rooms.with_({Queue: deaf})
    wanted = [order() for _ in range(5)]
    for one in wanted:
        await workshop.place(one)
    async with workshop.working():
        await until(lambda: deaf.lost)

        async def is_disowned() -> bool:
            return bool(await raw.fetchval("SELECT bool_and(instance_id IS NULL) FROM generation_jobs"))

        await until(is_disowned)
        assert await tending.rescue(workshop.rooms) == {"rescued": deaf.lost, "lost": 0}
        for one in wanted:
            await becomes(raw, one.job_id, "success")
    assert sorted(workshop.maker.started) == sorted(one.job_id for one in wanted)


async def test_an_end_that_cannot_be_written(workshop: Workshop, raw: Any) -> None:
    """Its money goes back at once, and it is not made again and again."""

    class Picky(BillingByBalance):
        async def settle(self, rooms: Rooms, conn: Connection, ended: Ended, claim: Claim) -> None:
            await super().settle(rooms, conn, ended, claim)
            if ended.status == "success":
                raise Invalid

    await credit(workshop.rooms, "10.00")
    workshop.rooms = workshop.rooms.with_({Billing: Picky()})
    wanted = order(what=PAID)
    await workshop.place(wanted)
    async with workshop.working():
        row = await becomes(raw, wanted.job_id, "failed")
    assert (row["error_code"], row["error_message"], row["attempts"]) == ("broken", "Invalid", 1)
    assert await balance_of(raw) == Decimal("10.00")


async def test_an_end_that_meets_a_conflict_is_written_again(workshop: Workshop, raw: Any) -> None:
    class Unlucky(BillingByBalance):
        conflicts = 2

        async def settle(self, rooms: Rooms, conn: Connection, ended: Ended, claim: Claim) -> None:
            await super().settle(rooms, conn, ended, claim)
            if self.conflicts:
                self.conflicts -= 1
                raise TransactionConflict

    await credit(workshop.rooms, "10.00")
    workshop.rooms = workshop.rooms.with_({Billing: Unlucky()})
    wanted = order(what=PAID)
    await workshop.place(wanted)
    async with workshop.working():
        await becomes(raw, wanted.job_id, "success")
    assert len(workshop.maker.started) == 1
    assert (await entries_of(raw))[1:] == [("deduction", -PRICE)]


async def test_a_model_bears_so_many_whoever_works(workshop: Workshop, another: Another, raw: Any) -> None:
    """Three processes at once, and one maker that counts."""

    async def slowly(_request: Request) -> Output:
        await asyncio.sleep(0.02)
        return Output("done")

    workshop.maker.deeds["a cat"] = slowly
    await people(raw, *range(1, 31))
    others = [await another(workshop.maker) for _ in range(2)]
    wanted = [order(user_id=user_id, what=NARROW) for user_id in range(1, 31)]
    async with workshop.working(), others[0].working(), others[1].working():
        for one in wanted:
            await workshop.place(one)
        for one in wanted:
            await becomes(raw, one.job_id, "success", within=30)
    assert workshop.maker.most_under_way == 3
    assert len(workshop.maker.started) == 30


async def test_several_workers_and_many_people(workshop: Workshop, another: Another, raw: Any) -> None:
    """Everything once: made, charged for, delivered, told."""
    user_ids = range(1, 61)
    await people(raw, *user_ids)
    for user_id in user_ids:
        await credit(workshop.rooms, "9.00", user_id=user_id)
    shops = [workshop, await another(), await another()]
    wanted = [order(f"{user_id}-{n}", user_id=user_id, what=PAID) for user_id in user_ids for n in range(3)]
    async with shops[0].working(hands=10), shops[1].working(hands=10), shops[2].working(hands=10):
        await asyncio.gather(*(shop.place_all(wanted[n::3]) for n, shop in enumerate(shops)))

        async def all_done() -> bool:
            return await statuses(raw) == {"success": 180}

        await until(all_done, 60)
    texts = [text for shop in shops for text in shop.ears.texts]
    assert sorted(texts) == sorted(f"made {one.prompt}" for one in wanted)
    assert len([one for shop in shops for one in shop.maker.started]) == 180
    assert sum(shop.told().count(("success", None)) for shop in shops) == 180
    assert await raw.fetchval("SELECT sum(balance_rub) FROM balances") == 0
    assert await raw.fetchval("SELECT count(*) FROM payment_transactions WHERE type = 'deduction'") == 180


async def test_an_outage_in_the_middle(workshop: Workshop, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made is kept until it can be written down; it is not made twice."""
    down, database = asyncio.Event(), workshop.rooms.of(Database)
    honest = Database._require_reachable

    def refuse(self: Database) -> None:
        if down.is_set():
            raise Unavailable
        honest(self)

    async def during(_request: Request) -> Output:
        down.set()
        return Output("made in the dark")

    monkeypatch.setattr(Database, "_require_reachable", refuse)
    workshop.maker.deeds["a cat"] = during
    await credit(workshop.rooms, "10.00")
    wanted = order(what=PAID)
    await workshop.place(wanted)
    async with workshop.working() as one:
        await until(lambda: one._stuck)
        assert one._free == worker.HANDS, "who waits for the database keeps no hand busy"
        down.clear()
        await becomes(raw, wanted.job_id, "success")
        await until(lambda: workshop.ears.texts == ["made in the dark"])
    assert database.reachable
    assert len(workshop.maker.started) == 1


async def test_a_file(workshop: Workshop, raw: Any) -> None:
    workshop.maker.deeds["a cat"] = answering(Output(file=File("cat.txt", "text/plain", b"miaow")))
    wanted = order()
    await workshop.place(wanted)
    workshop.ears.deaf = Upstream("not now")
    async with workshop.working():
        row = await becomes(raw, wanted.job_id, "success")
    assert (row["file"], row["delivered_at"]) == (b"miaow", None)
    assert row["due_at"] > workshop.clock.now(), "recovery delivers it"


async def test_a_hand_holds_one(workshop: Workshop, raw: Any) -> None:
    workshop.maker.deeds["a cat"] = forever()
    for _ in range(5):
        await workshop.place(order())
    async with workshop.working(hands=2) as one:
        await until(lambda: workshop.maker.under_way == 2)
        assert (one._free, workshop.rooms.of(Bell).answered_here) == (0, False)
        assert await statuses(raw) == {"running": 2, "queued": 3}
        assert len(one._held) == 2
        assert all(isinstance(lease, Lease) for lease in one._held)
    assert await statuses(raw) == {"waiting": 2, "queued": 3}
    assert PAYER.user_id == workshop.events[0].user_id
