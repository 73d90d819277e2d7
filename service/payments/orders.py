"""Orders: a payment that a person is about to make. First our row, then the processor, then what it answered.

It knows how an order comes to be, and that each step may be the last before a crash; it knows no processor by name.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import msgspec

from service.errors import NotFound
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.payments.event import Money, Payment
from service.payments.inbox import SQL
from service.payments.providers import Providers
from service.text import Language, Text

# Stripe's longest; a link that is older leads to an order that a person has forgotten.
PAYABLE_FOR = timedelta(hours=24)
TITLE = Text(en="Top-up by {roubles} ₽", ru="Пополнение на {roubles} ₽")

_create_payment = SQL.exec("create_payment")
_name_payment = SQL.one("name_payment", Payment)
_get_payment = SQL.one("get_payment", Payment)
_list_payments_of = SQL.many("list_payments_of", Payment)
_cancel_unmade = SQL.exec("cancel_unmade")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants to pay, and gets for it. The same `payment_id` is the same order."""

    payment_id: UUID
    user_id: int
    provider: str
    money: Money
    credit_rub: Decimal
    pack_id: str


async def place(rooms: Rooms, order: Order, language: Language) -> Payment:
    """The order as the processor agreed to it, with the address where it is paid. Placed again, it is the same one.

    Not inside a transaction: the processor is called. Raises Upstream, NotFound, UserMissing, Unavailable.
    """
    provider, now = rooms.of(Providers).get(order.provider), rooms.of(Clock).now()
    async with rooms.of(Database).transaction() as conn:
        await _create_payment(
            conn,
            payment_id=order.payment_id,
            user_id=order.user_id,
            provider=order.provider,
            amount=order.money.amount,
            currency=order.money.currency,
            credit_rub=order.credit_rub,
            pack_id=order.pack_id,
            test=not provider.live,
            until=now + PAYABLE_FOR,
            now=now,
        )
        payment = await get(conn, order.payment_id)
    return await agree(rooms, payment, language)


async def agree(rooms: Rooms, payment: Payment, language: Language) -> Payment:
    """Have the processor expect an order that is still being created; any other is as it is. Also after a crash.

    Raises Upstream: permanent where the processor refused for good (see `give_up`).
    """
    if payment.status != "creating":
        return payment
    provider = rooms.of(Providers).get(payment.provider)
    title = TITLE.in_(language, roubles=f"{payment.credit_rub:f}".removesuffix(".00"))
    created = await provider.create(payment, title=title, language=language)
    async with rooms.of(Database).transaction() as conn:
        named = await _name_payment(
            conn,
            payment_id=payment.payment_id,
            provider_payment_id=created.provider_payment_id,
            pay_url=created.pay_url,
            now=rooms.of(Clock).now(),
        )
    assert named is not None, "payments are never deleted"
    return named


async def give_up(conn: Connection, payment_id: UUID) -> None:
    """The processor refused for good to make it. One that it has made stays."""
    await _cancel_unmade(conn, payment_id=payment_id)


async def get(conn: Connection, payment_id: UUID) -> Payment:
    """Raises NotFound."""
    payment = await _get_payment(conn, payment_id=payment_id)
    if payment is None:
        raise NotFound("There is no such payment.")
    return payment


async def latest(conn: Connection, user_id: int, page: int) -> list[Payment]:
    """A person's orders, paid or not, the newest first."""
    return await _list_payments_of(conn, user_id=user_id, page=page)
