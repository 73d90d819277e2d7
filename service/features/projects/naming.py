"""Giving names: a new project's, and another one.

It knows which names there may be. Who is asked is kept by nobody: the last line of the question is the command whose
reply the name is (Update.command_line).
"""

from __future__ import annotations

import re
import unicodedata

from service.features.projects import project, repo, screen, texts
from service.kernel.database import Database
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router, payload_of
from service.telegram.update import Update

NAME_MAX = 64  # characters: the heading of a page on one line or two
# Control characters, halves of characters, and what ends a line or a paragraph.
NOT_IN_A_NAME = frozenset({"Cc", "Cs", "Zl", "Zp"})
_RENAMED = re.compile(r"([0-9]{1,18})(?:\s+(.*))?", re.DOTALL)

router = Router()


def fault_of(ctx: Context, name: str) -> str | None:
    """Why nothing can be called so, or None. The name is trimmed and not empty."""
    if any(unicodedata.category(character) in NOT_IN_A_NAME for character in name):
        return ctx.say(texts.ONE_LINE)
    return ctx.say(texts.TOO_LONG, most=NAME_MAX, n=len(name)) if len(name) > NAME_MAX else None


@router.callback("project_new")
async def ask_for_name(ctx: Context, update: Update) -> Reply:
    return _ask(ctx, update, ctx.say(texts.HOW_NAMED), "/newproject")


@router.command("newproject", writes=True)
async def create(ctx: Context, update: Update) -> Reply:
    name = payload_of(update)
    fault = fault_of(ctx, name)
    if fault or not name:
        return _ask(ctx, update, "\n\n".join(filter(None, (fault, ctx.say(texts.HOW_NAMED)))), "/newproject")
    project_id = await repo.create_project(ctx.transaction, ctx.user_id, name)
    if project_id is None:
        return reply.send(ctx.chat_id, ctx.say(texts.TOO_MANY, most=repo.PROJECTS_MAX))
    return await project.page(ctx, update, ctx.transaction, project_id)


@router.callback("project_name")
async def ask_for_another_name(ctx: Context, update: Update) -> Reply:
    async with ctx.of(Database).acquire() as conn:
        named = await repo.get_project(conn, project_id=screen.number_of(update), user_id=ctx.user_id)
    if named is None:
        return screen.gone(ctx, update)
    question = ctx.say(texts.HOW_RENAMED, name=screen.name(ctx, named.name))
    return _ask(ctx, update, question, f"/renameproject {named.id}")


@router.command("renameproject", writes=True)
async def rename(ctx: Context, update: Update) -> Reply:
    found = _RENAMED.fullmatch(payload_of(update))
    if found is None:
        return screen.gone(ctx, update)
    project_id, name = int(found[1]), found[2] or ""
    fault = fault_of(ctx, name)
    if fault or not name:
        return _ask(ctx, update, fault or ctx.say(texts.HOW_NAMED), f"/renameproject {project_id}")
    await repo.rename_project(ctx.transaction, project_id=project_id, user_id=ctx.user_id, name=name)
    return await project.page(ctx, update, ctx.transaction, project_id)


def _ask(ctx: Context, update: Update, question: str, command: str) -> Reply:
    """https://core.telegram.org/bots/api#forcereply"""
    hint = {"force_reply": True, "input_field_placeholder": ctx.say(texts.NAME_HINT)}
    return reply.send(ctx.chat_id, f"{question}\n\n{command}", reply_markup=hint).and_(screen.done(update))
