"""Taking a database away from the service under test, and waiting for what must come true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import asyncpg

# Far more than anything here takes, so that it is met by what never comes true, and by nothing else.
PATIENCE_S = 20.0


async def until(true: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Return once it is true. Raises TimeoutError."""
    async with asyncio.timeout(patience_s):
        while not true():
            await asyncio.sleep(0.005)


async def until_answered(true: Callable[[], Awaitable[object]], patience_s: float = PATIENCE_S) -> None:
    """The same for what has to be asked for."""
    async with asyncio.timeout(patience_s):
        while not await true():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def away(database_url: str) -> AsyncIterator[None]:
    """This one database lets nobody in and throws everybody out, until the block ends; the server stays."""
    parts = urlsplit(database_url)
    name = parts.path.lstrip("/")
    connection = await asyncpg.connect(parts._replace(path="/postgres").geturl())
    try:
        await connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
        await connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
    finally:
        await connection.close()
