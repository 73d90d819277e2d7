"""What the tests of the database seam share: a seam on a server, its slots counted, a second server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

from service.kernel.clock import Clock
from service.kernel.database import Database, DatabaseSettings
from tests.postgres import PASSABLE, Cluster
from tests.waiting import until


def settings(dsn: str, **changes: Any) -> DatabaseSettings:
    """A small pool with short patience, so that its limits are reached."""
    return DatabaseSettings(**{"dsn": dsn, "pool_min": 2, "pool_max": 4, "acquire_timeout": 2.0, **changes})


@asynccontextmanager
async def opened(dsn: str, clock: Clock | None = None, **changes: Any) -> AsyncIterator[Database]:
    """The seam, started, and stopped whatever the test did to its server."""
    database = Database(settings(dsn, **changes), clock)
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


async def answers(database: Database) -> bool:
    """Whether a statement goes through now."""
    async with database.acquire() as conn:
        return bool(await conn.fetchval("SELECT true"))


async def all_slots_are_free(database: Database) -> None:
    """Take every connection that the pool may have at the same time, and find all of them idle afterwards."""
    async with AsyncExitStack() as stack:
        for _ in range(database.settings.pool_max):
            conn = await stack.enter_async_context(database.acquire())
            assert await conn.fetchval("SELECT true")
    await until(lambda: database.status().idle == database.settings.pool_max)


@contextmanager
def another(cluster: Cluster, **changes: str) -> Iterator[Cluster]:
    """A second server beside the test's own."""
    directory = cluster.directory.with_name(f"{cluster.directory.name}-b")
    directory.mkdir()
    directory.chmod(PASSABLE)
    second = Cluster(directory, **changes)
    try:
        yield second.create()
    finally:
        second.destroy()


async def make_standby(cluster: Cluster) -> None:
    """Restart it as a standby, which takes no writes."""
    await asyncio.to_thread(cluster.stop)
    signal = cluster.data / "standby.signal"
    signal.touch()
    signal.chmod(0o644)
    await asyncio.to_thread(cluster.start)


async def set_read_only(cluster: Cluster, state: str) -> None:
    """Have it refuse writes, with its connections left open, or take them again."""
    await asyncio.to_thread(cluster.programs.run, "pg_ctl", "status", "-D", cluster.data)
    (cluster.data / "postgresql.auto.conf").write_text(f"default_transaction_read_only = {state}\n")
    await asyncio.to_thread(cluster.programs.run, "pg_ctl", "reload", "-D", cluster.data)
