"""The button under a result: into which project, and there it is kept.

It knows that a result was made and delivered; of how it is made it knows nothing.
"""

from __future__ import annotations

import re
from uuid import UUID

from service.features.projects import repo, screen, texts
from service.features.projects.naming import NAME_MAX
from service.features.projects.screen import PAGE, Rows
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update

# save:<job>, then nothing, the number of a page, a project, or `new`; 60 of the 64 bytes of a button's data at most.
_JOB = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SAVE = re.compile(f"save:({_JOB})(?::(?:p([0-9]{{1,4}})|([0-9]{{1,18}})|(new)))?")

router = Router()


@router.callback("save", writes=True)
async def save(ctx: Context, update: Update) -> Reply:
    """Only what is delivered is known whole: until then a file has no id by which it is seen again."""
    job, page, project, new = screen.matched(_SAVE, update.data).groups()
    job_id = UUID(job)
    made = await repo.get_made(ctx.transaction, job_id=job_id, user_id=ctx.user_id)
    if made is None or not made.is_delivered:
        return screen.toast(ctx, update, texts.NOT_YET if made else texts.CANNOT_SAVE)
    name = screen.short(screen.title(ctx, made.model_id), NAME_MAX)
    if not (project or new):
        return await _offer(ctx, update, job_id, name, page)
    project_id = int(project) if project else await repo.ensure_project(ctx.transaction, ctx.user_id, name)
    if project_id is None:
        return screen.toast(ctx, update, texts.TOO_MANY, most=repo.PROJECTS_MAX)
    return await _keep(ctx, update, job_id, project_id)


async def _offer(ctx: Context, update: Update, job_id: UUID, name: str, page: str | None) -> Reply:
    """Under a result itself a new message: the result stays as it is, and may be no text that could be changed."""
    at = int(page or 0)
    projects = await repo.list_projects(ctx.transaction, user_id=ctx.user_id, skip=at * PAGE, page=PAGE + 1)
    rows: Rows = [[(screen.label(ctx, one), f"save:{job_id}:{one.id}")] for one in projects[:PAGE]]
    older = f"save:{job_id}:p{at + 1}" if len(projects) > PAGE else None
    rows += screen.turns(ctx, f"save:{job_id}:p0" if at else None, older)
    rows.append([(f"➕ {screen.short(name)}", f"save:{job_id}:new")])
    text = ctx.say(texts.WHERE_TO)
    if page is not None:
        return reply.show(update, text, rows)
    return reply.send(ctx.chat_id, text, reply_markup=reply.inline_keyboard(rows)).and_(screen.done(update))


async def _keep(ctx: Context, update: Update, job_id: UUID, project_id: int) -> Reply:
    name = await repo.save_result(ctx.transaction, job_id=job_id, project_id=project_id, user_id=ctx.user_id)
    if name is None:
        return screen.gone(ctx, update)
    text = ctx.say(texts.SAVED, name=screen.name(ctx, name))
    return reply.show(update, text, [[(ctx.say(texts.OPEN), f"project:{project_id}")]])
