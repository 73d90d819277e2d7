"""pgqueuer, with asyncpg and uvloop, set up as its guide to performance says, and faster than its own benchmark does.

https://github.com/janbjorge/pgqueuer/blob/main/docs/guides/performance-tuning.md: a larger batch for short jobs, each
consumer with a connection of its own and no pool, durable tables, which is its default, and its autovacuum settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, TypeVar

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.contestants import Enqueue, Handle

T = TypeVar("T")

# Its own benchmark has 5 and 10, which did half of this here.
CONSUMERS = 2
BATCH = 100


class Pgqueuer:
    title = f"pgqueuer {version('pgqueuer')}"
    jobs = 20_000
    open_query = "SELECT EXISTS(SELECT FROM pgqueuer)"
    # Its log has a row for each change of a job.
    done_query = """
        SELECT count(*) FILTER (WHERE status = 'successful'),
            extract(epoch FROM max(created) FILTER (WHERE status = 'successful')
                - min(created) FILTER (WHERE status = 'picked'))::float8
        FROM pgqueuer_log
    """
    clear = "TRUNCATE pgqueuer, pgqueuer_log, pgqueuer_statistics"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return uvloop.run(main)

    async def install(self) -> None:
        async with self._queries() as queries:
            await queries.install()
            await queries.optimize_autovacuum()

    async def fill(self, jobs: int) -> None:
        async with self._queries() as queries:
            await queries.enqueue(["nothing"] * jobs, [str(number).encode() for number in range(jobs)], [0] * jobs)

    @asynccontextmanager
    async def worker(self, handle: Handle) -> AsyncIterator[Callable[[], None]]:
        connections = [await asyncpg.connect(self.dsn) for _ in range(CONSUMERS)]
        consumers = [_consumer(connection, handle) for connection in connections]
        running: list[asyncio.Task[None]] = []

        def begin() -> None:
            running.extend(asyncio.create_task(consumer.run(batch_size=BATCH)) for consumer in consumers)

        yield begin
        for consumer in consumers:
            consumer.shutdown.set()
        await asyncio.gather(*running)
        for connection in connections:
            await connection.close()

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[Enqueue]:
        async with self._queries() as queries:
            yield lambda key: queries.enqueue("nothing", key.encode())

    @asynccontextmanager
    async def _queries(self) -> AsyncIterator[Queries]:
        connection = await asyncpg.connect(self.dsn)
        yield Queries(AsyncpgDriver(connection))
        await connection.close()


def _consumer(connection: asyncpg.Connection, handle: Handle) -> PgQueuer:
    consumer = PgQueuer(AsyncpgDriver(connection))

    @consumer.entrypoint("nothing")
    async def nothing(job: Job) -> None:
        handle(job.payload.decode())

    return consumer
