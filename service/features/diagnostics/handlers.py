"""/stats and /failures, for operators: short enough to be read on a phone.

It knows what to ask and how it is put; it knows no SQL. Everything goes out as plain text, so titles and the words of
providers mean nothing to Telegram.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.catalog import Catalog, amounts
from service.features.diagnostics import repo, texts, window
from service.features.diagnostics.repo import Counts, Failure, Made
from service.features.diagnostics.window import HOURS, HOURS_MAX
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.ops.reading import number
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router, payload_of
from service.telegram.update import Update

TOP = 5
FAILURES = 10
# Characters of an error in a list of ten: enough to know it by.
ERROR_MAX = 200

router = Router()


@router.command("stats", for_operators=True)
async def show_stats(ctx: Context, update: Update) -> Reply:
    hours = number(payload_of(update) or str(HOURS), HOURS_MAX)
    if hours is None:
        return reply.send(ctx.chat_id, ctx.say(texts.HOW_TO_STATS, most=HOURS_MAX))
    now = ctx.of(Clock).now()
    here = window.ending(now, hours)
    async with ctx.of(Database).acquire() as conn:
        people = await repo.count_people(conn, since=now.replace(hour=0, minute=0, second=0, microsecond=0))
        counts = await repo.count_of_all(conn, **here)
        top = await repo.list_top_models(conn, **here, most=TOP)
    assert people is not None, "a count always answers"
    assert counts is not None, "a count always answers"
    head = [ctx.count(texts.WINDOW, hours), ctx.count(texts.PEOPLE, people.people, newcomers=people.newcomers)]
    return reply.send(ctx.chat_id, reply.fitting([*head, "", *_count_lines(ctx, counts), *_top_lines(ctx, top)]))


@router.command("failures", for_operators=True)
async def show_failures(ctx: Context, update: Update) -> Reply:
    hours = number(payload_of(update) or str(HOURS), HOURS_MAX)
    if hours is None:
        return reply.send(ctx.chat_id, ctx.say(texts.HOW_TO_FAILURES, most=HOURS_MAX))
    async with ctx.of(Database).acquire() as conn:
        found = await repo.list_failures(conn, **window.ending(ctx.of(Clock).now(), hours), most=FAILURES + 1)
    lines = [_failure_line(ctx, failure) for failure in found[:FAILURES]] or [ctx.say(texts.NO_FAILURES)]
    more = [ctx.say(texts.MORE)] if len(found) > FAILURES else []
    return reply.send(ctx.chat_id, reply.fitting([ctx.count(texts.FAILURES, hours), "", *lines, *more]))


def _count_lines(ctx: Context, counts: Counts) -> list[str]:
    percent = counts.success_percent
    ended = {"success": counts.success, "failed": counts.failed, "timeouts": counts.timeouts}
    return [
        ctx.count(texts.GENERATIONS, counts.total),
        ctx.say(texts.ENDINGS, **ended, percent="–" if percent is None else percent),
        ctx.say(texts.PAID, roubles=amounts.roubles(counts.total_cost)),
    ]


def _top_lines(ctx: Context, top: Sequence[Made]) -> list[str]:
    lines = [
        ctx.say(texts.MADE, number=place, title=_title(ctx, one.model_id), made=one.made)
        for place, one in enumerate(top, 1)
    ]
    return ["", ctx.say(texts.TOP), *lines] if lines else []


def _failure_line(ctx: Context, failure: Failure) -> str:
    """`12 × Large image, E_NSFW: the prompt was refused`."""
    told = ": ".join(part for part in (failure.error_code, failure.error_message) if part) or "–"
    cut = told if len(told) <= ERROR_MAX else f"{told[: ERROR_MAX - 1]}…"
    return f"{failure.count} × {_title(ctx, failure.model_id)}, {cut}"


def _title(ctx: Context, model_id: str) -> str:
    """A model that is sold no more has no title."""
    model = ctx.of(Catalog).model(model_id)
    return model_id if model is None else ctx.say(model.title)
