"""`seed`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from service.cli.seed import DEMO_PEOPLE, FIRST_DEMO_ID, demo_people

Command = Callable[..., Any]
PRODUCTION = {
    "ENVIRONMENT": "production",
    "TELEGRAM_BOT_TOKEN": "1:" + "x" * 35,
    "TELEGRAM_WEBHOOK_SECRET": "hush" * 10,
    "ADMIN_TOKEN": "hush" * 10,
}


def test_twice_is_once(command: Command, sql: psycopg.Connection) -> None:
    assert command("seed").out == "1 of 1 users are new\n"
    assert command("seed").out == "0 of 1 users are new\n"
    rows = sql.execute("SELECT user_id, username, first_name, last_name, is_active FROM users").fetchall()
    assert rows == [(123456789, "testuser", "Test", "User", True)]


def test_demo(command: Command, sql: psycopg.Connection) -> None:
    assert command("seed", "--demo").out == f"{DEMO_PEOPLE + 1} of {DEMO_PEOPLE + 1} users are new\n"
    assert command("seed", "--demo").out == f"0 of {DEMO_PEOPLE + 1} users are new\n"
    active, inactive, nameless = sql.execute(
        "SELECT count(*) FILTER (WHERE is_active), count(*) FILTER (WHERE NOT is_active),"
        " count(*) FILTER (WHERE username IS NULL) FROM users"
    ).fetchone() or (0, 0, 0)
    assert active + inactive == DEMO_PEOPLE + 1
    assert inactive > 10
    assert nameless > 10


def test_the_demo_is_nobody_on_telegram() -> None:
    people = demo_people()
    assert FIRST_DEMO_ID > 2**52
    assert len({person.user_id for person in people}) == DEMO_PEOPLE
    assert len({(person.first_name, person.last_name) for person in people}) == DEMO_PEOPLE


def test_not_in_production(command: Command, sql: psycopg.Connection) -> None:
    for words in (("seed",), ("db", "reset", "--yes")):
        done = command(*words, **PRODUCTION)
        assert (done.code, done.out) == (1, "")
        assert "this is production" in done.err
    assert sql.execute("SELECT count(*) FROM users").fetchone() == (0,)
