"""Orders: our row first, then the processor, then its answer; and a crash after each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.errors import NotFound, Upstream, UserMissing
from service.feature import Rooms
from service.kernel.database import Database
from service.payments import orders
from service.payments.event import Payment
from service.payments.orders import Order
from service.payments.providers import Providers
from service.payments.providers.provider import Created
from tests.cast import PAYER, STRANGER
from tests.payments.money import BROKEN, ROUBLES, Noon, balance_of, paid, rooms_for, settle


class Processor:
    """Agrees to every order, once for each id, and remembers what it was asked."""

    name, live = "yookassa", False

    def __init__(self, before_it_answers: Callable[[], Any] | None = None) -> None:
        self.asked: list[tuple[UUID, str]] = []
        self.before_it_answers = before_it_answers

    async def create(self, payment: Payment, *, title: str, language: str) -> Created:
        self.asked.append((payment.payment_id, title))
        if self.before_it_answers is not None:
            await self.before_it_answers()
        return Created(f"p-{payment.payment_id}", f"https://example.org/pay/{payment.payment_id}")


@pytest.fixture
def processor() -> Processor:
    return Processor()


@pytest.fixture
async def rooms(db: Database, raw: Any, processor: Any) -> Rooms:
    await raw.execute("INSERT INTO users (user_id) VALUES ($1)", PAYER.user_id)
    return rooms_for(db, Noon()).with_({Providers: Providers([processor])})


def an_order(**fields: Any) -> Order:
    wanted = {"payment_id": uuid4(), "user_id": PAYER.user_id, "provider": "yookassa", "money": ROUBLES}
    return Order(**{**wanted, "credit_rub": Decimal("150.00"), "pack_id": "small", **fields})


async def references_of(raw: Any, payment_id: UUID) -> list[str]:
    found = await raw.fetch("SELECT reference FROM payment_references WHERE payment_id = $1", payment_id)
    return [row["reference"] for row in found]


async def test_an_order_is_placed(rooms: Rooms, raw: Any, processor: Processor) -> None:
    wanted = an_order()
    placed = await orders.place(rooms, wanted, "ru")
    assert (placed.status, placed.money, placed.test) == ("pending", ROUBLES, True)
    assert placed.pay_url == f"https://example.org/pay/{wanted.payment_id}"
    assert placed.expires_at - placed.created_at == orders.PAYABLE_FOR
    assert processor.asked == [(wanted.payment_id, "Пополнение на 150 ₽")]
    assert await references_of(raw, wanted.payment_id) == [f"p-{wanted.payment_id}"]


async def test_placed_again_it_is_the_same(rooms: Rooms, raw: Any, processor: Processor) -> None:
    wanted = an_order()
    first = await orders.place(rooms, wanted, "en")
    assert await orders.place(rooms, wanted, "en") == first
    assert len(processor.asked) == 1
    together = an_order()
    placed = await asyncio.gather(*(orders.place(rooms, together, "en") for _ in range(10)))
    assert len({one.pay_url for one in placed}) == 1
    assert await raw.fetchval("SELECT count(*) FROM payments") == 2


async def test_our_row_is_there_before_the_processor_hears_of_it(rooms: Rooms, raw: Any, processor: Processor) -> None:
    seen = []

    async def look() -> None:
        seen.append(await raw.fetchval("SELECT status FROM payments"))

    processor.before_it_answers = look
    await orders.place(rooms, an_order(), "en")
    assert seen == ["creating"]


async def test_the_answer_is_lost(rooms: Rooms, raw: Any, processor: Processor) -> None:
    """A crash between the processor's word and ours: asked again with the same id, it is the same payment."""

    async def dies() -> None:
        raise Upstream("no answer", permanent=False)

    wanted, processor.before_it_answers = an_order(), dies
    with pytest.raises(Upstream):
        await orders.place(rooms, wanted, "en")
    processor.before_it_answers = None
    async with rooms.of(Database).acquire() as conn:
        created = await orders.get(conn, wanted.payment_id)
    assert created.status == "creating"
    assert (await orders.agree(rooms, created, "en")).status == "pending"
    assert {payment_id for payment_id, _ in processor.asked} == {wanted.payment_id}


async def test_it_is_paid_before_we_know_its_name(rooms: Rooms, raw: Any, processor: Processor) -> None:
    """Case 7: the callback comes before the processor's answer is stored. It is found by our id, and stays paid."""
    wanted = an_order()
    reference = f"p-{wanted.payment_id}"

    async def pays() -> None:
        assert (await settle(rooms, paid(wanted.payment_id, reference))).status == "applied"

    processor.before_it_answers = pays
    placed = await orders.place(rooms, wanted, "en")
    assert (placed.status, placed.provider_payment_id) == ("succeeded", reference)
    assert await balance_of(raw) == Decimal("150.00")
    assert await raw.fetch(BROKEN) == []


async def test_a_callback_before_our_row(rooms: Rooms, raw: Any) -> None:
    """Case 7: a restored database does not know the order yet: the event waits, and is applied when it does."""
    wanted = an_order()
    report = paid(wanted.payment_id, f"p-{wanted.payment_id}")
    assert (await settle(rooms, report)).status == "waiting"
    await orders.place(rooms, wanted, "en")
    assert (await settle(rooms, report)).status == "applied"


async def test_given_up_only_before_it_was_made(rooms: Rooms, raw: Any, processor: Processor) -> None:
    async def refuses() -> None:
        raise Upstream("no such currency", permanent=True)

    made, refused = an_order(), an_order()
    await orders.place(rooms, made, "en")
    processor.before_it_answers = refuses
    with pytest.raises(Upstream):
        await orders.place(rooms, refused, "en")
    async with rooms.of(Database).transaction() as conn:
        for one in (made, refused):
            await orders.give_up(conn, one.payment_id)
        assert (await orders.get(conn, made.payment_id)).status == "pending"
        assert (await orders.get(conn, refused.payment_id)).status == "canceled"
    late = await settle(rooms, paid(refused.payment_id, "late"))
    assert late.status == "applied", "and if it was paid after all, that is money"


async def test_who_and_where_must_be_known(rooms: Rooms, raw: Any, processor: Processor) -> None:
    """Somebody whose row is gone is made again by whoever hears of it; nobody is asked for his money meanwhile."""
    with pytest.raises(UserMissing):
        await orders.place(rooms, an_order(user_id=STRANGER.user_id), "en")
    with pytest.raises(NotFound):
        await orders.place(rooms, an_order(provider="another"), "en")
    async with rooms.of(Database).acquire() as conn:
        with pytest.raises(NotFound):
            await orders.get(conn, uuid4())
    assert processor.asked == []
