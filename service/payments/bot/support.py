"""/paysupport, which Telegram wants of everybody who takes money: whom to write to, and about which payment.

It knows a person's last payments; it can mend none. https://core.telegram.org/bots/payments#live-checklist
"""

from __future__ import annotations

from service.catalog import Catalog, amounts
from service.kernel.database import Database
from service.payments import orders
from service.payments.bot import texts
from service.payments.event import Payment
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update

SHOWN = 5
NUMBER_LENGTH = 8  # of a payment's id: enough to find it among one person's

router = Router()


@router.command("paysupport")
async def tell_whom_to_write_to(ctx: Context, _update: Update) -> Reply:
    async with ctx.of(Database).acquire() as conn:
        payments = await orders.latest(conn, ctx.user_id, SHOWN)
    whom = ctx.of(Catalog).support or ctx.say(texts.OWNER)
    heading = ctx.say(texts.LAST_PAYMENTS if payments else texts.NO_PAYMENTS_YET)
    lines = [ctx.say(texts.SUPPORT, whom=whom), "", heading, *(_line(ctx, payment) for payment in payments)]
    return reply.send(ctx.chat_id, "\n".join(lines))


def _line(ctx: Context, payment: Payment) -> str:
    """`1a2b3c4d  2026-11-20  230 ⭐  paid`."""
    number, date = payment.payment_id.hex[:NUMBER_LENGTH], payment.created_at.strftime(ctx.say(texts.DATE))
    amount = amounts.of(payment.amount, payment.currency)
    return f"{number}  {date}  {amount}  {ctx.say(texts.STATUSES[payment.status])}"
