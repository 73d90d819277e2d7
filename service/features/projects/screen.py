"""What the screens of projects have in common: names as they are shown, buttons that turn pages, forged numbers.

It knows replies and texts; it knows no table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.catalog import Catalog
from service.errors import Invalid
from service.features.projects import texts
from service.features.projects.repo import Project
from service.telegram import reply
from service.telegram.reply import Button, Reply
from service.telegram.router import Context
from service.telegram.update import Update
from service.text import Text

PAGE = 10  # lines or buttons at once: a phone's screen
LABEL_MAX = 40  # characters of a button, which shows no more of them

Rows = list[list[Button]]
_NUMBER = re.compile(r"\w+:([0-9]{1,18})")  # of a row: any that fits is a bigint


def number_of(update: Update) -> int:
    """The row that a button names. Raises Invalid."""
    return int(matched(_NUMBER, update.data)[1])


def matched(pattern: re.Pattern[str], data: str) -> re.Match[str]:
    """What a button's data says. Raises Invalid for what no button of ours ever said."""
    found = pattern.fullmatch(data)
    if found is None:
        raise Invalid("There is no such button.")
    return found


def short(text: str, most: int = LABEL_MAX) -> str:
    """On one line, and cut."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def name(ctx: Context, stored: str) -> str:
    """An adopted name may be empty, and of any length."""
    return short(stored, 64) or ctx.say(texts.UNNAMED)


def title(ctx: Context, model_id: str) -> str:
    """What a model is called, or was."""
    model = ctx.of(Catalog).model(model_id)
    return ctx.say(model.title) if model else short(model_id)


def label(ctx: Context, project: Project) -> str:
    """`Cats · 3 results`."""
    return f"{short(name(ctx, project.name))} · {ctx.count(texts.RESULTS, project.results)}"


def turns(ctx: Context, newest: str | None, older: str | None) -> Rows:
    """A row of the buttons that turn pages, if there are any."""
    both = ((texts.NEWEST, newest), (texts.OLDER, older))
    buttons = [(ctx.say(text), data) for text, data in both if data is not None]
    return [buttons] if buttons else []


def gone(ctx: Context, update: Update) -> Reply:
    """Of a project that is not there, or not his."""
    return reply.show(update, ctx.say(texts.NO_SUCH_PROJECT), [[(ctx.say(texts.PROJECTS_BUTTON), "projects")]])


def done(update: Update, said: str | None = None) -> Reply:
    """To a pressed button: its spinner stops, with a word above the chat if there is one."""
    query = update.callback_query
    return reply.NOTHING if query is None else reply.answer_callback(query.id, said)


def toast(ctx: Context, update: Update, text: Text, **values: object) -> Reply:
    """A word above the chat for a pressed button."""
    return done(update, ctx.say(text, **values))


def pieces(text: str) -> Iterator[str]:
    """A text as messages that Telegram takes."""
    while text:
        piece = reply.beginning(text)
        yield piece
        text = text[len(piece) :]
