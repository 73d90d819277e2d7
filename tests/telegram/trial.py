"""A feature whose handlers do what a test tells them to, beside the real ones."""

from __future__ import annotations

import asyncpg

from service.feature import Feature
from service.features import FEATURES
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update
from service.text import Text

BUTTON = Text(en="Press me", ru="Нажми меня")


class Trial:
    """/effect writes a row, /look reads nothing and works without a database, /read wants one.

    `errors` are raised by the next runs of whichever handler comes, after it has done its work.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.errors: list[BaseException] = []
        router = Router()
        router.command("effect", writes=True)(self._effect)
        router.command("look", when_away="run")(self._look)
        router.command("read")(self._read)
        router.button(BUTTON)(self._read)
        self.feature = Feature(name="trial", title=Text(en="Trial", ru="Проба"), router=router)

    @property
    def features(self) -> tuple[Feature, ...]:
        return (*FEATURES, self.feature)

    async def prepare(self, connection: asyncpg.Connection) -> None:
        """The table in which effects are counted; no constraint hides a second one."""
        await connection.execute("CREATE TABLE effects (update_id bigint NOT NULL)")

    async def _effect(self, ctx: Context, update: Update) -> Reply:
        await ctx.transaction.execute("INSERT INTO effects (update_id) VALUES ($1)", update.update_id)
        return self._run(ctx).and_(reply.send(ctx.chat_id, "and more"))

    async def _look(self, ctx: Context, _update: Update) -> Reply:
        return self._run(ctx)

    async def _read(self, ctx: Context, _update: Update) -> Reply:
        return self._run(ctx)

    def _run(self, ctx: Context) -> Reply:
        self.runs += 1
        if self.errors:
            raise self.errors.pop(0)
        return reply.send(ctx.chat_id, f"run {self.runs} in {ctx.language}")
