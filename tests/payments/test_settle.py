"""Settlement: what an event does to a payment, a balance and the ledger."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from service.errors import Unavailable
from service.feature import Rooms
from service.kernel.database import Database
from service.payments.settle import Settlement
from tests.payments.money import BROKEN, balance_of, entries_of, order, paid, refunded, rooms_for, settle
from tests.waiting import until


@pytest.fixture
def rooms(db: Database) -> Rooms:
    return rooms_for(db)


@pytest.fixture(autouse=True)
async def invariant(raw: Any) -> Any:
    yield
    assert await raw.fetch(BROKEN) == []


async def test_a_paid_order_is_credited_once(rooms: Rooms, raw: Any) -> None:
    payment_id = await order(raw)
    assert (await settle(rooms, paid(payment_id))).status == "applied"
    again = await settle(rooms, paid(payment_id))
    assert (again.status, again.reason) == ("ignored", "the payment is succeeded already")
    assert await entries_of(raw) == [("topup", Decimal("150.00"))]
    assert await balance_of(raw) == Decimal("150.00")


async def test_a_repeated_delivery_is_known(rooms: Rooms, raw: Any) -> None:
    report = paid(await order(raw))
    await settle(rooms, report)
    again = await settle(rooms, report)
    assert again.repeated
    assert again.status == "applied"


async def test_fifty_copies_at_once(rooms: Rooms, raw: Any) -> None:
    """Case 1: the same event 50 times in parallel is one entry."""
    report = paid(await order(raw))
    outcomes = await asyncio.gather(*(settle(rooms, report) for _ in range(50)))
    assert sum(not outcome.repeated for outcome in outcomes) == 1
    assert await entries_of(raw) == [("topup", Decimal("150.00"))]


async def test_a_refund_takes_its_part_of_the_credit(rooms: Rooms, raw: Any) -> None:
    payment_id = await order(raw)
    await settle(rooms, paid(payment_id))
    assert (await settle(rooms, refunded())).status == "applied"
    assert await balance_of(raw) == Decimal("100.00")
    assert await raw.fetchval("SELECT refunded_rub FROM payments WHERE payment_id = $1", payment_id) == Decimal("50.00")


async def test_a_refund_before_its_payment_waits(rooms: Rooms, raw: Any) -> None:
    payment_id, refund = await order(raw), refunded()
    assert (await settle(rooms, refund)).status == "waiting"
    await settle(rooms, paid(payment_id))
    assert (await settle(rooms, refund)).status == "applied"
    assert await balance_of(raw) == Decimal("100.00")


async def test_a_refund_that_fails_is_given_again(rooms: Rooms, raw: Any) -> None:
    await settle(rooms, paid(await order(raw)))
    await settle(rooms, refunded())
    assert (await settle(rooms, refunded(change="returned"))).status == "applied"
    assert await balance_of(raw) == Decimal("150.00")
    assert (await settle(rooms, refunded())).status == "ignored"
    assert [kind for kind, _ in await entries_of(raw)] == ["topup", "chargeback", "adjustment"]


class Dying:
    """A connection whose backend is terminated before its nth statement."""

    def __init__(self, conn: Any, raw: Any, backend: int, statement: int) -> None:
        self._conn, self._raw, self._backend, self._left = conn, raw, backend, statement

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._conn, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval"):
            return found

        async def run(*args: Any, **more: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                await self._raw.execute("SELECT pg_terminate_backend($1, 2000)", self._backend)
            return await found(*args, **more)

        return run


@pytest.mark.parametrize("statement", range(1, 6))
@pytest.mark.parametrize("of_refund", [False, True])
async def test_the_backend_dies(db: Database, rooms: Rooms, raw: Any, statement: int, of_refund: bool) -> None:
    """Cases 10 and 11: terminated before any statement, nothing of it is left; told again, it is done once."""
    report = paid(await order(raw))
    if of_refund:
        await settle(rooms, report)
        report = refunded()
    before = await balance_of(raw)
    try:
        async with db.transaction() as conn:
            backend = await conn.fetchval("SELECT pg_backend_pid()")
            await rooms.of(Settlement).settle(rooms, Dying(conn, raw, backend, statement), report)
    except Unavailable:
        assert await balance_of(raw) == before
        assert await raw.fetchval("SELECT count(*) FROM payment_events") == of_refund
    await until(lambda: db.reachable)
    await settle(rooms, report)
    assert await balance_of(raw) == Decimal("100.00" if of_refund else "150.00")


async def test_names_of_several_payments_are_for_people(rooms: Rooms, raw: Any) -> None:
    """Whichever of them were chosen, it might be the wrong one."""
    for name in ("p1", "p2"):
        await settle(rooms, paid(await order(raw), name))
    both = refunded(references=(("yookassa", "p1"), ("yookassa", "p2")))
    outcome = await settle(rooms, both)
    assert (outcome.status, outcome.reason) == ("review", "its names belong to several payments")
    assert await balance_of(raw) == Decimal("300.00")
