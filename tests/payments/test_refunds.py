"""Refunds and disputes: in whichever order a processor tells of them, they end in the same balance."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.feature import Rooms
from service.kernel.database import Database
from service.payments import reservations
from service.payments.event import Money, Report
from service.payments.reservations import Hold
from tests.cast import PAYER
from tests.payments.money import (
    BROKEN,
    LONG,
    balance_of,
    entries_of,
    order,
    paid,
    refunded,
    rooms_for,
    settle,
    settle_until_nothing_waits,
)

THREE_DOLLARS = {"amount": Decimal("3.00"), "currency": "USD", "credit_rub": Decimal("100.00"), "provider": "stripe"}
people = itertools.count(10_000)


@pytest.fixture
def rooms(db: Database) -> Rooms:
    return rooms_for(db)


@pytest.fixture(autouse=True)
async def invariant(raw: Any) -> Any:
    yield
    assert await raw.fetch(BROKEN) == []
    assert await raw.fetch(DISAGREEING) == []


# Payments that say of their refunds something else than the ledger does.
DISAGREEING = """
SELECT payment_id FROM payments
WHERE refunded_rub <> coalesce((SELECT -sum(amount_rub) FROM payment_transactions AS entry
        WHERE entry.payment_id = payments.payment_id AND type <> 'topup'), 0)
    OR refunded_amount <> coalesce((SELECT sum(amount) FROM payment_refunds AS refund
        WHERE refund.payment_id = payments.payment_id AND refund.status = 'succeeded'), 0)
"""


class Told:
    """What Stripe says of one payment of three dollars, each thing under a name of its own."""

    def __init__(self, payment_id: UUID, parts: dict[str, str]) -> None:
        mark = payment_id.hex
        self.payment_id, self.mark, self.parts = payment_id, mark, parts
        self.pay = paid(
            payment_id,
            f"pi_{mark}",
            provider="stripe",
            references=(("stripe", f"pi_{mark}"),),
            money=Money(Decimal("3.00"), "USD"),
            effect_key=f"stripe:payment:pi_{mark}",
        )
        self.refund1, self.refund2 = self._back("refund1"), self._back("refund2")
        self.refund1_failed = self._back("refund1", "returned")
        self.withdrawn = self._back("dispute", kind="dispute")
        self.reinstated = self._back("dispute", "returned", kind="dispute")

    def _back(self, name: str, change: str = "refunded", kind: str = "refund") -> Report:
        return refunded(
            refund=f"{name}_{self.mark}",
            amount=self.parts[name],
            change=change,
            refund_kind=kind,
            provider="stripe",
            references=(("stripe", f"pi_{self.mark}"),),
            money=Money(Decimal(self.parts[name]), "USD"),
            effect_key=f"stripe:{name}:{self.mark}",
        )

    @property
    def everything(self) -> tuple[Report, ...]:
        return self.pay, self.refund1, self.refund2, self.refund1_failed, self.withdrawn, self.reinstated


async def told(raw: Any, parts: dict[str, str]) -> tuple[int, Told]:
    user_id = next(people)
    return user_id, Told(await order(raw, user_id=user_id, **THREE_DOLLARS), parts)


def some_orders(count: int) -> list[Sequence[int]]:
    """Every order of six, or so many of them, among them the one in which it happened and its reverse."""
    orders = list(itertools.permutations(range(6)))
    return orders if LONG else [orders[0], orders[-1], *random.sample(orders, count)]


THIRDS = {"refund1": "1.00", "refund2": "1.00", "dispute": "1.00"}
# All that is paid is claimed back twice: what is too much waits until something of it came to us again.
TOO_MUCH = {"refund1": "2.00", "refund2": "1.00", "dispute": "3.00"}


@pytest.mark.parametrize(("parts", "left"), [(THIRDS, "66.67"), (TOO_MUCH, "66.67")])
async def test_every_order_ends_in_the_same_balance(rooms: Rooms, raw: Any, parts: dict[str, str], left: str) -> None:
    """Case 4: {pay, refund1, refund2, refund1 failed, dispute withdrawn, reinstated}, whatever comes first.

    Case 43: a dispute that was won after the debit is credited back once.
    """
    for at in some_orders(80):
        user_id, story = await told(raw, parts)
        reports = [story.everything[place] for place in at]
        for report in reports:
            await settle(rooms, report)
        await settle_until_nothing_waits(rooms, reports)
        assert await balance_of(raw, user_id) == Decimal(left), at


@pytest.mark.parametrize(("parts", "left"), [(THIRDS, "66.67"), (TOO_MUCH, "66.67")])
async def test_duplicates_in_parallel(rooms: Rooms, raw: Any, parts: dict[str, str], left: str) -> None:
    """Case 4, everything three times and all at once."""
    for _ in range(40 if LONG else 8):
        user_id, story = await told(raw, parts)
        copies = [*story.everything] * 3
        random.shuffle(copies)
        await asyncio.gather(*(settle(rooms, report) for report in copies))
        await settle_until_nothing_waits(rooms, story.everything)
        assert await balance_of(raw, user_id) == Decimal(left)


async def test_parts_add_up_to_the_credit(rooms: Rooms, raw: Any) -> None:
    """100.00 RUB for three parts of a dollar: 33.33, 33.34 and 33.33, and nothing is left over."""
    user_id, story = await told(raw, THIRDS)
    for report in (story.pay, story.refund1, story.refund2, story.withdrawn):
        await settle(rooms, report)
    taken = [amount for kind, amount in await entries_of(raw, user_id) if kind == "chargeback"]
    assert taken == [Decimal("-33.33"), Decimal("-33.34"), Decimal("-33.33")]
    assert await balance_of(raw, user_id) == 0


async def test_a_kopek_does_not_depend_on_the_order(rooms: Rooms, raw: Any) -> None:
    """The second part was 33.34 only because of the first: when that fails, 33.33 is what is missing."""
    user_id, story = await told(raw, THIRDS)
    for report in (story.pay, story.refund1, story.refund2, story.refund1_failed):
        await settle(rooms, report)
    assert await balance_of(raw, user_id) == Decimal("66.67")


async def test_more_than_was_paid(rooms: Rooms, raw: Any) -> None:
    """Case 39: several refunds whose sum is more than was paid: what is too much is for operators."""
    await settle(rooms, paid(await order(raw)))
    assert (await settle(rooms, refunded(refund="r1", amount="100.00"))).status == "applied"
    too_much = refunded(refund="r2", amount="50.01")
    outcome = await settle(rooms, too_much)
    assert (outcome.status, outcome.reason) == ("review", "50.01 RUB is more than is left of 150.00 RUB")
    assert (await settle(rooms, refunded(refund="r3", amount="50.00"))).status == "applied"
    assert await balance_of(raw) == 0
    assert (await settle(rooms, too_much)).repeated


async def test_what_was_too_much_fits_after_a_refund_failed(rooms: Rooms, raw: Any) -> None:
    """Cases 4 and 39: money that came to us again makes room, and what waits for operators is tried again."""
    await settle(rooms, paid(await order(raw)))
    await settle(rooms, refunded(refund="r1", amount="100.00"))
    second = refunded(refund="r2", amount="100.00")
    assert (await settle(rooms, second)).status == "review"
    await settle(rooms, refunded(refund="r1", amount="100.00", change="returned"))
    assert (await settle(rooms, second)).status == "applied"
    assert await balance_of(raw) == Decimal("50.00")


async def test_a_refund_that_failed_is_credited_once(rooms: Rooms, raw: Any) -> None:
    """Case 39: a refund that fails later is reversed, whoever says so and however often."""
    await settle(rooms, paid(await order(raw)))
    await settle(rooms, refunded())
    again = [await settle(rooms, refunded(change="returned")) for _ in range(3)]
    assert [one.status for one in again] == ["applied", "ignored", "ignored"]
    assert await balance_of(raw) == Decimal("150.00")


@pytest.mark.parametrize(
    ("amount", "currency"), [("0.00", "RUB"), ("-1.00", "RUB"), ("50.00", "USD"), ("150.01", "RUB")]
)
async def test_no_part_of_the_payment(rooms: Rooms, raw: Any, amount: str, currency: str) -> None:
    await settle(rooms, paid(await order(raw)))
    outcome = await settle(rooms, refunded(money=Money(Decimal(amount), currency)))
    assert outcome.status == "review"
    assert await balance_of(raw) == Decimal("150.00")


async def test_the_same_refund_with_another_amount(rooms: Rooms, raw: Any) -> None:
    await settle(rooms, paid(await order(raw)))
    await settle(rooms, refunded(change="refund_pending", amount="50.00"))
    assert (await settle(rooms, refunded(amount="60.00"))).status == "review"
    assert await balance_of(raw) == Decimal("150.00")


async def test_pending_refunds_move_nothing(rooms: Rooms, raw: Any) -> None:
    await settle(rooms, paid(await order(raw)))
    await settle(rooms, refunded(change="refund_pending"))
    assert await balance_of(raw) == Decimal("150.00")
    await settle(rooms, refunded())
    assert (await settle(rooms, refunded(change="refund_pending"))).status == "ignored"
    assert await balance_of(raw) == Decimal("100.00")


async def test_a_refund_takes_what_was_spent(rooms: Rooms, raw: Any) -> None:
    """Case 40: the payer has spent it: he owes it, the entry is the processor's amount, and a top-up fills the hole."""
    await settle(rooms, paid(await order(raw)))
    held = Hold(uuid4(), PAYER.user_id, Decimal("120.00"), "a picture")
    async with rooms.of(Database).transaction() as conn:
        await reservations.reserve(conn, held, None)
        await conn.execute("SELECT 1")
    await settle(rooms, refunded(amount="150.00"))
    assert await balance_of(raw) == Decimal("-120.00")
    assert (await entries_of(raw))[-1] == ("chargeback", Decimal("-150.00"))
    await settle(rooms, paid(await order(raw), "p2"))
    assert await balance_of(raw) == Decimal("30.00")


class Asked:
    """An operator's refund, as it stands while the processor is asked: its roubles are put aside."""

    def __init__(self, payment_id: UUID) -> None:
        self.payment_id, self.refund_id, self.reservation_id = payment_id, uuid4(), uuid4()

    async def begin(self, rooms: Rooms, amount: str = "50.00") -> Asked:
        async with rooms.of(Database).transaction() as conn:
            held = Hold(self.reservation_id, PAYER.user_id, Decimal(amount), "refund")
            await reservations.reserve(conn, held, None)
            await conn.execute(
                "INSERT INTO payment_refunds (refund_id, payment_id, provider, status, amount, reservation_id)"
                " VALUES ($1, $2, 'yookassa', 'requested', $3, $4)",
                self.refund_id,
                self.payment_id,
                Decimal(amount),
                self.reservation_id,
            )
        return self

    async def status(self, raw: Any) -> tuple[str, str]:
        return tuple(
            await raw.fetchrow(
                "SELECT refund.status, held.status FROM payment_refunds AS refund"
                " JOIN payment_reservations AS held USING (reservation_id) WHERE refund_id = $1",
                self.refund_id,
            )
        )


async def asked(rooms: Rooms, raw: Any) -> Asked:
    payment_id = await order(raw)
    await settle(rooms, paid(payment_id))
    return await Asked(payment_id).begin(rooms)


async def test_an_operators_refund_spends_what_was_put_aside(rooms: Rooms, raw: Any) -> None:
    refund = await asked(rooms, raw)
    await settle(rooms, refunded(request_id=refund.refund_id))
    assert await refund.status(raw) == ("succeeded", "captured")
    assert (await entries_of(raw))[-1] == ("chargeback", Decimal("-50.00"))
    assert await balance_of(raw) == Decimal("100.00")
    await settle(rooms, refunded(change="returned"))
    assert await balance_of(raw) == Decimal("150.00")


async def test_an_operators_refund_that_fails_releases(rooms: Rooms, raw: Any) -> None:
    refund = await asked(rooms, raw)
    await settle(rooms, refunded(change="returned", request_id=refund.refund_id))
    assert await refund.status(raw) == ("failed", "released")
    assert await balance_of(raw) == Decimal("150.00")


async def test_a_processor_that_does_not_name_our_refund(rooms: Rooms, raw: Any) -> None:
    """The answer was lost and the notification has no metadata: it is the one that we asked for."""
    refund = await asked(rooms, raw)
    await settle(rooms, refunded())
    assert await refund.status(raw) == ("succeeded", "captured")
    assert await balance_of(raw) == Decimal("100.00")


async def test_a_dispute_is_not_the_refund_that_we_asked_for(rooms: Rooms, raw: Any) -> None:
    """Of the same amount, and yet something else: the refund is still to be made, and its roubles stay aside."""
    refund = await asked(rooms, raw)
    await settle(rooms, refunded(refund="dp_1", refund_kind="dispute"))
    assert await refund.status(raw) == ("requested", "held")
    await settle(rooms, refunded(request_id=refund.refund_id))
    assert await refund.status(raw) == ("succeeded", "captured")
    assert await balance_of(raw) == Decimal("50.00")
