"""The order in which things come into being does not matter: service, server, database, tables."""

from __future__ import annotations

import asyncio
import os
import sys

import asyncpg

from tests.cast import PAYER
from tests.e2e.conftest import Start
from tests.e2e.process import ROOT, SERVICE, START_WITHIN_S, Process
from tests.migrating import EVERYTHING, run_psql
from tests.postgres import Cluster
from tests.waiting import until


async def serves_without_the_database(process: Process) -> None:
    assert (await process.get("/health/live"))[0] == 200
    assert (await process.get("/health/ready"))[0] == 503
    assert "/language" in (await process.says(PAYER, "/help")).text


async def comes_up(process: Process) -> None:
    await until(process.is_ready, START_WITHIN_S)
    assert (await process.says(PAYER, "/start")).text.startswith("Hello")
    assert (await process.get("/health"))[1]["status"] == "healthy"


async def migrate(database_url: str, command: str) -> int:
    """The exit code of `python -m service migrate ...`."""
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url}
    argv = ("-m", "service", "migrate", command)
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, cwd=ROOT, env=environ)
    return await process.wait()


async def test_started_before_the_server(start: Start, own_cluster: Cluster) -> None:
    await asyncio.to_thread(own_cluster.stop)
    process = await start(own_cluster.dsn(), SERVICE, ready=False, MIGRATE_ON_START="on")
    await serves_without_the_database(process)
    await asyncio.to_thread(own_cluster.start)
    await comes_up(process)


async def test_started_before_the_database_is_made(start: Start, own_cluster: Cluster) -> None:
    process = await start(own_cluster.dsn("shop"), SERVICE, ready=False, MIGRATE_ON_START="on")
    await serves_without_the_database(process)
    connection = await asyncpg.connect(own_cluster.dsn())
    await connection.execute("CREATE DATABASE shop")
    await connection.close()
    await comes_up(process)


async def test_started_before_the_tables_are_made(start: Start, empty_database_url: str) -> None:
    process = await start(empty_database_url, SERVICE, ready=False)
    assert await process.get("/health/ready") == (503, {"status": "not ready", "reason": "users table missing"})
    assert (await process.says(PAYER, "/start")).status == 503
    assert await migrate(empty_database_url, "check") == 1
    assert await migrate(empty_database_url, "up") == 0
    await comes_up(process)


async def test_two_that_begin_at_once_on_nothing_migrate_it_once(start: Start, empty_database_url: str) -> None:
    both = await asyncio.gather(*(start(empty_database_url, SERVICE, MIGRATE_ON_START="on") for _ in range(2)))
    for process in both:
        await comes_up(process)
    applied = [line["msg"] for process in both for line in process.log(room="app") if "applied in" in line["msg"]]
    assert [line.partition(":")[0] for line in sorted(applied)] == EVERYTHING
    assert await migrate(empty_database_url, "check") == 0


async def test_on_what_bootstrap_sql_makes_nothing_is_pending_and_nothing_is_off(
    start: Start, empty_database_url: str
) -> None:
    done = await asyncio.to_thread(
        run_psql, empty_database_url, "-v", "ON_ERROR_STOP=1", "-q", "-f", ROOT / "bootstrap.sql"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert await migrate(empty_database_url, "check") == 0
    await comes_up(await start(empty_database_url, SERVICE))
