"""The command: where it begins, what it shows, and how it ends.

It knows arguments, stdout and outages; what the tail is, and how it is read, is the feature's. Once it has read
something it goes on through any outage of the database; before that, a database that is away is a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from service.cli.connection import addressed
from service.cli.migrate import tell
from service.cli.tail.line import as_json, as_text
from service.config import Config
from service.errors import DatabaseAway, Invalid
from service.features.tail import repo
from service.features.tail.bell import Bell
from service.features.tail.following import AT_A_TIME, Page, Wanted, follow, read, read_last
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.ops.reading import ID_MAX, number

# Events that are shown where nobody says from where on; as tail does.
LAST = 10
SECONDS_OF = {"s": 1, "m": 60, "h": 3600}
SINCE = re.compile(r"([0-9]{1,6})([smh])")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "what happens, as it happens: payments, generations, failures, features, recoveries"
    parser = subparsers.add_parser("tail", help=text, description=text)
    parser.add_argument("--name", metavar="NAME,...", help="events of these names")
    parser.add_argument("--user", type=int, metavar="ID", help="events about this person")
    parser.add_argument("--model", metavar="ID", help="events about this model")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--after", metavar="CURSOR", help="go on where another one ended")
    begin.add_argument("--since", metavar="10m", help="begin so long ago (s, m, h; a day is kept)")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each, for programs")
    parser.add_argument("--no-follow", action="store_true", help="end after what there is")
    parser.set_defaults(run=tail)


def tail(arguments: argparse.Namespace, config: Config) -> int:
    """Raises Invalid, DatabaseAway, SchemaDrift; KeyboardInterrupt ends it, after the cursor is told."""
    names = tuple(filter(None, (arguments.name or "").split(",")))
    watch = Watch(
        wanted=Wanted(names or None, arguments.user, arguments.model),
        after=_cursor(arguments.after),
        since=_since(arguments.since),
        line=as_json if arguments.json else as_text,
        follows=not arguments.no_follow,
    )
    with addressed(config) as ready:
        try:
            asyncio.run(watch.run(Database(replace(ready.database, pool_min=0))))
        finally:
            if watch.cursor is not None:
                tell(f"more: --after {watch.cursor}")
    return 0


class Watch:
    """One reader. `cursor`: up to where everything was shown; None before the first look."""

    def __init__(
        self,
        *,
        wanted: Wanted,
        after: int | None,
        since: timedelta | None,
        line: Callable[[repo.Happened], str],
        follows: bool,
    ) -> None:
        self._wanted, self._after, self._since, self._line, self._follows = wanted, after, since, line, follows
        self.cursor: int | None = None
        self._away_told = False

    async def run(self, database: Database) -> None:
        bell = Bell(database)
        await database.start()
        try:
            if not database.reachable:
                raise DatabaseAway(f"The database is away: {database.status().reason}.")
            after = await self._show_first(database)
            if self._follows:
                pages = follow(database, bell, self._wanted, after, on_away=self._tell_away)
                async for page in pages:
                    self._show(page)
        finally:
            await database.stop()

    async def _show_first(self, database: Database) -> int:
        """What there is already; where to go on."""
        if self._after is None and self._since is None:
            return self._show(await read_last(database, self._wanted, LAST))
        after = self._after if self._after is not None else await self._begun(database)
        while True:
            page = await read(database, self._wanted, after, AT_A_TIME)
            after = self._show(page)
            if not page.has_more:
                return after

    async def _begun(self, database: Database) -> int:
        async with database.acquire() as conn:
            return await repo.id_before(conn, since=Clock().now() - (self._since or timedelta()))

    def _show(self, page: Page) -> int:
        for event in page.events:
            print(self._line(event))
            self.cursor = event.id
        self.cursor = page.cursor
        sys.stdout.flush()
        return page.cursor

    def _tell_away(self) -> None:
        if not self._away_told:
            tell("the database is away; what happens meanwhile comes when it is back")
        self._away_told = True


def _cursor(text: str | None) -> int | None:
    """Raises Invalid."""
    found = None if text is None else number(text, ID_MAX, least=0)
    if text is not None and found is None:
        raise Invalid("--after is not a cursor of the tail")
    return found


def _since(text: str | None) -> timedelta | None:
    """Raises Invalid."""
    if text is None:
        return None
    found = SINCE.fullmatch(text)
    if found is None:
        raise Invalid("--since is a number with s, m or h: 10m")
    return timedelta(seconds=int(found[1]) * SECONDS_OF[found[2]])
