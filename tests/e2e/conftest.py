"""Fixtures of the tests with whole processes.

start       starts a process of the service on a database, and waits until it is ready; as many as wanted
table       a connection to a migrated database with the table of /count
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from tests.e2e.counting import TABLE
from tests.e2e.process import COUNTING, PRODUCTION, ROOT, START_WITHIN_S, Process, running
from tests.serving import ADMIN_TOKEN, SECRET, TOKEN
from tests.waiting import until


class Start:
    """Starts processes, and ends with the test those that are left."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._numbers = itertools.count(1)
        self.processes: list[Process] = []

    async def __call__(
        self, database_url: str, module: tuple[str, ...] = COUNTING, *, ready: bool = True, **settings: str
    ) -> Process:
        """One that is ready, or whose doors are open at least; `settings` by their environment names."""
        output = self._folder / f"process-{next(self._numbers)}.log"
        environ = {**PRODUCTION, "DATABASE_URL": database_url, **settings}
        process = await self._stack.enter_async_context(running(module, output, environ, ROOT))
        self.processes.append(await process.listens())
        if ready:
            await until(process.is_ready, START_WITHIN_S)
        return process


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:
        start = Start(tmp_path, stack)
        yield start
        for process in start.processes:
            assert process.log(level="ERROR") == [], "whatever was done to it, it was ready for that"
            assert not process.has_told(TOKEN, SECRET, ADMIN_TOKEN)


@pytest.fixture
async def table(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    await connection.execute(TABLE)
    yield connection
    await connection.close()
