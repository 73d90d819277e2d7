"""Every query of every room, prepared on a migrated database: what sqlc and sqlx do when they build.

The files are found by their folder and the features by their list, so a new room is held to this without a word here.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import types
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin
from uuid import UUID

import msgspec
import psycopg
import pytest
from psycopg import pq

import service
from service.features import FEATURES
from service.kernel import queries
from service.kernel.queries import SQL_FOLDER, Statement
from tests.plans import explained, touched
from tests.postgres import Server

for module in pkgutil.walk_packages(service.__path__, "service."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)  # each room declares its queries

ROOMS = {path.stem: queries.room(path.stem) for path in sorted(SQL_FOLDER.glob("*.sql"))}
STATEMENTS = [statement for room in ROOMS.values() for statement in room.statements.values()]
DECLARED = [statement for statement in STATEMENTS if statement.name in ROOMS[statement.room].declared]
# The migrator runs its file over a driver of its own, and names its queries as strings.
BY_NAME = {"migrate": Path(queries.__file__).parent / "migrate"}
# These make tables; everything else can be explained.
UTILITY = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")

PYTHON_OF: dict[str, Any] = {
    **dict.fromkeys(("int8", "int4", "int2", "oid"), int),
    **dict.fromkeys(("text", "varchar", "name", "regclass", "char"), str),
    **dict.fromkeys(("float8", "float4"), float),
    "bool": bool,
    "timestamptz": datetime,
    "date": date,
    "interval": timedelta,
    "numeric": Decimal,
    "bytea": bytes,
    "uuid": UUID,
    "jsonb": str,
    "json": str,
    "_int8": list[int],
    "_text": list[str],
    "_name": list[str],
    "_bool": list[bool],
    "_numeric": list[Decimal],
    "_timestamptz": list[datetime],
    "_bytea": list[bytes],
    "_uuid": list[UUID],
}
# Money is exact and every moment has its zone: no parameter goes to the server as one of these.
INEXACT = {"float4", "float8", "timestamp", "money", "unknown"}


class Column(NamedTuple):
    """A column of a result, as the server promises it."""

    name: str
    type: str
    may_be_null: bool


class Promise(NamedTuple):
    """What the server says of a prepared statement."""

    parameters: tuple[str, ...]
    columns: tuple[Column, ...]


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[psycopg.Connection[Any]]:
    with server.migrated() as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def type_names(database: psycopg.Connection[Any]) -> dict[int, str]:
    return dict(database.execute("SELECT oid, typname FROM pg_type").fetchall())


def promised(connection: psycopg.Connection[Any], statement: Statement, type_names: dict[int, str]) -> Promise:
    """Raises psycopg.Error when the statement cannot be prepared."""
    prepared = connection.pgconn.prepare(b"", statement.text.encode())
    if prepared.status != pq.ExecStatus.COMMAND_OK:
        raise psycopg.ProgrammingError(prepared.error_message.decode())
    said = connection.pgconn.describe_prepared(b"")
    return Promise(
        tuple(type_names[said.param_type(at)] for at in range(said.nparams)),
        tuple(_column(connection, said, at, type_names) for at in range(said.nfields)),
    )


def _column(connection: psycopg.Connection[Any], said: pq.abc.PGresult, at: int, type_names: dict[int, str]) -> Column:
    """Of an expression, or a view's column, nobody knows whether it may be NULL: only a table's constraint tells."""
    origin = (said.ftable(at), said.ftablecol(at))
    query = (
        "SELECT NOT attnotnull FROM pg_attribute INNER JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE attrelid = %s AND attnum = %s AND attnum > 0 AND relkind IN ('r', 'p')"
    )
    nullable = connection.execute(query, origin).fetchone()
    return Column((said.fname(at) or b"").decode(), type_names[said.ftype(at)], bool(nullable and nullable[0]))


def bare(kind: Any) -> tuple[Any, bool]:
    """A type without what only checkers need, and whether it takes None."""
    if get_origin(kind) is Annotated:
        return bare(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return type(get_args(kind)[0]), False
    if get_origin(kind) in (Union, types.UnionType):
        rest = [one for one in get_args(kind) if one is not type(None)]
        assert len(rest) == 1, f"{kind} has several shapes"
        return bare(rest[0])[0], True
    return kind, kind is type(None)


def ids(statement: Statement) -> str:
    return statement.full_name


@pytest.mark.parametrize("statement", STATEMENTS, ids=ids)
def test_the_server_understands_it(
    database: psycopg.Connection[Any], type_names: dict[int, str], statement: Statement
) -> None:
    promise = promised(database, statement, type_names)
    assert len(promise.parameters) == len(statement.parameters)
    assert not INEXACT & set(promise.parameters)
    assert set(promise.parameters) <= PYTHON_OF.keys()


@pytest.mark.parametrize("statement", DECLARED, ids=ids)
def test_the_result_is_what_its_row_type_promises(
    database: psycopg.Connection[Any], type_names: dict[int, str], statement: Statement
) -> None:
    columns = promised(database, statement, type_names).columns
    declared = ROOMS[statement.room].declared[statement.name]
    if statement.shape == "exec":
        assert not columns, "rows that nobody reads"
        return
    if statement.shape == "value":
        fields = [(columns[0].name, declared)]
        assert len(columns) == 1
    else:
        fields = [(field.name, field.type) for field in msgspec.structs.fields(declared)]
    assert [column.name for column in columns] == [name for name, _ in fields]
    for column, (name, kind) in zip(columns, fields, strict=True):
        expected, optional = bare(kind)
        assert PYTHON_OF[column.type] == expected, f"{name} is {column.type}"
        assert optional or statement.shape == "value" or not column.may_be_null, f"{name} may be NULL"


def test_every_query_is_declared_and_every_file_has_a_room() -> None:
    """The other way round, a declaration without a query is refused when its room is imported."""
    orphans = {statement.full_name for statement in STATEMENTS} - {statement.full_name for statement in DECLARED}
    for room, folder in BY_NAME.items():
        source = "".join(path.read_text() for path in folder.glob("*.py"))
        strings = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
        orphans -= {f"{room}.{name}" for name in ROOMS[room].statements if name in strings}
    assert not orphans
    assert set(queries.rooms) == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_file_says_which_tables_it_touches(database: psycopg.Connection[Any], room: str) -> None:
    owns, reads = ROOMS[room].owns, ROOMS[room].reads
    used: set[str] = set()
    for statement in ROOMS[room].statements.values():
        if made := UTILITY.search(statement.text):
            used.add(made[1])
            continue
        for table, privilege in touched(explained(database, statement, mode="generic")):
            assert table in owns | reads, f"{statement.full_name} touches {table}"
            assert table in owns or privilege == "SELECT", f"{statement.full_name} writes {table}"
            used.add(table)
    assert used == owns | reads, "the header names a table that no query touches"


def test_a_table_is_written_by_one_file() -> None:
    owners = [table for room in ROOMS.values() for table in room.owns]
    assert len(owners) == len(set(owners))


@pytest.mark.parametrize("statement", STATEMENTS, ids=ids)
def test_columns_are_named(statement: Statement) -> None:
    assert not re.search(r"(SELECT|RETURNING|,|\.)\s*\*", statement.text, re.IGNORECASE)
    assert len(statement.text.splitlines()) <= 50, "a query that long is two"


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_a_feature_needs_what_there_is(database: psycopg.Connection[Any], feature: Any) -> None:
    for relation, need in feature.needs.items():
        query = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0"
        there = {name for (name,) in database.execute(query, [relation]).fetchall()}
        assert need.columns <= there, f"{relation} has no {need.columns - there}"
        assert any(relation in room.owns | room.reads for room in ROOMS.values()), f"no query touches {relation}"


def test_features_need_what_their_queries_use(database: psycopg.Connection[Any], type_names: dict[int, str]) -> None:
    """Each column is taken away in its turn; where that breaks a query, a feature must say that it needs it."""
    for room in ROOMS.values():
        for table in room.owns - ROOMS["migrate"].owns:
            needed = {column for one in FEATURES if table in one.needs for column in one.needs[table].columns}
            assert needed, f"no feature needs {table}"
            query = "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0"
            columns = [name for (name,) in database.execute(query, [table]).fetchall()]
            used = {column for column in columns if _breaks_without(database, type_names, table, column)}
            assert used == needed, f"{table}: {used ^ needed}"


def _breaks_without(database: psycopg.Connection[Any], type_names: dict[int, str], table: str, column: str) -> bool:
    for statement in DECLARED:
        with database.transaction(force_rollback=True):
            database.execute(f'ALTER TABLE "{table}" DROP COLUMN "{column}" CASCADE'.encode())
            try:
                promised(database, statement, type_names)
            except psycopg.Error:
                return True
    return False


def test_features_have_the_privileges_that_their_queries_use(database: psycopg.Connection[Any]) -> None:
    declared: dict[str, set[str]] = {}
    for feature in FEATURES:
        for relation, need in feature.needs.items():
            declared.setdefault(relation, set()).update(need.privileges)
    for statement in DECLARED:
        for table, privilege in touched(explained(database, statement, mode="generic")):
            assert privilege in declared[table], f"{statement.full_name} needs {privilege} on {table}"
