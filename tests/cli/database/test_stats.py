"""`stats ...`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

Command = Callable[..., Any]
# The columns of the extension that are asked for, under its name, and its setting: the embedded server comes
# without it.
STAND_IN = """
    CREATE TABLE pg_stat_statements AS
    SELECT oid AS dbid, query, calls, mean_exec_time, max_exec_time, total_exec_time, rows
    FROM pg_database, (VALUES
        ('/* users.get_users */ SELECT ...', 10::bigint, 1.5::float8, 3::float8, 15::float8, 20::bigint),
        ('VACUUM', 1, 2000, 2000, 2000, 0)
    ) AS seen (query, calls, mean_exec_time, max_exec_time, total_exec_time, rows)
    WHERE datname = current_database()
"""


def test_slow_without_the_extension(command: Command) -> None:
    done = command("stats", "slow")
    assert done.code == 0
    assert "pg_stat_statements is not installed" in done.out
    assert ["users.get_users"] in done.lines


def test_slow_with_the_extension_created_and_not_loaded(command: Command, sql: psycopg.Connection) -> None:
    sql.execute(STAND_IN)
    done = command("stats", "slow")
    assert (done.code, "pg_stat_statements is not installed" in done.out) == (0, True)


def test_slow_names_our_queries(command: Command, sql: psycopg.Connection) -> None:
    sql.execute(STAND_IN)
    sql.execute(f'ALTER DATABASE "{sql.info.dbname}" SET pg_stat_statements.max = 5000'.encode())
    done = command("stats", "slow")
    assert done.code == 0
    assert done.lines[1:] == [
        ["VACUUM", "1", "2,000.0", "2,000.0", "2,000.0", "0"],
        ["users.get_users", "10", "1.5", "3.0", "15.0", "20"],
    ]


def test_sizes(command: Command, sql: psycopg.Connection) -> None:
    sql.execute("INSERT INTO users (user_id) SELECT generate_series(1, 5000)")
    sql.execute("DELETE FROM users WHERE user_id > 4000")
    sql.execute("SELECT pg_stat_force_next_flush()")
    done = command("stats", "sizes")
    assert done.code == 0
    assert done.lines[1][:3] == ["users", "4000", "1000"]


def test_connections(process: Command, sql: psycopg.Connection) -> None:
    sql.execute("SELECT 1")
    done = process("stats", "connections")
    assert done.code == 0
    counts = {words[0]: int(words[1]) for words in done.lines[1:-1]}
    assert counts["active"] == 1
    assert counts["idle"] >= 1
    assert done.lines[-1][0] == str(sum(counts.values()))
