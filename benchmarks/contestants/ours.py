"""Our queue, as `python -m service work` runs it: its real worker, with beats, progress, events and billing.

Nobody hears the events, and all work is free: it is told to no ledger. The others know nothing of either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
import uvloop

from benchmarks.contestants import Enqueue, Handle
from benchmarks.webhook import ENVIRONMENT
from service.catalog import Catalog, Model
from service.config import Config, load
from service.feature import Hearers, Rooms
from service.features.generation.billing import Billing
from service.features.generation.providers.provider import Output, Providers, Request
from service.features.generation.queue import table
from service.features.generation.queue.bell import Bell
from service.features.generation.queue.door import Queue, QueueInTable
from service.features.generation.queue.ending import Endings
from service.features.generation.queue.worker import Worker
from service.features.generation.work import Order
from service.kernel import log, migrate
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.text import Text

T = TypeVar("T")

# More people than jobs that anybody may have open: nobody's place is put back.
PEOPLE = 1_000
MODEL = Model("nothing", Text(en="Nothing", ru="Ничего"), "text", Decimal(0), "nothing", {}, 4_000, 60)


class Nothing:
    """A provider that makes nothing, at once."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    async def start(self, request: Request) -> Output:
        self._handle(request.prompt)
        return Output()


class Ours:
    title = "ours"
    jobs = 20_000
    open_query = "SELECT EXISTS(SELECT FROM generation_jobs WHERE status IN ('queued', 'waiting', 'running'))"
    # By the clock of the process that claims and ends, which is this machine's, as is the database's.
    done_query = """
        SELECT count(*) FILTER (WHERE status = 'success' AND lease = 1),
            extract(epoch FROM max(finished_at) - min(started_at))::float8
        FROM generation_jobs
    """
    clear = "TRUNCATE generation_jobs"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._config = load({**ENVIRONMENT, "DATABASE_URL": dsn, "LOG_LEVEL": "ERROR"})

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return uvloop.run(main)

    async def install(self) -> None:
        migrate.up(self.dsn)
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(f"INSERT INTO users (user_id) SELECT generate_series(1, {PEOPLE})")
        await connection.close()

    async def fill(self, jobs: int) -> None:
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(
            f"""
            INSERT INTO generation_jobs (job_id, user_id, chat_id, model_id, prompt, timeout_s, place)
            SELECT gen_random_uuid(), 1 + n % {PEOPLE}, 1, '{MODEL.id}', n, {MODEL.timeout_s},
                now() - {jobs} * interval '1 ms' + n * interval '1 ms'
            FROM generate_series(0, {jobs - 1}) AS n
            """
        )
        await connection.close()

    @asynccontextmanager
    async def worker(self, handle: Handle) -> AsyncIterator[Callable[[], None]]:
        log.configure(self._config.log_level, self._config.log_format)
        clock = Clock()
        database = Database(self._config.database, clock)
        opened = {
            Config: self._config,
            Clock: clock,
            Database: database,
            Catalog: Catalog((), Decimal(0), models=(MODEL,)),
            Providers: Providers({MODEL.provider: Nothing(handle)}),
            Billing: Billing(),
            Queue: QueueInTable(),
            Hearers: Hearers(),
        }
        rooms = Rooms(opened).with_({kind: kind.opened(Rooms(opened)) for kind in (Bell, Endings)})
        await database.start()
        worker = Worker(lambda: rooms)
        yield worker.start
        await worker.stop()
        await database.stop()

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[Enqueue]:
        log.configure(self._config.log_level, self._config.log_format)
        clock = Clock()
        database = Database(self._config.database, clock)
        bell = Bell.opened(Rooms({Clock: clock, Database: database}))
        await database.start()

        async def enqueue(key: str) -> None:
            person = 1 + int(key) % PEOPLE
            order = Order(uuid4(), person, person, "en", MODEL, key)
            async with database.transaction() as connection:
                await table.enqueue(connection, order, clock.now(), most=5)
            bell.ring()

        yield enqueue
        await database.stop()
