"""Updates about money.

It knows that money is never dropped: with nothing to sell, a checkout is declined in time, and money that arrives
all the same (an invoice of an earlier bot) is kept whole for an operator instead of being acknowledged away.
"""

from __future__ import annotations

from service.errors import ServiceError
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router
from service.telegram.texts import NO_PAYMENTS
from service.telegram.update import Update

router = Router()


class UnexpectedMoney(ServiceError):
    """Money arrived for which there is no order."""

    code = "unexpected_money"


@router.kind("pre_checkout_query", when_away="run")
async def decline_checkout(ctx: Context, update: Update) -> Reply:
    """Telegram waits 10 s for the answer (https://core.telegram.org/bots/api#answerprecheckoutquery)."""
    query = update.pre_checkout_query
    assert query is not None
    return reply.answer_pre_checkout(query.id, ctx.say(NO_PAYMENTS))


@router.kind("money", when_away="retry")
async def keep_money(_ctx: Context, _update: Update) -> Reply:
    """Raises: the update is sent again, and after a few tries parked whole in failed_updates."""
    raise UnexpectedMoney
