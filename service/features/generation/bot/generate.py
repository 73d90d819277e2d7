"""/generate: from a model and a prompt to an order, and what is said to whoever gave it.

It knows the catalogue and the door for orders; what becomes of them is told by others. A question for the prompt is a
message that ends in the command, so nobody needs to remember that it was asked.
"""

from __future__ import annotations

from uuid import UUID, uuid5

from service.catalog import Model, amounts
from service.config import Config
from service.features.generation import orders
from service.features.generation.bot import models, texts
from service.features.generation.work import Order, Placed
from service.payments import wallet
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router, payload_of
from service.telegram.update import Update

# Under which an update's order gets its id: the same update is the same order.
ORDERS = UUID("0f9b2c51-6a8e-5c7d-9f43-1d2e8b7a6c05")
NAME_MAX = 64  # characters that are repeated of what is no model

router = Router()


@router.callback("make", when_away="run")
async def ask_for_prompt(ctx: Context, update: Update) -> Reply:
    model_id = update.data.partition(":")[2]
    model, query = models.model_of(ctx, model_id), update.callback_query
    assert query is not None, "the route is of this kind"
    said = _unknown(ctx, model_id) if model is None else _question(ctx, model)
    return said.and_(reply.answer_callback(query.id))


@router.command("generate", writes=True, when_away="run")
async def generate(ctx: Context, update: Update) -> Reply:
    model_id, prompt, *_ = [*payload_of(update).split(maxsplit=1), "", ""]
    return await order(ctx, update, model_id, prompt) if model_id else await models.show_models(ctx, update)


async def order(ctx: Context, update: Update, model_id: str, prompt: str) -> Reply:
    """Have it made, or say what is to be done first. Raises Unavailable where paid work cannot be ordered."""
    model = models.model_of(ctx, model_id.lower())
    if model is None:
        return _unknown(ctx, model_id)
    if not prompt:
        return _question(ctx, model)
    if len(prompt) > model.prompt_max:
        told = {"title": ctx.say(model.title), "given": len(prompt)}
        return reply.send(ctx.chat_id, ctx.count(texts.TOO_LONG, model.prompt_max, **told))
    job_id = uuid5(ORDERS, f"{ctx.of(Config).bot_id}:{update.update_id}")
    try:
        placed = await orders.place(ctx, Order(job_id, ctx.user_id, ctx.chat_id, ctx.language, model, prompt))
    except wallet.InsufficientBalance:
        return await _not_enough(ctx, model)
    return _placed(ctx, model, placed, job_id)


def _placed(ctx: Context, model: Model, placed: Placed, job_id: UUID) -> Reply:
    if placed.refused:
        too_many = ctx.count(texts.TOO_MANY, placed.ahead) if placed.ahead else ctx.say(texts.BUSY)
        return reply.send(ctx.chat_id, too_many)
    said = ctx.say(texts.ACCEPTED, title=ctx.say(model.title))
    if placed.ahead and placed.is_new:
        said = f"{said} {ctx.count(texts.BEHIND, placed.ahead)}"
    if not placed.is_kept:
        return reply.send(ctx.chat_id, said)
    cancel = ctx.say(texts.CANCEL), f"cancel:{job_id}"
    return reply.send(ctx.chat_id, said, reply_markup=reply.inline_keyboard([[cancel]]))


async def _not_enough(ctx: Context, model: Model) -> Reply:
    balance = await wallet.balance(ctx.transaction, ctx.user_id)
    told = {"price": amounts.roubles(model.price_rub), "balance": amounts.roubles(balance.balance_rub)}
    top_up = reply.inline_keyboard([[(ctx.say(texts.TOP_UP), "topup")]])
    return reply.send(ctx.chat_id, ctx.say(texts.NOT_ENOUGH, **told), reply_markup=top_up)


def _question(ctx: Context, model: Model) -> Reply:
    """https://core.telegram.org/bots/api#forcereply"""
    told = {"title": ctx.say(model.title), "price": models.price_of(ctx, model), "model": model.id}
    answer = {"force_reply": True, "input_field_placeholder": ctx.say(texts.PLACEHOLDER)}
    return reply.send(ctx.chat_id, ctx.say(texts.QUESTION, **told), reply_markup=answer)


def _unknown(ctx: Context, model_id: str) -> Reply:
    return reply.send(ctx.chat_id, ctx.say(texts.UNKNOWN_MODEL, model=model_id[:NAME_MAX]))
