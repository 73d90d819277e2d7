"""The buttons of an order: Cancel while it is under way, Repeat under its result.

It knows the door for orders, by which the money goes back as well; it knows no queue.
"""

from __future__ import annotations

from uuid import UUID

from service.catalog import Catalog, amounts
from service.errors import Invalid
from service.features.generation import orders
from service.features.generation.bot import generate, telling, texts
from service.features.generation.work import Cancelled
from service.telegram import reply
from service.telegram.reply import NOTHING, Call, Reply
from service.telegram.router import Context, Router
from service.telegram.update import CallbackQuery, Update

router = Router()


@router.callback("cancel", writes=True)
async def cancel(ctx: Context, update: Update) -> Reply:
    query, job_id = _pressed(update)
    cancelled = await orders.cancel(ctx, job_id)
    if cancelled is None:
        is_his = await orders.of(ctx, job_id) is not None
        toast = reply.answer_callback(query.id, ctx.say(texts.OVER_ALREADY if is_his else texts.NO_SUCH_ORDER))
        return toast.and_(_without_buttons(query)) if is_his else toast
    said = ctx.say(texts.CANCELLED, title=telling.title_of(ctx.of(Catalog), cancelled.model_id, ctx.language))
    if cancelled.price_rub:
        said = f"{said} {ctx.say(texts.MONEY_BACK, price=amounts.roubles(cancelled.price_rub))}"
    done = reply.show(update, said, [[telling.again_button(job_id, ctx.language)]])
    return done.and_(_without_progress(query, cancelled))


@router.callback("again", writes=True)
async def again(ctx: Context, update: Update) -> Reply:
    """The same model and prompt, at today's price."""
    query, job_id = _pressed(update)
    job = await orders.of(ctx, job_id)
    if job is None:
        return reply.answer_callback(query.id, ctx.say(texts.NO_SUCH_ORDER))
    made = await generate.order(ctx, update, job.model_id, job.prompt)
    return made.and_(reply.answer_callback(query.id))


def _pressed(update: Update) -> tuple[CallbackQuery, UUID]:
    """The button, and the job that it is about: `cancel:<id>`. Raises Invalid."""
    query = update.callback_query
    assert query is not None, "the route is of this kind"
    try:
        return query, UUID(update.data.partition(":")[2])
    except ValueError:
        raise Invalid("There is no such order.") from None


def _without_buttons(query: CallbackQuery) -> Reply:
    if query.message is None:
        return NOTHING
    where = {"chat_id": query.message.chat.id, "message_id": query.message.message_id}
    return Reply((Call("editMessageReplyMarkup", where),))


def _without_progress(query: CallbackQuery, cancelled: Cancelled) -> Reply:
    """The message about the progress goes, unless it is the one whose button was pressed."""
    message_id = cancelled.progress_message_id
    if message_id is None or (query.message and query.message.message_id == message_id):
        return NOTHING
    return Reply((Call("deleteMessage", {"chat_id": cancelled.chat_id, "message_id": message_id}),))
