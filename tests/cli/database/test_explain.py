"""`explain`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from service.kernel import queries

Command = Callable[..., Any]


def test_with_values_it_is_measured(process: Command) -> None:
    done = process("explain", "users.get_users", "--param", "user_ids={1,2}")
    assert (done.code, done.err) == (0, "")
    assert "users_pkey" in done.out
    assert "actual time" in done.out
    assert "Execution Time" in done.out
    assert "Buffers" in done.out


def test_without_values_it_is_the_generic_plan(command: Command) -> None:
    done = command("explain", "users.get_users")
    assert done.code == 0
    assert "user_id = ANY ($1)" in done.out
    assert "actual time" not in done.out


def test_what_it_changed_is_rolled_back(command: Command, sql: psycopg.Connection) -> None:
    sql.execute("INSERT INTO users (user_id) VALUES (1)")
    done = command("explain", "users.mark_active", "-p", "user_id=1", "-p", "is_active=false")
    assert done.code == 0
    assert "users_set_updated_at: time" in done.out  # it was really run
    assert sql.execute("SELECT is_active FROM users").fetchone() == (True,)


def test_a_name_alone_is_null(command: Command) -> None:
    done = command("explain", "users.count_users", "-p", "is_active")
    assert done.code == 0
    assert "Filter" not in done.out


def test_on_the_oldest_server_as_well(command: Command, debian_url: str) -> None:
    done = command("explain", "users.get_users", DATABASE_URL=debian_url)
    assert "user_id = ANY ($1)" in done.out
    assert "by any part" in command("doctor", DATABASE_URL=debian_url).out  # it has pg_trgm


def test_a_query_without_parameters(command: Command) -> None:
    assert "actual time" in command("explain", "kernel.ping").out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("users.get_user",), "there is no query users.get_user; there is users.get_users"),
        (("nothing.like.it.at.all",), "there is no query"),
        (("users.get_users", "-p", "ids={1}"), "users.get_users takes user_ids"),
        (("users.mark_active", "-p", "user_id=1"), "users.mark_active takes user_id, is_active"),
        (("kernel.ping", "-p", "x=1"), "kernel.ping takes no parameters"),
        (("users.get_users", "-p", "user_ids=one"), "malformed array literal"),
        (("users.mark_active", "-p", "user_id='; DROP TABLE users; --", "-p", "is_active=no"), "invalid input syntax"),
    ],
)
def test_what_does_not_suit_is_told(
    command: Command, sql: psycopg.Connection, words: tuple[str, ...], told: str
) -> None:
    done = command("explain", *words)
    assert (done.code, done.out) == (1, "")
    assert told in done.err
    assert done.err.count("\n") == 1
    assert sql.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_every_query_of_ours_has_a_generic_plan(command: Command) -> None:
    """Those of `migrate` apart, which are statements that have none, and one that a subtransaction may not run."""
    without = {name for name in queries.names() if name.startswith("migrate.")} | {"backup.export_snapshot"}
    names = [name for name in queries.names() if name not in without]
    assert "users.get_users" in names
    assert [name for name in names if command("explain", name).code != 0] == []
