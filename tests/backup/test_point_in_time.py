"""Back to a moment between two payments, as docs/recovery.md says to type it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from benchmarks import verify
from service.kernel import migrate
from tests.backup.test_backup import PAY
from tests.conftest import RUN
from tests.debian import DebianCluster, find_programs
from tests.postgres import PASSABLE, Cluster

DOCUMENT = (Path(__file__).parents[2] / "docs/recovery.md").read_text(encoding="utf-8")
DEADLINE_S = 30.0
FIRST, SECOND = uuid4(), uuid4()


@pytest.fixture
def cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """A server from the system's packages: the embedded one brings no pg_verifybackup that runs."""
    programs = find_programs()
    if programs is None:
        missing = "PostgreSQL's Debian package with contrib is not installed"
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    directory = pytestconfig.stash[RUN].directory / "debian" / f"drill-{os.getpid()}"
    directory.mkdir(parents=True)
    for path in (directory, directory.parent):
        path.chmod(PASSABLE)
    cluster = DebianCluster(directory, programs)
    try:
        yield cluster.create()
    finally:
        cluster.destroy()


def test_back_to_a_moment_between_two_payments(cluster: Cluster, command: Callable[..., Any]) -> None:
    archive, base = cluster.directory / "wal", cluster.directory / "base"
    for folder in (archive, base):
        folder.mkdir(mode=0o700)
        cluster.programs.give(folder)
    archived(cluster, archive)
    migrate.up(cluster.dsn())
    verify.fill(cluster.dsn(), 20)
    back_up(cluster, base)
    with psycopg.connect(cluster.dsn(), autocommit=True) as sql:
        pay(sql, FIRST)
        moment = value(sql, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00'")
        pay(sql, SECOND)
        wal = value(sql, "SELECT pg_walfile_name(pg_switch_wal())")
        until(sql, "SELECT last_archived_wal >= %s FROM pg_stat_archiver", wal)
    cluster.stop(immediate=True)

    cluster.data = base
    recovering(cluster, archive, moment)
    settings = {"DATABASE_URL": cluster.dsn()}
    with psycopg.connect(cluster.dsn(), autocommit=True) as sql:
        until(sql, "SELECT pg_get_wal_replay_pause_state() = 'paused'")
        assert paid(sql) == [FIRST]
        assert command("ledger", "verify", **settings).out == "20 people checked, 0 differences\n"
        sql.execute(named(r"`(SELECT pg_wal_replay_resume\(\))`").encode())
        until(sql, "SELECT NOT pg_is_in_recovery()")
        pay(sql, SECOND)
    assert command("ledger", "verify", **settings).code == 0


def named(pattern: str) -> str:
    """What the document says, by a pattern with one group."""
    (found,) = re.findall(pattern, DOCUMENT, re.DOTALL)
    return str(found)


def archived(cluster: Cluster, archive: Path) -> None:
    """The settings of the document, and the restart that they need."""
    settings = named(r"```sh\n# postgresql\.conf; then restart\n(.*?)```").replace("/srv/wal", str(archive))
    with (cluster.data / "postgresql.conf").open("a") as file:
        file.write(settings)
    cluster.restart()


def back_up(cluster: Cluster, base: Path) -> None:
    words = named(r"\npg_basebackup --pgdata=\S+ ([^\n]*) --dbname").split()
    cluster.programs.run("pg_basebackup", f"--pgdata={base}", *words, f"--dbname={cluster.socket_dsn()}")
    cluster.programs.run("pg_verifybackup", base)
    for lock in base.glob(".s.PGSQL.*.lock"):
        lock.unlink()  # the socket of this server is among its data


def recovering(cluster: Cluster, archive: Path, moment: str) -> None:
    """How far, as the document says it; then the start."""
    settings = named(r"<<END\n(.*?)END\n").replace("/srv/wal", str(archive))
    settings = re.sub(r"(?<=recovery_target_time = ')[^']*", moment, settings)
    with (cluster.data / "postgresql.auto.conf").open("a") as file:
        file.write(settings)
    (cluster.data / "recovery.signal").touch()
    cluster.start()


def pay(sql: psycopg.Connection[Any], payment: object) -> None:
    somebody = value(sql, "SELECT min(user_id) FROM users")
    sql.execute(PAY, {"id": payment, "user": somebody})


def paid(sql: psycopg.Connection[Any]) -> list[object]:
    found = sql.execute("SELECT payment_id FROM payments WHERE payment_id = any(%s)", [[FIRST, SECOND]])
    return [payment for (payment,) in found.fetchall()]


def value(sql: psycopg.Connection[Any], query: str, *values: object) -> Any:
    found = sql.execute(query.encode(), values).fetchone()
    assert found is not None
    return found[0]


def until(sql: psycopg.Connection[Any], query: str, *values: object) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not value(sql, query, *values):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {DEADLINE_S:.0f} s: {query}")
        time.sleep(0.02)
