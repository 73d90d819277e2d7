"""`features`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import psycopg

Command = Callable[..., Any]


def test_all_on(process: Command) -> None:
    done = process("features")
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == ["feature", "state", "reason"]
    assert ["users", "on"] in done.lines


def test_off_with_its_reason(command: Command, sql: psycopg.Connection) -> None:
    sql.execute("DROP TABLE processed_updates")
    done = command("features")
    assert done.code == 0
    assert ["processed_updates", "off", "processed_updates", "table", "missing"] in done.lines
    items = {item["name"]: item for item in json.loads(command("features", "--json").out)["items"]}
    assert items["processed_updates"] == {
        "name": "processed_updates",
        "state": "off",
        "reason": "processed_updates table missing",
        "missing": ["processed_updates"],
    }


def test_the_database_away_is_one_line_without_its_address(process: Command) -> None:
    done = process("features", DATABASE_URL="postgresql://owner:hush@127.0.0.1:9/ballast")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: The database is away")
    assert done.err.count("\n") == 1
    assert "hush" not in done.err
    assert "127.0.0.1" not in done.err
