"""The database as a command reaches it: an address, or a connection for as long as it reads.

It knows where commands find their database; it knows no command. What is read is printed afterwards: a pipe that
breaks (`... | head`) must not look like a database that does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TypeVar

from service.config import Config
from service.development import prepared
from service.errors import DatabaseAway
from service.kernel.database import Connection, Database, DatabaseSettings

T = TypeVar("T")


@contextmanager
def address(config: Config) -> Iterator[str]:
    """The configured database; on a developer's machine, where none is, the embedded one meanwhile."""
    with addressed(config) as ready:
        yield ready.database.dsn or ""


@contextmanager
def addressed(config: Config) -> Iterator[Config]:
    """The settings with that address in them."""
    with nullcontext(config) if config.database.dsn else prepared(config) as ready:
        yield ready


def over_connection(config: Config, work: Callable[[Connection], Awaitable[T]]) -> T:
    """What the work returns that wants one connection. Raises DatabaseAway."""

    async def connected(database: Database) -> T:
        async with database.acquire() as conn:
            return await work(conn)

    return over_database(config, connected)


def over_database(config: Config, work: Callable[[Database], Awaitable[T]]) -> T:
    """What the work returns that takes connections as it needs them. Raises DatabaseAway."""
    with addressed(config) as ready:
        return asyncio.run(_reached(replace(ready.database, pool_min=0), work))


async def _reached(settings: DatabaseSettings, work: Callable[[Database], Awaitable[T]]) -> T:
    database = Database(settings)
    await database.start()
    try:
        if not database.reachable:
            raise DatabaseAway(f"The database is away: {database.status().reason}.")
        return await work(database)
    finally:
        await database.stop()
