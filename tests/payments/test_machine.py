"""Everything that can happen to money, in any order, against a small model.

CHAOS=long makes ten times as many steps; MACHINE_SEED=<n> takes those of a run that failed once more, and has
Hypothesis look for fewer that fail, which takes minutes.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from service.errors import ServiceError
from service.feature import Rooms
from service.kernel.database import Database, DatabaseSettings
from service.payments import reservations, wallet
from service.payments.event import Money, PaymentEvent, Report
from service.payments.ledger import Ledger, Posting, book_differences
from service.payments.settle import Settlement
from tests.payments.model import Hold, Model, Order, Said
from tests.payments.money import BROKEN, LONG, Noon, order, rooms_for

EXAMPLES, STEPS = (1_000, 80) if LONG else (80, 80)
REPLAYED = os.environ.get("MACHINE_SEED")
PEOPLE = 2
ORDERS = 4  # few, so that enough happens to each
# (cents, kopeks): roubles for roubles, thirds that do not divide, a credit of three kopeks.
PRICES = ((15_000, 15_000), (300, 10_000), (300, 10_000), (600, 9_999), (10_000, 3), (3, 100))
TTL = timedelta(hours=1)
AWAY = "ALTER TABLE payment_transactions RENAME TO payment_transactions_away"
BACK = "ALTER TABLE payment_transactions_away RENAME TO payment_transactions"
# A new ledger, empty, as somebody would make it by hand.
ANEW = """
CREATE TABLE payment_transactions (LIKE payment_transactions_away INCLUDING ALL);
DROP TABLE payment_transactions_away
"""
ids = itertools.count(100_000)


class Crash(BaseException):
    """The process is no more."""


class Faulty:
    """A connection on which the process dies before a statement."""

    def __init__(self, conn: Any, tick: Callable[[], None]) -> None:
        self._conn, self._tick = conn, tick

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._conn, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval"):
            return found

        async def run(*args: Any, **more: Any) -> Any:
            self._tick()
            return await found(*args, **more)

        return run


class Mortal:
    """The database of a process that dies before its nth statement, before its commit, or before it hears of that."""

    def __init__(self, db: Database) -> None:
        self.db, self.left, self.committed = db, 0, False
        self.acquire = db.acquire

    def arm(self, statements: int) -> None:
        """0: it lives."""
        self.left, self.committed = statements, False

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.db.transaction() as conn:
            yield Faulty(conn, self._tick)
            self._tick()
        self.committed = True
        self._tick()

    def _tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash


class World:
    """One database and one event loop, in which all examples of a run happen to people of their own."""

    def __init__(self, database_url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.db = Database(DatabaseSettings(database_url, pool_min=1))
        self.run(self.db.start())
        self.raw = self.run(asyncpg.connect(database_url))
        self.mortal = Mortal(self.db)
        self.clock = Noon()
        self.steps = 0

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(work)

    def rooms(self, ledger: Ledger | None = None) -> Rooms:
        rooms = rooms_for(self.db, self.clock, ledger)
        return rooms.with_({Database: self.mortal})

    def close(self) -> None:
        self.run(self.raw.close())
        self.run(self.db.stop())
        self.loop.close()


def report_of(said: Said, payment_id: UUID) -> Report:
    order_of, mark = said.order, payment_id.hex
    is_refund = said.kind in ("refunded", "returned")
    event = PaymentEvent(
        provider="stripe",
        delivery_key=f"evt:{mark}:{said.kind}:{said.refund}:{said.cents}:{said.copy}",
        name=said.kind,
        change=said.kind,
        references=(("stripe", f"pi_{mark}"),),
        order_id=None if is_refund else payment_id,
        user_id=None if is_refund else order_of.person,
        money=Money(Decimal(said.cents) / 100, "USD"),
        effect_key=f"stripe:re_{mark}_{said.refund}" if is_refund else f"stripe:pi_{mark}",
        refund_id=f"re_{mark}_{said.refund}" if is_refund else None,
        refund_kind="dispute" if said.refund % 2 else "refund",
    )
    return Report(event, b"{}")


class Machine(RuleBasedStateMachine):
    world: World
    orders = Bundle("orders")
    events = Bundle("events")
    holds = Bundle("holds")
    crashes = st.sampled_from((*[0] * 40, *range(1, 17)))
    mostly = st.sampled_from((True, True, True, False))
    seldom = st.sampled_from((0, 0, 0, 0, 1))

    def __init__(self) -> None:
        super().__init__()
        self.model, self.away, self.unexplained = Model(), False, False
        self.people = [next(ids) for _ in range(PEOPLE)]
        self.payments: dict[Order, UUID] = {}
        self.reservations: dict[int, UUID] = {}
        self.world.clock.at = Noon().at
        self.rooms, self.standing_in = self.world.rooms(), self.world.rooms(Ledger())
        for person in self.people:
            self.world.run(self.world.raw.execute("INSERT INTO users (user_id) VALUES ($1)", person))

    # What the world does.

    @initialize(target=orders, first=st.sampled_from(PRICES), second=st.sampled_from(PRICES))
    def two_have_money_and_orders(self, first: tuple[int, int], second: tuple[int, int]) -> Any:
        for person in range(PEOPLE):
            self.is_adjusted(person, 10_000, 0)
        return multiple(*(self.orders_something(person, price) for person, price in enumerate((first, second))))

    @precondition(lambda self: len(self.payments) < ORDERS)
    @rule(target=orders, person=st.integers(0, PEOPLE - 1), price=st.sampled_from(PRICES))
    def orders_something(self, person: int, price: tuple[int, int]) -> Order:
        made = Order(next(ids), self.people[person], *price)
        columns = {"provider": "stripe", "amount": Decimal(made.cents) / 100, "currency": "USD"}
        self.payments[made] = self.world.run(
            order(self.world.raw, user_id=made.person, credit_rub=Decimal(made.kopeks) / 100, **columns)
        )
        self.model.orders[made] = "pending"
        return made

    @rule(target=events, of=orders, copy=st.integers(0, 1), short=seldom, now=mostly, crash=crashes)
    def is_paid(self, of: Order, copy: int, short: int, now: bool, crash: int) -> Said:
        """Whole, or a cent short of it."""
        return self._said(Said(of, "paid", copy, cents=of.cents - short or 2), now, crash)

    @rule(target=events, of=orders, kind=st.sampled_from(("paid", "canceled")), now=mostly, crash=crashes)
    def is_paid_or_canceled(self, of: Order, kind: Any, now: bool, crash: int) -> Said:
        return self._said(Said(of, kind, 2, cents=of.cents), now, crash)

    @rule(
        target=events,
        of=orders,
        number=st.sampled_from((1, 1, 2, 2, 3, 4)),
        back=st.booleans(),
        copy=seldom,
        now=mostly,
        crash=crashes,
    )
    def is_given_back(self, of: Order, number: int, back: bool, copy: int, now: bool, crash: int) -> Said:
        """A refund, or a dispute that takes the money; or either of them undone."""
        cents = max(1, of.cents * (1, 1, 2, 3)[number - 1] // 3)
        return self._said(Said(of, "returned" if back else "refunded", copy, number, cents), now, crash)

    @rule(said=events, copies=st.integers(1, 3), crash=crashes)
    def is_delivered(self, said: Said, copies: int, crash: int) -> None:
        """Late, again, after what happened later; or several times at once."""
        if crash or copies == 1:
            self._said(said, True, crash)
        else:
            self._settled(said, copies)

    @rule(
        target=holds, person=st.integers(0, PEOPLE - 1), kopeks=st.sampled_from((1, 99, 3_333, 10_000)), crash=crashes
    )
    def reserves(self, person: int, kopeks: int, crash: int) -> Hold:
        hold = Hold(next(ids), self.people[person], kopeks, self.world.clock.now() + TTL)
        self.reservations[hold.number] = uuid4()
        self._reserved(hold, crash)
        return hold

    @rule(hold=holds, kopeks=st.sampled_from((0, 0, 1)), crash=crashes)
    def reserves_again(self, hold: Hold, kopeks: int, crash: int) -> None:
        again = Hold(hold.number, hold.person, hold.kopeks + kopeks, self.world.clock.now() + TTL)
        self._reserved(again, crash)

    @rule(hold=holds, part=st.sampled_from((0, 1, 2, 3, 4)), crash=crashes)
    def ends(self, hold: Hold, part: int, crash: int) -> None:
        """So many thirds of it are captured; none: it is released."""
        if part:
            self._captured(hold, max(1, hold.kopeks * part // 3), crash)
            return

        async def release(conn: Any) -> str:
            return (await wallet.release(self._rooms, conn, self.reservations[hold.number])).status

        self._do(release, lambda: self.model.release(hold.number), crash)

    @rule(target=holds, person=st.integers(0, 1), kopeks=st.sampled_from((99, 3_333)), part=st.integers(1, 3))
    def spends(self, person: int, kopeks: int, part: int) -> Hold:
        hold = self.reserves(person, kopeks, 0)
        self._captured(hold, kopeks * part // 3, 0)
        return hold

    @rule(person=st.integers(0, PEOPLE - 1), kopeks=st.sampled_from((-5_000, -1, 1, 10_000)), crash=crashes)
    def is_adjusted(self, person: int, kopeks: int, crash: int) -> None:
        posting = Posting(
            effect_key=f"adjust:{uuid4()}",
            user_id=self.people[person],
            amount_rub=Decimal(kopeks) / 100,
            type="adjustment",
            reason="",
        )

        async def post(conn: Any) -> str:
            await self._rooms.of(Ledger).post(conn, posting)
            return "done"

        self._do(post, lambda: self.model.adjust(self.people[person], kopeks), crash)

    @rule(minutes=st.sampled_from((-30, 1, 1, 1, 59, 61)), crash=crashes)
    def time_jumps(self, minutes: int, crash: int) -> None:
        """And the sweeper comes."""
        self.world.clock.forward(minutes=minutes)
        self._do_all(self._expire, lambda: self.model.expire(self.world.clock.now()), crash)

    @rule(lost=st.booleans())
    def ledger_goes_or_returns(self, lost: bool) -> None:
        """As it was; or a new one, that has lost its past."""
        self.world.run(self.world.raw.execute((ANEW if lost else BACK) if self.away else AWAY))
        self.unexplained = self.unexplained or (lost and self.away)
        self.away = not self.away

    @rule(crash=crashes, instances=st.integers(1, 2), booked_only=st.booleans())
    def recovers(self, crash: int, instances: int, booked_only: bool) -> None:
        """What waits is tried again, what stuck comes back, what was not booked is booked."""
        before = None
        while not booked_only and (waiting := self.model.waiting()) and waiting != before:
            before = waiting
            for said in waiting:
                self._settled(said, 1)
        self._do_all(self._expire, lambda: self.model.expire(self.world.clock.now()), 0)
        if not self.away:
            self._booked(crash, 1 if crash else instances)

    def teardown(self) -> None:
        """Whatever happened, in the end it is as if nothing had."""
        if self.away:
            self.ledger_goes_or_returns(False)
        self.recovers(0, 1, False)
        self._compare()

    # How it is done, and compared.

    @property
    def _rooms(self) -> Rooms:
        return self.standing_in if self.away else self.rooms

    def _said(self, said: Said, now: bool, crash: int) -> Said:
        if now:
            self._do(lambda conn: self._settle(conn, said), lambda: self.model.settle(said), crash)
        return said

    def _settled(self, said: Said, copies: int) -> None:
        async def settle() -> str:
            async with self._rooms.of(Database).transaction() as conn:
                return await self._settle(conn, said)

        async def together() -> str:
            return {*await asyncio.gather(*(settle() for _ in range(copies)))}.pop()

        self._do_all(together, lambda: [self.model.settle(said) for _ in range(copies)][-1], 0)

    async def _settle(self, conn: Any, said: Said) -> str:
        report = report_of(said, self.payments[said.order])
        return (await self._rooms.of(Settlement).settle(self._rooms, conn, report)).status

    def _reserved(self, hold: Hold, crash: int) -> None:
        wanted = reservations.Hold(self.reservations[hold.number], hold.person, Decimal(hold.kopeks) / 100, "a picture")

        async def reserve(conn: Any) -> str:
            return (await wallet.reserve(self._rooms, conn, wanted)).status

        self._do(reserve, lambda: self.model.reserve(hold), crash)

    def _captured(self, hold: Hold, kopeks: int, crash: int) -> None:
        async def capture(conn: Any) -> str:
            amount = Decimal(kopeks) / 100
            return (await wallet.capture(self._rooms, conn, self.reservations[hold.number], amount, "work")).status

        self._do(capture, lambda: self.model.capture(hold.number, kopeks, self.world.clock.now()), crash)

    def _booked(self, crash: int, instances: int) -> None:
        async def book() -> str:
            await asyncio.gather(*(book_differences(self.rooms) for _ in range(instances)))
            return "done"

        self._do_all(book, lambda: "done", crash)
        self.unexplained = self.unexplained and bool(crash)

    async def _expire(self) -> str:
        await reservations.expire(self._rooms)
        return "done"

    def _do(self, work: Callable[[Any], Awaitable[str]], expected: Callable[[], str], crash: int) -> None:
        async def whole() -> str:
            async with self._rooms.of(Database).transaction() as conn:
                return await work(conn)

        self._do_all(whole, expected, crash)

    def _do_all(self, work: Callable[[], Awaitable[str]], expected: Callable[[], str], crash: int) -> None:
        """Do it, here and in the model. Dead before the commit, it was not done; dead behind it, it was."""
        self.world.steps += 1
        self.world.mortal.arm(crash)
        try:
            outcome = self.world.run(work())
        except ServiceError as error:
            outcome = type(error).__name__
        except Crash:
            outcome = None
        if outcome is not None or self.world.mortal.committed:
            told = expected()
            assert outcome in (None, told)
        self._compare()

    def _compare(self) -> None:
        found = self.world.run(self.world.raw.fetch(BALANCES, self.people))
        told = {person: self.model.balance(person) for person in self.people}
        assert {row["user_id"]: row["kopeks"] for row in found} == told
        if not self.away and not self.unexplained:
            assert self.world.run(self.world.raw.fetch(f"{BROKEN} AND user_id = any($1)", self.people)) == []


BALANCES = """
SELECT user_id, (coalesce(balance_rub, 0) * 100)::bigint AS kopeks
FROM unnest($1::bigint[]) AS person (user_id) LEFT JOIN balances USING (user_id)
"""


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = World(database_url)
    yield made
    made.close()


@pytest.mark.timeout(1200 if LONG or REPLAYED else 120)
def test_money_is_what_the_model_says(world: World) -> None:
    """Cases 1, 2, 4, 8, 10, 39, 40, 41, 43, 44, 45 and 51, in every mixture that Hypothesis comes upon."""
    number = int(REPLAYED or random.randrange(2**32))

    class Machined(Machine):
        pass

    Machined.world = world
    try:
        run_state_machine_as_test(
            seed(number)(Machined),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                print_blob=True,
                phases=(Phase.generate, Phase.shrink) if REPLAYED else (Phase.generate,),
                suppress_health_check=list(HealthCheck),
            ),
        )
    except BaseException as error:
        error.add_note(f"again: MACHINE_SEED={number}")
        raise
    assert world.steps > EXAMPLES * 10


def test_the_model_adds_up() -> None:
    """The model itself, by hand: a third of 100.00 is 33.33, and three of them are all of it."""
    it, made = Model(), Order(1, 1, 300, 10_000)
    it.orders[made] = "pending"
    refunds = [Said(made, "refunded", refund=number, cents=100) for number in (1, 2, 3)]
    assert it.settle(refunds[0]) == "waiting"
    assert it.settle(Said(made, "paid", cents=300)) == "applied"
    assert [(it.settle(one), it.balance(1)) for one in refunds] == [
        ("applied", 6_667),
        ("applied", 3_333),
        ("applied", 0),
    ]
    assert it.settle(Said(made, "refunded", refund=4, cents=1)) == "review"
    assert it.settle(Said(made, "returned", refund=2, cents=100)) == "applied"
    assert (it.balance(1), it.waiting()) == (3_333, [Said(made, "refunded", refund=4, cents=1)])
