"""procrastinate, over its asynchronous connector. It takes one job with each statement, whatever its concurrency.

It knows its own ways alone. CONCURRENCY and POOL are plain choices, not the outcome of a search: what it does in a
second is the server's answer to one statement and one commit for each job.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, TypeVar

from procrastinate import App, PsycopgConnector

from benchmarks.contestants import Enqueue, Handle

T = TypeVar("T")

CONCURRENCY = 30
POOL = 8  # connections of a process; eight processes must find room in PostgreSQL's hundred


class Procrastinate:
    title = f"procrastinate {version('procrastinate')}"
    jobs = 2_000
    open_query = "SELECT EXISTS(SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing'))"
    # Its triggers note when each was begun and when it ended.
    done_query = """
        SELECT count(*) FILTER (WHERE type = 'succeeded'),
            extract(epoch FROM
                max(at) FILTER (WHERE type = 'succeeded') - min(at) FILTER (WHERE type = 'started'))::float8
        FROM procrastinate_events
    """
    clear = "TRUNCATE procrastinate_jobs, procrastinate_events, procrastinate_periodic_defers, procrastinate_workers"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(main)

    async def install(self) -> None:
        async with self._app().open_async() as app:
            await app.schema_manager.apply_schema_async()

    async def fill(self, jobs: int) -> None:
        app = self._app()
        task = _task(app, lambda _key: None)
        async with app.open_async():
            await task.batch_defer_async(*({"key": str(number)} for number in range(jobs)))

    @asynccontextmanager
    async def worker(self, handle: Handle) -> AsyncIterator[Callable[[], None]]:
        app, running = self._app(), []
        _task(app, handle)
        async with app.open_async():
            work = app.run_worker_async(concurrency=CONCURRENCY, install_signal_handlers=False)
            yield lambda: running.append(asyncio.create_task(work))
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[Enqueue]:
        app = self._app()
        task = _task(app, lambda _key: None)
        async with app.open_async():
            yield lambda key: task.defer_async(key=key)

    def _app(self) -> App:
        return App(connector=PsycopgConnector(conninfo=self.dsn, min_size=POOL, max_size=POOL))


def _task(app: App, handle: Handle) -> Any:
    @app.task(name="nothing")
    async def nothing(key: str) -> None:
        handle(key)

    return nothing
