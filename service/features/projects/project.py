"""A project's page: what is in it, page by page; and its end.

It knows a project and the lines of what is in it; it shows no result, that is results.py's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from service.features.projects import repo, screen, texts
from service.features.projects.repo import NEWEST, Place, Project, Saved
from service.features.projects.screen import PAGE, Rows
from service.kernel.database import Connection, Database
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update

NUMBERS_IN_A_ROW = 5
PROMPT_MAX = 40  # characters of what was asked for: two lines on a phone with the rest
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# And where its page begins, within the 64 bytes of a button's data: project:<id>:<microseconds>:<id of the result>.
_PLACE = re.compile(r"project:([0-9]{1,18})(?::([0-9]{1,17}):([0-9]{1,18}))?")

router = Router()


@router.callback("project")
async def show_project(ctx: Context, update: Update) -> Reply:
    found = screen.matched(_PLACE, update.data)
    after = (EPOCH + int(found[2]) * MICROSECOND, int(found[3])) if found[2] else NEWEST
    async with ctx.of(Database).acquire() as conn:
        return await page(ctx, update, conn, int(found[1]), after)


async def page(ctx: Context, update: Update, conn: Connection, project_id: int, after: Place = NEWEST) -> Reply:
    """In place of whatever led here."""
    project = await repo.get_project(conn, project_id=project_id, user_id=ctx.user_id)
    if project is None:
        return screen.gone(ctx, update)
    results = await repo.list_results(conn, project_id, after=after, page=PAGE + 1)
    lines = [_line(ctx, number, saved) for number, saved in enumerate(results[:PAGE], 1)]
    body = [*lines, "", ctx.say(texts.CHOOSE_RESULT)] if lines else [ctx.say(texts.EMPTY_PROJECT)]
    heading = f"💼 {screen.name(ctx, project.name)} · {ctx.count(texts.RESULTS, project.results)}"
    return reply.show(update, "\n".join([heading, "", *body]), _rows(ctx, project, results, after))


def _line(ctx: Context, number: int, saved: Saved) -> str:
    """`1. 2026-11-20  Text card: happy birthday…`. What did not succeed is marked."""
    date, title = saved.created_at.strftime(ctx.say(texts.DATE)), screen.title(ctx, saved.model_id)
    prompt = screen.short(saved.prompt or "", PROMPT_MAX)
    mark = "" if saved.status == "success" else " ⚠️"
    return f"{number}. {date}  {f'{title}: {prompt}' if prompt else title}{mark}"


def _rows(ctx: Context, project: Project, results: Sequence[Saved], after: Place) -> Rows:
    numbers = [(str(number), f"project_result:{saved.id}") for number, saved in enumerate(results[:PAGE], 1)]
    rows = [numbers[at : at + NUMBERS_IN_A_ROW] for at in range(0, len(numbers), NUMBERS_IN_A_ROW)]
    newest = None if after == NEWEST else f"project:{project.id}"
    older = _data_of(project, results[PAGE - 1]) if len(results) > PAGE else None
    change = [
        (ctx.say(texts.RENAME), f"project_name:{project.id}"),
        (ctx.say(texts.DELETE), f"project_delete:{project.id}"),
    ]
    return [*rows, *screen.turns(ctx, newest, older), change, [(ctx.say(texts.BACK), "projects")]]


def _data_of(project: Project, last: Saved) -> str:
    return f"project:{project.id}:{(last.created_at - EPOCH) // MICROSECOND}:{last.id}"


@router.callback("project_delete")
async def ask_before_deleting(ctx: Context, update: Update) -> Reply:
    async with ctx.of(Database).acquire() as conn:
        project = await repo.get_project(conn, project_id=screen.number_of(update), user_id=ctx.user_id)
    if project is None:
        return screen.gone(ctx, update)
    results = ctx.count(texts.RESULTS, project.results)
    question = ctx.say(texts.REALLY_DELETE, name=screen.name(ctx, project.name), results=results)
    yes, no = (
        (ctx.say(texts.YES_DELETE), f"project_erase:{project.id}"),
        (ctx.say(texts.CANCEL), f"project:{project.id}"),
    )
    return reply.show(update, question, [[yes, no]])


@router.callback("project_erase", writes=True)
async def delete(ctx: Context, update: Update) -> Reply:
    name = await repo.delete_project(ctx.transaction, project_id=screen.number_of(update), user_id=ctx.user_id)
    if name is None:
        return screen.gone(ctx, update)
    back = [(ctx.say(texts.PROJECTS_BUTTON), "projects")]
    return reply.show(update, ctx.say(texts.DELETED, name=screen.name(ctx, name)), [back])
