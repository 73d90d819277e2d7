"""Many at once on few balances: nobody waits for each other in a circle, and every kopek is where it belongs."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.errors import ServiceError
from service.feature import Rooms
from service.kernel.database import Database
from service.payments import reservations, wallet
from service.payments.ledger import Ledger, Posting, book_differences
from service.payments.reservations import Hold
from tests.cast import FRIEND, PAYER
from tests.payments.money import BROKEN, Noon, credit, order, paid, refunded, rooms_for, settle

# What may be answered when others were faster. Anything else, a TransactionConflict first of all, fails the test.
SOMEBODY_WAS_FASTER = {"InsufficientBalance", "ReservationFinished", "ReservationMismatch"}
AT_ONCE = 40


class Crowd:
    """People at work on their balances, with a count of what each of them was answered."""

    def __init__(self, rooms: Rooms, raw: Any, clock: Noon) -> None:
        self.rooms, self.raw, self.clock = rooms, raw, clock
        self.answers: Counter[str] = Counter()
        self.holds: list[UUID] = []

    async def do(self, work: Callable[[], Awaitable[str]]) -> None:
        try:
            self.answers[await work()] += 1
        except ServiceError as error:
            self.answers[type(error).__name__] += 1

    async def all_of(self, works: list[Callable[[], Awaitable[str]]]) -> None:
        turn = asyncio.Semaphore(AT_ONCE)  # more would only wait for a connection

        async def one(work: Callable[[], Awaitable[str]]) -> None:
            async with turn:
                await self.do(work)

        await asyncio.gather(*(one(work) for work in works))

    def moved(self, user_id: int, roubles: str) -> Callable[[], Awaitable[str]]:
        posting = Posting(
            effect_key=f"adjust:{uuid4()}",
            user_id=user_id,
            amount_rub=Decimal(roubles),
            type="adjustment",
            reason="",
            may_owe=True,
        )

        async def work() -> str:
            async with self.rooms.of(Database).transaction() as conn:
                await self.rooms.of(Ledger).post(conn, posting)
            return f"moved {user_id} {roubles}"

        return work

    def reserved(self, user_id: int, hold_id: UUID) -> Callable[[], Awaitable[str]]:
        async def work() -> str:
            async with self.rooms.of(Database).transaction() as conn:
                await wallet.reserve(self.rooms, conn, Hold(hold_id, user_id, Decimal("1.00"), "work"))
            return "reserved"

        return work

    def ended(self, hold_id: UUID, captured: bool) -> Callable[[], Awaitable[str]]:
        async def work() -> str:
            async with self.rooms.of(Database).transaction() as conn:
                if captured:
                    await wallet.capture(self.rooms, conn, hold_id, Decimal("0.70"), "work")
                else:
                    await wallet.release(self.rooms, conn, hold_id)
            return "ended"

        return work

    def swept(self) -> Callable[[], Awaitable[str]]:
        async def work() -> str:
            later = Noon()
            later.forward(hours=2)
            await reservations.expire(rooms_for(self.rooms.of(Database), later))
            return "swept"

        return work


@pytest.fixture
def crowd(db: Database, raw: Any) -> Crowd:
    clock = Noon()
    return Crowd(rooms_for(db, clock), raw, clock)


async def test_five_hundred_against_five_hundred(crowd: Crowd) -> None:
    """500 credits and 500 debits of two people, shuffled: no deadlock, and what is left is to the kopek."""
    people = (PAYER.user_id, FRIEND.user_id)
    for user_id in people:
        await credit(crowd.rooms, "1000.00", user_id=user_id)
    works = [crowd.moved(user_id, roubles) for user_id in people for roubles in ("2.01", "-2.00") for _ in range(250)]
    random.shuffle(works)
    await crowd.all_of(works)
    assert crowd.answers == {f"moved {user_id} {roubles}": 250 for user_id in people for roubles in ("2.01", "-2.00")}
    balances = await crowd.raw.fetch("SELECT balance_rub FROM balances")
    assert [row["balance_rub"] for row in balances] == [Decimal("1002.50")] * 2
    assert await crowd.raw.fetch(BROKEN) == []


async def test_everything_at_once_on_two_people(crowd: Crowd) -> None:
    """Holds, their repeats, captures, releases, the sweeper and refunds of processors, over a hundred reservations."""
    people = (PAYER.user_id, FRIEND.user_id)
    works = []
    for user_id in people:
        await credit(crowd.rooms, "100.00", user_id=user_id)
        for hold_id in [uuid4() for _ in range(50)]:
            await crowd.reserved(user_id, hold_id)()
            works += [
                crowd.reserved(user_id, hold_id),
                crowd.reserved(user_id, uuid4()),
                crowd.ended(hold_id, True),
                crowd.ended(hold_id, False),
                crowd.moved(user_id, "0.10"),
                crowd.moved(user_id, "-0.10"),
            ]
    works += [crowd.swept()] * 20
    random.shuffle(works)
    await crowd.all_of(works)
    await crowd.swept()()
    assert not set(crowd.answers) - SOMEBODY_WAS_FASTER - {"reserved", "ended", "swept"} - moves(crowd)
    assert await crowd.raw.fetchval("SELECT count(*) FROM payment_reservations WHERE status = 'held'") == 0
    spent = await crowd.raw.fetchval("SELECT sum(captured_rub) FROM payment_reservations")
    assert await crowd.raw.fetchval("SELECT sum(balance_rub) FROM balances") == 200 - spent
    assert await crowd.raw.fetch(BROKEN) == []


def moves(crowd: Crowd) -> set[str]:
    return {answer for answer in crowd.answers if answer.startswith("moved")}


async def test_twenty_workers_over_eighty_people(crowd: Crowd) -> None:
    """Payments, each told three times over, and a refund of a third of each, by twenty workers, in any order."""
    people = range(20_000, 20_080)
    reports = []
    for number, user_id in enumerate(people):
        payment_id = await order(crowd.raw, user_id=user_id)
        mark = f"p{number}"
        reports += [paid(payment_id, mark) for _ in range(3)]
        reports += [refunded(mark, f"r{number}") for _ in range(2)]
    random.shuffle(reports)
    queue = reports.copy()

    async def worker() -> None:
        while queue:
            await settle(crowd.rooms, queue.pop())

    await asyncio.gather(*(worker() for _ in range(20)))
    for report in reports:
        await settle(crowd.rooms, report)
    balances = await crowd.raw.fetch("SELECT balance_rub FROM balances WHERE user_id = any($1)", list(people))
    assert [row["balance_rub"] for row in balances] == [Decimal("100.00")] * 80
    assert await crowd.raw.fetch(BROKEN) == []


async def test_a_payment_and_what_waits_for_it(crowd: Crowd) -> None:
    """A payment wakes the events that wait for it while they come again: neither waits for the other."""
    for number in range(30):
        payment_id = await order(crowd.raw, user_id=30_000 + number)
        mark = f"p{number}"
        backs = [refunded(mark, f"r{number}-{part}", "50.00", order_id=payment_id) for part in range(3)]
        for back in backs:
            assert (await settle(crowd.rooms, back)).status == "waiting"
        done = await asyncio.gather(
            *(settle(crowd.rooms, report) for report in (*backs, paid(payment_id, mark), *backs, *backs))
        )
        assert {one.status for one in done} <= {"applied", "waiting"}
        for back in backs:
            await settle(crowd.rooms, back)
    assert await crowd.raw.fetchval("SELECT sum(balance_rub) FROM balances") == 0
    assert await crowd.raw.fetch(BROKEN) == []


async def test_the_ledger_is_booked_under_traffic(crowd: Crowd, db: Database) -> None:
    """Some instances know that the ledger is back, and some do not yet; two book what was not booked."""
    people = list(range(40_000, 40_010))
    for user_id in people:
        await credit(crowd.rooms, "10.00", user_id=user_id)
    behind = Crowd(rooms_for(db, ledger=Ledger()), crowd.raw, crowd.clock)

    async def book() -> str:
        await book_differences(crowd.rooms)
        return "booked"

    works = [who.moved(user_id, "1.00") for who in (crowd, behind) for user_id in people for _ in range(10)]
    works += [book] * 10
    random.shuffle(works)
    await crowd.all_of(works)
    await book_differences(crowd.rooms)
    sums = await crowd.raw.fetch("SELECT balance_rub, unbooked_rub FROM balances WHERE user_id = any($1)", people)
    assert {tuple(row) for row in sums} == {(Decimal("30.00"), Decimal("0.00"))}
    assert await crowd.raw.fetch(BROKEN) == []
