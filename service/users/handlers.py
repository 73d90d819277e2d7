"""The conversation that every bot has: start, menu, help, language, and being blocked.

It knows what to answer; it knows no SQL and no HTTP.
"""

from __future__ import annotations

import re

import msgspec

from service.errors import Invalid, NotFound, UserMissing
from service.feature import Event, Menu, tell
from service.telegram import reply
from service.telegram.reply import NOTHING, Reply
from service.telegram.router import Context, Router, payload_of
from service.telegram.update import Update
from service.text import LANGUAGES, language_of
from service.users import repo, texts
from service.users.people import People

router = Router()

# https://core.telegram.org/bots/api#chatmember: what a person makes of the bot by blocking it.
BLOCKED = "kicked"
BUTTONS_IN_A_ROW = 2
# What a link to the bot can carry: https://core.telegram.org/bots/features#deep-linking
_CARRIED = re.compile(r"[A-Za-z0-9_-]{1,64}")


@router.command("start", writes=True)
async def greet(ctx: Context, update: Update) -> Reply:
    """The first of a person's starts is kept, with what the link carried by which he came. A group's is not his."""
    if update.in_private:
        await _note_start(ctx, update)
    sender = update.sender
    name = (sender.first_name or sender.username if sender else None) or "👋"
    return reply.send(ctx.chat_id, ctx.say(texts.WELCOME, name=name), reply_markup=menu_keyboard(ctx))


@router.command("menu")
async def show_menu(ctx: Context, _update: Update) -> Reply:
    return reply.send(ctx.chat_id, ctx.say(texts.MENU), reply_markup=menu_keyboard(ctx))


@router.command("help", when_away="run")
@router.button(texts.HELP_BUTTON, when_away="run")
async def show_help(ctx: Context, _update: Update) -> Reply:
    lines = [f"/{command} – {ctx.say(text)}" for command, text in ctx.of(Menu).commands]
    return reply.send(ctx.chat_id, "\n".join([ctx.say(texts.HELP), "", *lines]))


@router.command("language")
@router.button(texts.LANGUAGE_BUTTON)
async def offer_languages(ctx: Context, _update: Update) -> Reply:
    """Reads the row past the cache: what is offered must be what is stored."""
    try:
        spoken = await ctx.of(People).language_of(ctx.user_id)
    except NotFound:  # deleted by hand, and nobody told us
        raise UserMissing from None
    buttons = [(texts.LANGUAGE_NAMES[language], f"language:{language}") for language in LANGUAGES]
    text = texts.CHOOSE_LANGUAGE.in_(spoken)
    return reply.send(ctx.chat_id, text, reply_markup=reply.inline_keyboard([buttons]))


@router.callback("language", writes=True)
async def choose_language(ctx: Context, update: Update) -> Reply:
    """The keyboard below speaks it as well, for which it takes a new message."""
    query = update.callback_query
    _, _, chosen = update.data.partition(":")
    if query is None or chosen not in LANGUAGES:
        raise Invalid("There is no such language.")
    if await repo.choose_language(ctx.transaction, user_id=ctx.user_id, language=chosen) is None:
        raise UserMissing
    ctx = msgspec.structs.replace(ctx, language=language_of(chosen))
    text, keyboard, done = ctx.say(texts.LANGUAGE_CHOSEN), menu_keyboard(ctx), reply.answer_callback(query.id)
    if query.message is None:
        return reply.send(ctx.chat_id, text, reply_markup=keyboard).and_(done)
    changed = reply.edit(ctx.chat_id, query.message.message_id, text)
    return changed.and_(reply.send(ctx.chat_id, ctx.say(texts.MENU), reply_markup=keyboard)).and_(done)


@router.kind("my_chat_member", writes=True, when_away="retry")
async def note_blocked(ctx: Context, update: Update) -> Reply:
    """A person blocked the bot, or took it back. In groups it says nothing about the person."""
    change = update.my_chat_member
    if change is not None and change.chat.type == "private":
        is_active = change.new_chat_member.status != BLOCKED
        await repo.mark_active(ctx.transaction, user_id=ctx.user_id, is_active=is_active)
    return NOTHING


@router.kind("message", when_away="run")
async def admit_confusion(ctx: Context, _update: Update) -> Reply:
    """In private only: in a group most messages are meant for somebody else, and have no route."""
    return reply.send(ctx.chat_id, ctx.say(texts.NOT_UNDERSTOOD))


@router.kind("callback_query", when_away="run")
async def stop_spinner(_ctx: Context, update: Update) -> Reply:
    """A button of a message from another time."""
    return reply.answer_callback(update.callback_query.id) if update.callback_query else NOTHING


async def _note_start(ctx: Context, update: Update) -> None:
    carried = _CARRIED.fullmatch(payload_of(update))
    started_with = carried[0] if carried else ""
    if await repo.note_start(ctx.transaction, user_id=ctx.user_id, started_with=started_with):
        ctx.afterwards.append(lambda: tell(ctx.rooms, Event("started", ctx.user_id)))


def menu_keyboard(ctx: Context) -> dict[str, object]:
    buttons = [ctx.say(button) for button in ctx.of(Menu).buttons]
    rows = [buttons[at : at + BUTTONS_IN_A_ROW] for at in range(0, len(buttons), BUTTONS_IN_A_ROW)]
    return reply.keyboard(rows)
