"""Payments inside Telegram: the question before one, and the message after it.

It knows when an order may be paid; what follows from money that came is settled where callbacks are.
"""

from __future__ import annotations

from datetime import datetime

from service.errors import NotFound
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.log import Log
from service.payments import callback, orders
from service.payments.bot import texts
from service.payments.event import Payment
from service.payments.providers import Providers, strict, telegram
from service.telegram import reply
from service.telegram.reply import NOTHING, Reply
from service.telegram.router import Context, Router
from service.telegram.update import PreCheckoutQuery, Update
from service.text import Text

# The question is of no use without orders; money that came is kept without any.
questions, money = Router(), Router()
log = Log("payments")


@questions.kind("pre_checkout_query")
async def check(ctx: Context, update: Update) -> Reply:
    """The last moment to say no. Telegram waits 10 s (https://core.telegram.org/bots/api#answerprecheckoutquery)."""
    query = update.pre_checkout_query
    assert query is not None, "the route is of this kind"
    payment = await _ordered(ctx, query)
    no = objection(payment, query, ctx.of(Clock).now())
    if no is not None:
        log.info("checkout declined", payment_id=query.invoice_payload[:36], reason=no.en)
    return reply.answer_pre_checkout(query.id, None if no is None else ctx.say(no))


def objection(payment: Payment | None, query: PreCheckoutQuery, now: datetime) -> Text | None:
    """Why this must not be paid, or None. That it is not paid twice nobody can promise: see settle.py."""
    if payment is None or payment.provider not in (telegram.NAME, telegram.CARDS):
        return texts.UNKNOWN_ORDER
    if query.sender.id != payment.user_id:
        return texts.ANOTHERS_ORDER
    if payment.status == "succeeded":
        return texts.PAID_ALREADY
    if not payment.is_open or payment.expires_at <= now:
        return texts.OUT_OF_DATE
    if (query.total_amount, query.currency) != (strict.minor_units(payment.money), payment.currency):
        return texts.OTHER_AMOUNT
    return None


async def _ordered(ctx: Context, query: PreCheckoutQuery) -> Payment | None:
    payment_id = strict.uuid_of(query.invoice_payload)
    if payment_id is None:
        return None
    async with ctx.of(Database).acquire() as conn:
        try:
            return await orders.get(conn, payment_id)
        except NotFound:
            return None


@money.kind("money", when_away="retry")
async def take_in(ctx: Context, update: Update) -> Reply:
    """Kept and settled as a callback is, once for each charge, so it needs no claim; the notice is told by its job."""
    await callback.take_in(ctx.rooms, ctx.of(Providers).get(telegram.NAME), telegram.report_of(update))
    return NOTHING
