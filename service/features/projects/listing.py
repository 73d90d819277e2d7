"""«💼 Мои проекты»: a person's projects, page by page. It knows how to ask for them; it changes nothing."""

from __future__ import annotations

import re

from service.features.projects import repo, screen, texts
from service.features.projects.screen import PAGE, Rows
from service.kernel.database import Database
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update

_PAGE = re.compile(r"projects(?::([0-9]{1,4}))?")

router = Router()


@router.command("projects")
@router.button(texts.PROJECTS_BUTTON)
@router.callback("projects")
async def show_projects(ctx: Context, update: Update) -> Reply:
    """By number of the page: a person has few, and their order changes under his hands anyway."""
    page = int(screen.matched(_PAGE, update.data or "projects")[1] or 0)
    async with ctx.of(Database).acquire() as conn:
        projects = await repo.list_projects(conn, user_id=ctx.user_id, skip=page * PAGE, page=PAGE + 1)
    rows: Rows = [[(screen.label(ctx, project), f"project:{project.id}")] for project in projects[:PAGE]]
    older = f"projects:{page + 1}" if len(projects) > PAGE else None
    rows += screen.turns(ctx, "projects" if page else None, older)
    heading = ctx.say(texts.PROJECTS_BUTTON)
    text = heading if projects or page else f"{heading}\n\n{ctx.say(texts.NO_PROJECTS)}"
    return reply.show(update, text, [*rows, [(ctx.say(texts.NEW), "project_new")]])
