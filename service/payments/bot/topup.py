"""/topup: from a pack by way of a processor to the address where it is paid.

It knows the catalogue, and processors by what they take; the order itself is orders.py's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID, uuid5

from service.catalog import Catalog, Pack, amounts
from service.config import Config
from service.errors import Invalid, Upstream
from service.kernel.database import Database
from service.kernel.log import Log
from service.payments import orders
from service.payments.bot import texts
from service.payments.event import Money
from service.payments.orders import Order
from service.payments.providers import Providers
from service.payments.providers.provider import Provider
from service.telegram import reply
from service.telegram.reply import Button, Link, Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update
from service.text import Text

PACKS_IN_A_ROW = 2
# Under which an update's order gets its id: the same update is the same order.
ORDERS = UUID("6f1d7b52-4f0c-5d0e-9a1e-2b7c1f7a9d34")

router = Router()
log = Log("payments")


class Way(NamedTuple):
    """A way to pay a pack: where, and how much."""

    provider: Provider
    price: Money


def ways_to_pay(pack: Pack, providers: Iterable[Provider]) -> list[Way]:
    """At each processor in the first of the pack's currencies that it takes."""
    ways = []
    for provider in providers:
        taken = [code for code in pack.prices if code in provider.currencies]
        if taken:
            ways.append(Way(provider, Money(pack.prices[taken[0]], taken[0])))
    return ways


@router.command("topup")
@router.button(texts.TOPUP_BUTTON)
async def offer_packs(ctx: Context, update: Update) -> Reply:
    providers = ctx.of(Providers)
    buttons: list[Button] = [
        (ctx.say(pack.title) if pack.title else amounts.roubles(pack.credit_rub), f"topup:{pack.id}")
        for pack in ctx.of(Catalog).packs
        if ways_to_pay(pack, providers)
    ]
    if not buttons:
        return reply.show(update, ctx.say(texts.NOTHING_TO_BUY))
    rows = [buttons[at : at + PACKS_IN_A_ROW] for at in range(0, len(buttons), PACKS_IN_A_ROW)]
    return reply.show(update, ctx.say(texts.CHOOSE_PACK), rows)


@router.callback("topup")
async def choose(ctx: Context, update: Update) -> Reply:
    """`topup`, `topup:<pack>` or `topup:<pack>:<processor>`; where there is but one way, it is not asked for."""
    _, pack_id, name, *_ = [*update.data.split(":"), "", ""]
    if not pack_id:
        return await offer_packs(ctx, update)
    pack = ctx.of(Catalog).pack(pack_id)
    ways = ways_to_pay(pack, ctx.of(Providers)) if pack else []
    ways = [way for way in ways if name in ("", way.provider.name)]
    if pack is None or not ways:
        raise Invalid("That is not sold any more.")
    return await _order(ctx, update, pack, ways[0]) if len(ways) == 1 else _offer_ways(ctx, update, pack, ways)


def _offer_ways(ctx: Context, update: Update, pack: Pack, ways: list[Way]) -> Reply:
    rows = [[_way_button(ctx, pack, way)] for way in ways]
    text = ctx.say(texts.CHOOSE_PROCESSOR, roubles=amounts.roubles(pack.credit_rub))
    return reply.show(update, text, [*rows, [(ctx.say(texts.BACK), "topup")]])


def _way_button(ctx: Context, pack: Pack, way: Way) -> Button:
    price = amounts.of(way.price.amount, way.price.currency)
    return f"{ctx.say(way.provider.title)} – {price}", f"topup:{pack.id}:{way.provider.name}"


async def _order(ctx: Context, update: Update, pack: Pack, way: Way) -> Reply:
    """Outside of any transaction, as the processor is called; the update's second delivery is the same order."""
    order = Order(
        payment_id=uuid5(ORDERS, f"{ctx.of(Config).bot_id}:{update.update_id}"),
        user_id=ctx.user_id,
        provider=way.provider.name,
        money=way.price,
        credit_rub=pack.credit_rub,
        pack_id=pack.id,
    )
    back = [(ctx.say(texts.BACK), "topup")]
    try:
        payment = await orders.place(ctx.rooms, order, ctx.language)
    except Upstream as error:
        again = [(ctx.say(texts.AGAIN), update.data)]
        return reply.show(update, ctx.say(await _what_went_wrong(ctx, order, error)), [again, back])
    if not (payment.is_open and payment.pay_url):
        return reply.show(update, ctx.say(texts.OVER), [back])
    text = ctx.say(texts.ORDERED, roubles=amounts.roubles(payment.credit_rub))
    pay = Link(ctx.say(texts.PAY, amount=amounts.of(payment.amount, payment.currency)), payment.pay_url)
    return reply.show(update, text, [[pay], back])


async def _what_went_wrong(ctx: Context, order: Order, error: Upstream) -> Text:
    """An order that was refused for good is given up; any other is asked about by recovery."""
    log.warning("order not made", provider=order.provider, payment_id=str(order.payment_id), reason=error.message)
    if not error.permanent:
        return texts.NO_ANSWER
    async with ctx.of(Database).transaction() as conn:
        await orders.give_up(conn, order.payment_id)
    return texts.NOT_MADE
