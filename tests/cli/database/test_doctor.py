"""`doctor`: a healthy database, and one fault at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from service.kernel import migrate

Command = Callable[..., Any]


def test_healthy(process: Command) -> None:
    done = process("doctor")
    assert (done.code, done.err) == (0, "")
    assert "PostgreSQL" in done.out
    assert "table users, about 0 rows" in done.out
    assert "pg_trgm" in done.out
    assert done.out.endswith("0 faults\n")
    assert "FAULT" not in done.out


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("DROP TABLE failed_updates", "failed_updates table missing"),
        ("ALTER TABLE processed_updates DROP COLUMN reply", "processed_updates lacks reply"),
        ("DROP INDEX users_recent_idx", "users_recent_idx on users is missing"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'users_recent_idx'::regclass",
            "users_recent_idx on users is invalid",
        ),
        (
            "CREATE TABLE child (user_id bigint); ALTER TABLE child ADD CONSTRAINT child_user_id_fkey"
            " FOREIGN KEY (user_id) REFERENCES users NOT VALID",
            "child_user_id_fkey of child is NOT VALID",
        ),
        ("DELETE FROM _yoyo_migration WHERE migration_id = '0002_updates'", "0002_updates is pending"),
    ],
)
def test_one_fault(command: Command, sql: psycopg.Connection, harm: str, told: str) -> None:
    sql.execute(harm.encode())
    done = command("doctor")
    assert done.code == 1
    faults = [line for line in done.out.splitlines() if line.startswith("FAULT")]
    assert [told in fault for fault in faults] == [True]
    assert done.out.endswith("1 fault\n")


def test_pools_must_fit_the_server(command: Command) -> None:
    done = command("doctor", "--instances", "1000")
    assert done.code == 1
    assert "1000 x 22 wanted at most" in done.out
    behind_a_pooler = command("doctor", "--instances", "1000", DB_POOLER="pgbouncer")
    assert behind_a_pooler.code == 0
    assert "pgbouncer stands between" in behind_a_pooler.out


def test_the_tables_are_looked_at_as_the_service_s_own_user_sees_them(
    command: Command, sql: psycopg.Connection, database_url: str
) -> None:
    guest = f"guest_of_{sql.info.dbname}"  # roles are the whole server's
    sql.execute(f"CREATE ROLE {guest} LOGIN PASSWORD 'guest'".encode())
    sql.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {guest}".encode())
    parts = urlsplit(database_url)
    as_guest = parts._replace(netloc=f"{guest}:guest@{parts.netloc.rpartition('@')[2]}").geturl()
    try:
        assert "no DELETE privilege on users" in command("features", DATABASE_URL=as_guest).out
        done = command("doctor", DATABASE_URL=as_guest)
        assert done.code == 1
        assert "users lacks DELETE privilege, INSERT privilege, UPDATE privilege" in done.out
    finally:
        sql.execute(f"DROP OWNED BY {guest}; DROP ROLE {guest}".encode())


def test_foreign_keys_alone(command: Command, sql: psycopg.Connection) -> None:
    sql.execute("CREATE TABLE child (user_id bigint CONSTRAINT child_user_id_fkey REFERENCES users)")
    assert _child_of(command("doctor", "--fks"), 0) == ["child", "child_user_id_fkey", "yes", "FOREIGN"]
    sql.execute("ALTER TABLE child DROP CONSTRAINT child_user_id_fkey")
    sql.execute("ALTER TABLE child ADD CONSTRAINT child_user_id_fkey FOREIGN KEY (user_id) REFERENCES users NOT VALID")
    assert _child_of(command("doctor", "--fks"), 1)[2] == "no"


def _child_of(done: Any, code: int) -> list[str]:
    assert done.code == code
    return next(line for line in done.lines if line[0] == "child")[:4]


def test_the_indexes_that_migrations_promise_are_there(sql: psycopg.Connection) -> None:
    """And each is read from the migrations as PostgreSQL knows it."""
    there = dict(sql.execute("SELECT indexname::text, tablename::text FROM pg_indexes").fetchall())
    promised = migrate.indexes()
    assert "users_recent_idx" in promised
    assert promised.items() <= there.items()
