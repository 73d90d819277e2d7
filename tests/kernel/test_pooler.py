"""DB_POOLER=pgbouncer through a real PgBouncer in transaction mode: two server connections for everybody."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from service import errors
from service.kernel.database import Database
from tests.kernel.seam import all_slots_are_free, answers, opened, settings
from tests.postgres import Cluster, free_port
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_complaints")

INI = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
pool_mode = transaction
default_pool_size = 2
auth_type = trust
auth_file = {users}
server_login_retry = 0.2
query_wait_timeout = 5
"""


def program() -> str:
    """PgBouncer, or a reason to skip; where everything must be there, its absence is a failure."""
    found = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("pgbouncer is not installed")
    return found


class Pooler:
    """A PgBouncer in front of a server."""

    def __init__(self, directory: Path, server: int) -> None:
        self.port = free_port()
        self._ini = directory / "pgbouncer.ini"
        users = directory / "users.txt"
        users.write_text('"postgres" ""\n')
        self._ini.write_text(INI.format(server=server, port=self.port, users=users))
        for file in (users, self._ini):
            file.chmod(0o644)

    def start(self) -> None:
        unprivileged = ["-u", pwd.getpwnam("nobody").pw_name] if os.getuid() == 0 else []
        self._process = subprocess.Popen([program(), "-q", *unprivileged, self._ini], stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


@pytest.fixture
async def pooler(own_cluster: Cluster) -> AsyncIterator[Pooler]:
    program()
    pooler = Pooler(own_cluster.directory, own_cluster.port)
    pooler.start()
    yield pooler
    pooler.stop()


@pytest.fixture
async def pooled(pooler: Pooler) -> AsyncIterator[Database]:
    """The seam through the pooler, with more connections of its own than the pooler has."""
    async with opened(pooler.dsn(), pooler="pgbouncer", pool_max=8) as database:
        await until(lambda: came_back(database))
        yield database


async def came_back(database: Database) -> bool:
    with suppress(errors.ServiceError):
        return await answers(database)
    return False


async def test_queries_and_transactions_share_two_connections(pooled: Database) -> None:
    async with pooled.acquire() as conn:
        await conn.execute("CREATE TABLE notes (note int, labels text[])")
    pids: set[int] = set()

    async def write(number: int) -> None:
        async with pooled.transaction() as conn:
            await conn.execute("INSERT INTO notes VALUES ($1, $2)", number, [str(number)])
            pids.add(await conn.fetchval("SELECT pg_backend_pid()"))
            assert await conn.fetchval("SELECT count(*) FROM notes WHERE note = ANY($1::int[])", [number]) == 1
        async with pooled.acquire() as conn:
            assert await conn.fetchval("SELECT labels FROM notes WHERE note = $1", number) == [str(number)]

    await asyncio.gather(*(write(number) for number in range(100)))
    async with pooled.acquire() as conn:
        assert await conn.fetchval("SELECT sum(note) FROM notes") == sum(range(100))
    assert 1 <= len(pids) <= 2
    await all_slots_are_free(pooled)


async def test_a_cancelled_transaction_is_rolled_back(pooled: Database) -> None:
    async with pooled.acquire() as conn:
        await conn.execute("CREATE TABLE notes (note int)")
    for _ in range(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), pooled.transaction() as conn:
                await conn.execute("INSERT INTO notes VALUES (1)")
                await conn.execute("SELECT pg_sleep(5)")
    await all_slots_are_free(pooled)
    async with pooled.acquire() as conn:
        assert await conn.fetchval("SELECT count(*) FROM notes") == 0


async def test_listeners_hear_of_reconnects_only(pooler: Pooler, own_cluster: Cluster) -> None:
    heard: list[str | None] = []
    database = Database(settings(pooler.dsn(), pooler="pgbouncer"))
    database.listen("news", heard.append)
    await database.start()
    await until(lambda: heard == [None])
    raw = await asyncpg.connect(own_cluster.dsn())
    await raw.execute("NOTIFY news, 'good'")
    await raw.close()
    pooler.stop()
    await until(lambda: not database.reachable)
    pooler.start()
    await until(lambda: came_back(database))
    assert heard == [None, None]
    await all_slots_are_free(database)
    await database.stop()


async def test_the_server_behind_it_stops_and_starts(pooled: Database, own_cluster: Cluster) -> None:
    await asyncio.to_thread(own_cluster.stop)
    await until(lambda: not pooled.reachable)
    with pytest.raises(errors.DatabaseAway):
        await answers(pooled)
    await asyncio.to_thread(own_cluster.start)
    await until(lambda: came_back(pooled))
    await all_slots_are_free(pooled)
