"""`db ...`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

Command = Callable[..., Any]


@pytest.fixture
def new_url(database_url: str, sql: psycopg.Connection) -> Iterator[str]:
    """An address where there is nothing yet, with a name that wants quoting."""
    parts = urlsplit(database_url)
    name = f'{parts.path.lstrip("/")}-Its"New'
    yield parts._replace(path=f"/{name.replace(chr(34), '%22')}").geturl()
    quoted = psycopg.sql.Identifier(name)
    sql.execute(psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(quoted))


def test_create_once(command: Command, new_url: str) -> None:
    assert command("db", "create", DATABASE_URL=new_url).out == "created\n"
    assert command("db", "create", DATABASE_URL=new_url).out == "it is there already\n"
    assert command("features", DATABASE_URL=new_url).code == 0


def test_reset_begins_again(command: Command, database_url: str, sql: psycopg.Connection) -> None:
    sql.execute("INSERT INTO users (user_id) VALUES (1)")
    sql.close()
    done = command("db", "reset")
    assert (done.code, "add --yes" in done.err) == (1, True)
    done = command("db", "reset", "--yes")
    assert done.code == 0
    assert done.out == "1 of 1 users are new\n"
    with psycopg.connect(database_url) as anew:
        assert anew.execute("SELECT user_id FROM users").fetchall() == [(123456789,)]


def test_the_server_s_own_database_is_nobody_s(command: Command, database_url: str) -> None:
    done = command("db", "reset", "--yes", DATABASE_URL=urlsplit(database_url)._replace(path="/postgres").geturl())
    assert done.code == 1
    assert "must name a database of its own" in done.err
