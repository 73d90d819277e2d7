"""`users ...`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

Command = Callable[..., Any]

PEOPLE = """
    INSERT INTO users (user_id, username, first_name, is_active, created_at)
    SELECT n, format('person_%s', n), 'First', n % 3 <> 0, now() - n * interval '1 hour'
    FROM generate_series(1, 9) AS n
"""


@pytest.fixture(autouse=True)
def people(sql: psycopg.Connection) -> None:
    sql.execute(PEOPLE)


def ids(done: Any) -> list[int]:
    return [int(words[0]) for words in done.lines[1:]]


def test_list_pages(process: Command, command: Command) -> None:
    done = process("users", "list", "--limit", "4")
    assert done.code == 0
    assert done.lines[0] == ["user_id", "username", "name", "language", "active", "created"]
    assert done.lines[1][:5] == ["1", "person_1", "First", "en", "yes"]
    assert ids(done) == [1, 2, 3, 4]
    second = command("users", "list", "--limit", "5", "--after", done.err.split()[-1])
    assert (ids(second), second.err) == ([5, 6, 7, 8, 9], "")


def test_list_by_activity(command: Command) -> None:
    assert ids(command("users", "list", "--active")) == [1, 2, 4, 5, 7, 8]
    assert ids(command("users", "list", "--inactive")) == [3, 6, 9]


def test_count(command: Command) -> None:
    assert command("users", "count").out == "9\n"
    assert command("users", "count", "--active").out == "6\n"
    assert command("users", "count", "--inactive").out == "3\n"


def test_recent(command: Command) -> None:
    assert ids(command("users", "recent", "--hours", "3.5")) == [1, 2, 3]
    assert ids(command("users", "recent")) == list(range(1, 10))


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--after", "junk"),
        ("list", "--limit", "0"),
        ("recent", "--hours", "0"),
        ("recent", "--hours", "nan"),
        ("recent", "--hours", "1e9"),
        ("export", str(10**19)),
    ],
)
def test_nonsense_is_refused_in_one_line(command: Command, words: tuple[str, ...]) -> None:
    done = command("users", *words)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_a_name_cannot_steer_the_terminal(command: Command, sql: psycopg.Connection) -> None:
    sql.execute("UPDATE users SET first_name = %s WHERE user_id = 1", ["\x1b[2J\nroot"])
    assert "\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}root" in command("users", "list").out


def test_export_finds_every_table_by_itself(command: Command, sql: psycopg.Connection) -> None:
    """By a foreign key whatever the column is called, and by the name user_id without one."""
    sql.execute("""
        CREATE TABLE invitations (referrer bigint REFERENCES users, invited bigint REFERENCES users);
        INSERT INTO invitations VALUES (1, 2), (3, 1), (2, 3), (1, 1);
        CREATE TABLE "It's ""odd"" %s $1" (user_id integer, "amount % $1" numeric);
        INSERT INTO "It's ""odd"" %s $1" VALUES (1, 0.10), (2, 0.20);
        CREATE TABLE by_text (user_id text); INSERT INTO by_text VALUES ('1'), ('2');
        CREATE TABLE parted (user_id bigint) PARTITION BY RANGE (user_id);
        CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10);
        INSERT INTO parted VALUES (1), (2);
        CREATE TABLE "sealed" (user_id uuid);
    """)
    done = command("users", "export", "1")
    assert done.code == 0
    exported = json.loads(done.out)
    assert exported["user_id"] == 1
    tables = exported["tables"]
    assert [row["username"] for row in tables["users"]] == ["person_1"]
    assert tables["invitations"] == [
        {"referrer": 1, "invited": 2},
        {"referrer": 3, "invited": 1},
        {"referrer": 1, "invited": 1},
    ]
    assert tables['It\'s "odd" %s $1'] == [{"user_id": 1, "amount % $1": "0.10"}]
    assert tables["by_text"] == [{"user_id": "1"}]
    assert tables["parted"] == [{"user_id": 1}]
    assert "part" not in tables


def test_export_of_nobody(command: Command) -> None:
    done = command("users", "export", "77")
    assert (done.code, done.out, done.err) == (1, "", "error: There is no such user.\n")


def test_erase(command: Command, sql: psycopg.Connection) -> None:
    done = command("users", "erase", "3", "--yes")
    assert (done.code, done.lines) == (0, [["table", "rows"], ["users", "1"]])
    assert sql.execute("SELECT count(*) FROM users WHERE user_id = 3").fetchone() == (0,)
    assert sql.execute("SELECT who, what FROM admin_log").fetchall() == [("command line", "erase")]
    again = command("users", "erase", "3", "--yes")
    assert (again.code, again.lines) == (0, [["table", "rows"]])
    assert "erased already" in again.err
    assert command("users", "erase", "424242", "--yes").code == 1


def test_erase_asks_first(command: Command, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "4")
    assert command("users", "erase", "3").code == 1
    assert command("users", "erase", "4").code == 0
    assert sql.execute("SELECT user_id FROM users WHERE user_id IN (3, 4)").fetchall() == [(3,)]
