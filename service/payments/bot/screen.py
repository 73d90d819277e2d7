"""A message that its buttons turn into another. It knows updates and replies, and nothing of what is shown."""

from __future__ import annotations

from collections.abc import Sequence

from service.telegram import reply
from service.telegram.reply import Button, Link, Reply
from service.telegram.router import Context
from service.telegram.update import Update


def show(ctx: Context, update: Update, text: str, rows: Sequence[Sequence[Button | Link]] = ()) -> Reply:
    """In place of the message whose button was pressed; a new message otherwise."""
    markup = reply.inline_keyboard(rows)
    query = update.callback_query
    if query is None:
        return reply.send(ctx.chat_id, text, reply_markup=markup)
    done = reply.answer_callback(query.id)
    if query.message is None:  # so old that Telegram does not tell
        return reply.send(ctx.chat_id, text, reply_markup=markup).and_(done)
    return reply.edit(ctx.chat_id, query.message.message_id, text, reply_markup=markup).and_(done)
