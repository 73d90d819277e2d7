"""The service with one command more, and with places to die at.

`python -m tests.e2e.counting` serves as `python -m service run` does. /count writes a row and answers with its
number. With CRASH_AT the process kills itself when a transaction comes to that point, as a power cut would.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from service import process
from service.config import from_environment
from service.feature import Feature
from service.features import FEATURES
from service.kernel.database import Connection, Database
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update
from service.text import Text

# No constraint that would hide a second effect.
TABLE = "CREATE TABLE counted (number bigserial, update_id bigint NOT NULL)"
CRASH_POINTS = ("before claim", "after claim", "after handler", "before commit", "after commit")

router = Router()


@router.command("count", writes=True, when_away="retry")
async def count(ctx: Context, update: Update) -> Reply:
    crash("after claim")
    statement = "INSERT INTO counted (update_id) VALUES ($1) RETURNING number"
    number = await ctx.transaction.fetchval(statement, update.update_id)
    crash("after handler")
    return reply.send(ctx.chat_id, f"counted {number}")


@router.command("twice")
async def say_two_things(ctx: Context, _update: Update) -> Reply:
    """The first rides on the response, the second follows behind the update's back."""
    return reply.send(ctx.chat_id, "One.").and_(reply.send(ctx.chat_id, "Two."))


FEATURE = Feature(name="counting", title=Text(en="Counting", ru="Счёт"), router=router)


uninterrupted = Database.transaction


@asynccontextmanager
async def mortal(database: Database) -> AsyncIterator[Connection]:
    """The transaction that everything happens in, with death around it."""
    async with uninterrupted(database) as connection:
        crash("before claim")
        yield connection
        crash("before commit")
    crash("after commit")


def crash(point: str) -> None:
    if os.environ.get("CRASH_AT") == point:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Database.transaction = mortal
    # Without jobs and the worker: they have transactions too, and it is updates that are to meet death.
    process.run(from_environment(), features=(*(replace(one, jobs=(), runs=()) for one in FEATURES), FEATURE))
