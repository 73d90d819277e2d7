"""From a file of SQL to typed callables: what is refused, what is passed on verbatim, what is measured."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from traceback import format_exception
from typing import Any

import asyncpg
import msgspec
import pytest

from service import errors
from service.kernel import metrics, queries
from service.kernel.database import Database
from service.kernel.log import RateLimited
from service.kernel.queries import MalformedSql, parse
from tests.waiting import until

HEADER = "-- A room.\n-- Owns: things\n-- Reads: users, others\n\n"


def query(name: str = "-- name: get(thing) :one", purpose: str = "-- What it is for.", body: str = "SELECT $1;") -> str:
    return f"{name}\n{purpose}\n{body}\n"


class Thing(msgspec.Struct, frozen=True):
    thing: int
    label: str | None


FILE = """-- Things.
-- Owns: things
-- Reads:

-- name: get_thing(thing) :one
-- One thing.
SELECT thing, label FROM things WHERE thing = $1;

-- name: list_things(things) :many
-- Some things.
SELECT thing, label FROM things WHERE thing = ANY($1::bigint[]) ORDER BY thing;

-- name: count_things() :value
-- How many.
SELECT count(*) FROM things;

-- name: get_label(thing) :value
-- What it is called.
SELECT label FROM things WHERE thing = $1;

-- name: add_thing(label, thing) :exec
-- Another one.
INSERT INTO things (thing, label) VALUES ($2, $1);

-- name: lock_things() :exec
-- Nobody else.
LOCK TABLE things;

-- name: traps(document, keys) :value
-- Casts, slices, JSON's question marks, and what looks like a parameter, a ; and a comment, and is none.
SELECT
    ($1::jsonb ? 'a')
    AND $1::jsonb ?| $2::text[]
    AND NOT $1::jsonb ?& ARRAY['a', '$9; -- no comment', 'it''s $8']  -- $7; is
    AND (ARRAY[1, 2, 3])[2:3] = '{2,3}'::int[] /* nor $6; is
    this */ AND $quoted$ $5; $quoted$ IS NOT NULL AND 10 % 3 = 1 AND ':name' <> '%s {x}' AS "$4;";

-- name: sleep(seconds) :value
-- Slow.
SELECT pg_sleep($1)::text || 'x';
"""


@pytest.fixture
async def conn(conn: asyncpg.Connection) -> asyncpg.Connection:
    await conn.execute("CREATE TABLE things (thing bigint CONSTRAINT things_pkey PRIMARY KEY, label text)")
    return conn


@pytest.fixture
def things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[queries.Room]:
    (tmp_path / "things.sql").write_text(FILE)
    monkeypatch.setattr(queries, "SQL_FOLDER", tmp_path)
    monkeypatch.setattr(queries, "rooms", {})
    return queries.room("things", {"things_pkey": errors.Forged})


@pytest.mark.parametrize(
    "text",
    [
        "",
        query(),
        "-- Owns: things\n" + query(),
        HEADER + "SELECT 1;\n" + query(),
        HEADER + query() + query(),
        HEADER + query(name="-- name: get(thing)"),
        HEADER + query(name="-- name: get(thing) :some"),
        HEADER + query(name="-- name: get :one"),
        HEADER + query(name="-- name: get thing(thing) :one"),
        HEADER + query(name="-- name: get(thing other) :one", body="SELECT $1, $2;"),
        HEADER + query(name="-- name: get(thing,) :one"),
        HEADER + query(name="-- name:get(thing) :one"),
        HEADER + query(name="-- name: get(thing, thing) :one", body="SELECT $1, $2;"),
        HEADER + query(purpose="SELECT 1;"),
        HEADER + query(purpose=""),
        HEADER + query(purpose="--"),
        HEADER + query(body="SELECT $1"),
        HEADER + query(body="SELECT $1; SELECT 2;"),
        HEADER + query(body="SELECT $1; -- and then"),
        HEADER + query(body="SELECT ';', $1"),
        HEADER + query(body="-- $1;"),
        HEADER + query(body=";"),
        HEADER + query(body=""),
        HEADER + query(body="SELECT 1;"),
        HEADER + query(body="SELECT $2;"),
        HEADER + query(body="SELECT $1, $2;"),
        HEADER + query(body="SELECT $0, $1;"),
        HEADER + query(body="SELECT '$1';"),
        HEADER + query(body="SELECT 1 -- $1\n;"),
        HEADER + query(name="-- name: get() :one"),
    ],
)
def test_what_breaks_the_format_is_refused(text: str) -> None:
    with pytest.raises(MalformedSql):
        parse("things", text)


def test_a_fault_says_where_it_is() -> None:
    with pytest.raises(MalformedSql, match=r"things\.get names 1 parameters and uses \[1, 3\]"):
        parse("things", HEADER + query(body="SELECT $1, $3;"))


def test_what_a_file_holds() -> None:
    owns, reads, statements = parse(
        "things", HEADER + query() + query(name="-- name: other() :exec", body="SELECT\n 1;")
    )
    assert (owns, reads) == ({"things"}, {"users", "others"})
    assert list(statements) == ["get", "other"]
    other = statements["other"]
    assert (other.full_name, other.shape, other.parameters) == ("things.other", "exec", ())
    assert (other.purpose, other.text) == ("What it is for.", "/* things.other */ SELECT\n 1")


def test_a_declaration_must_be_right_and_the_only_one(things: queries.Room) -> None:
    with pytest.raises(MalformedSql, match="no query nothing :one"):
        things.one("nothing", Thing)
    with pytest.raises(MalformedSql, match="no query get_thing :many"):
        things.many("get_thing", Thing)
    things.one("get_thing", Thing)
    with pytest.raises(MalformedSql, match="twice"):
        things.one("get_thing", Thing)
    assert things.declared == {"get_thing": Thing}


def test_a_room_is_read_once_and_its_violations_come_first(things: queries.Room) -> None:
    assert queries.room("things") is things
    with pytest.raises(MalformedSql, match="too late"):
        queries.room("things", {"things_pkey": errors.NotFound})


async def test_the_four_shapes(things: queries.Room, conn: Any) -> None:
    add, get = things.exec("add_thing"), things.one("get_thing", Thing)
    some, count = things.many("list_things", Thing), things.value("count_things", int)
    label = things.value("get_label", str)
    assert (await get(conn, thing=1), await some(conn, things=[1]), await label(conn, thing=1)) == (None, [], None)
    assert await add(conn, thing=1, label="a") == 1
    assert await add(conn, label=None, thing=2) == 1
    assert await get(conn, thing=1) == Thing(1, "a")
    assert await some(conn, things=[1, 2, 3]) == [Thing(1, "a"), Thing(2, None)]
    assert (await count(conn), await label(conn, thing=1), await label(conn, thing=2)) == (2, "a", None)
    assert await things.exec("lock_things")(conn) == 0


async def test_traps_go_through_as_they_stand(things: queries.Room, conn: Any) -> None:
    traps = things.value("traps", bool)
    text = things.statements["traps"].text
    assert FILE[FILE.index("SELECT\n    ($1") : FILE.index(";\n\n-- name: sleep")] == text.removeprefix(
        "/* things.traps */ "
    )
    assert await traps(conn, document='{"a": 1}', keys=["a", "b"]) is True
    assert await traps(conn, document='{"b": 1}', keys=["a"]) is False


@pytest.mark.parametrize("values", [{}, {"other": 1}, {"thing": 1, "other": 2}])
async def test_parameters_are_named_and_complete(things: queries.Room, conn: Any, values: dict[str, int]) -> None:
    with pytest.raises(TypeError, match=r"things\.get_thing takes \('thing',\)"):
        await things.one("get_thing", Thing)(conn, **values)


async def test_errors_come_out_translated(things: queries.Room, conn: Any) -> None:
    add = things.exec("add_thing")
    await add(conn, thing=1, label="a")
    with pytest.raises(errors.Forged) as caught:
        async with conn.transaction():
            await add(conn, thing=1, label="".join(("a-", "secret")))
    assert isinstance(caught.value.__context__, asyncpg.UniqueViolationError)
    assert "a-secret" not in "".join(format_exception(caught.value))
    with pytest.raises(errors.Invalid):
        await add(conn, thing="not a number", label="a")


async def test_a_connection_that_is_gone_is_no_fault_of_the_query(
    things: queries.Room, db: Database, raw: asyncpg.Connection
) -> None:
    sleep = things.value("sleep", str)
    with pytest.raises(errors.ConnectionLost):
        async with db.acquire() as conn:
            await raw.execute("SELECT pg_terminate_backend($1)", conn.get_server_pid())
            await until(conn.is_closed)
            await sleep(conn, seconds=0.0)
    with pytest.raises(errors.ConnectionLost):
        async with db.acquire() as conn:
            pid = conn.get_server_pid()
            sleeping = asyncio.create_task(sleep(conn, seconds=60.0))
            await until(
                lambda: raw.fetchval("SELECT true FROM pg_stat_activity WHERE pid = $1 AND state = 'active'", pid)
            )
            await raw.execute("SELECT pg_terminate_backend($1)", pid)
            await sleeping


async def test_each_query_is_measured(things: queries.Room, conn: Any) -> None:
    def measured() -> float:
        sample = metrics.REGISTRY.get_sample_value
        return sample("ballast_db_query_duration_seconds_count", {"query": "things.count_things"}) or 0.0

    count = things.value("count_things", int)
    before = measured()
    await count(conn)
    await conn.execute("DROP TABLE things")
    with pytest.raises(errors.SchemaDrift):
        await count(conn)
    assert measured() == before + 2


async def test_a_slow_query_is_named_and_not_quoted(
    things: queries.Room, conn: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(queries, "slow_queries", RateLimited("database", 10.0, now=lambda: now))
    sleep, count = things.value("sleep", str), things.value("count_things", int)
    conn.slow_query_s = 60.0
    await count(conn)
    assert caplog.records == []
    conn.slow_query_s = 0.02
    for _ in range(3):
        await sleep(conn, seconds=0.0301)
    now = 10.0
    await sleep(conn, seconds=0.0301)
    lines = [record.fields for record in caplog.records]
    assert [line["query"] for line in lines] == ["things.sleep"] * 2
    assert lines[0]["ms"] >= 30
    assert lines[1]["left_out"] == 2
    assert "0.0301" not in repr(lines)


async def test_each_query_is_told_to_whoever_debugs(
    things: queries.Room, conn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """By name and time; what it was asked with stays out of the log."""
    caplog.set_level(logging.DEBUG, logger="database")
    await things.value("sleep", str)(conn, seconds=0.000123)
    (line,) = [record.fields for record in caplog.records if record.getMessage() == "query"]
    assert (line["query"], line["ms"] > 0) == ("things.sleep", True)
    assert "0.000123" not in repr(line)


async def test_the_server_shows_the_name(things: queries.Room, conn: Any) -> None:
    await things.value("count_things", int)(conn)
    names = await conn.fetch("SELECT statement FROM pg_prepared_statements")
    assert [row["statement"] for row in names if "/* things.count_things */" in row["statement"]]
