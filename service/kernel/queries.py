"""From sql/<room>.sql to typed callables.

It knows the format of the files and how to run a statement; it knows no statement. A room declares the queries
it uses once, at the top of its repo.py:

    SQL = queries.room("users")
    get_user = SQL.one("get_user", User)          # await get_user(conn, user_id=1) -> User | None

The format: a header comment (`-- Owns:` and `-- Reads:` name tables), then for each query

    -- name: get_user(user_id) :one
    -- One line that says what it is for.
    SELECT ... WHERE user_id = $1;

`:one` a row or None, `:many` a list of rows, `:value` the first column of the first row, `:exec` the number of
rows touched. The text goes to the server as it stands, after a leading /* users.get_user */ for whoever reads
pg_stat_activity. tests/test_sql.py holds the columns and types that PostgreSQL promises against the declared type.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from service.kernel import metrics
from service.kernel.log import Log, RateLimited
from service.kernel.sqlstate import Violations, translate

if TYPE_CHECKING:
    from service.kernel.database import Connection

SQL_FOLDER = Path(__file__).resolve().parents[2] / "sql"
# One line for a slow query's name in this many seconds: a slow database must not drown its own log.
SLOW_LINE_EVERY_S = 10.0

R = TypeVar("R")

_NAME = re.compile(r"^-- name: (?P<name>\w+)\((?P<parameters>(?:\w+(?:, \w+)*)?)\) :(?P<shape>one|many|value|exec)$")
_PLACEHOLDER = re.compile(r"\$(\d+)")
# What is a comment, a string or a quoted name holds no parameter and ends no statement.
_QUOTED = re.compile(r"""--[^\n]*|/\*.*?\*/|\$((?:[^\W\d]\w*)?)\$.*?\$\1\$|'(?:[^']|'')*'|"[^"]*\"""", re.DOTALL)
_TABLES = re.compile(r"^-- (Owns|Reads):(.*)$", re.MULTILINE)

log = Log("database")
slow_queries = RateLimited("database", SLOW_LINE_EVERY_S)


class MalformedSql(Exception):
    """A file under sql/, or a declaration of one of its queries, breaks the format."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One named query, as it stands in its file."""

    room: str
    name: str
    parameters: tuple[str, ...]
    shape: str
    purpose: str
    text: str

    @property
    def full_name(self) -> str:
        return f"{self.room}.{self.name}"

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The values in the order of $1, $2, ... Raises TypeError when a name is missing or unknown."""
        if len(values) != len(self.parameters) or not all(name in values for name in self.parameters):
            raise TypeError(f"{self.full_name} takes {self.parameters}, not {tuple(values)}")
        return [values[name] for name in self.parameters]


@dataclass(frozen=True, slots=True)
class Room:
    """The queries of one file, and the types that its Python side has declared for them."""

    name: str
    owns: frozenset[str]
    reads: frozenset[str]
    statements: Mapping[str, Statement]
    violations: Violations = field(default_factory=dict)
    declared: dict[str, type] = field(default_factory=dict)

    def one(self, name: str, row: type[R]) -> Callable[..., Awaitable[R | None]]:
        statement = self._declare(name, "one", row)

        async def run(conn: Connection, **values: Any) -> R | None:
            record = await self._run(statement, conn, conn.fetchrow, *statement.arguments(values))
            return None if record is None else row(*record)

        return run

    def many(self, name: str, row: type[R]) -> Callable[..., Awaitable[list[R]]]:
        statement = self._declare(name, "many", row)

        async def run(conn: Connection, **values: Any) -> list[R]:
            return [
                row(*record) for record in await self._run(statement, conn, conn.fetch, *statement.arguments(values))
            ]

        return run

    def value(self, name: str, kind: type[R]) -> Callable[..., Awaitable[R]]:
        """Declare `int | None` as the kind where the query may find nothing."""
        statement = self._declare(name, "value", kind)

        async def run(conn: Connection, **values: Any) -> R:
            found: R = await self._run(statement, conn, conn.fetchval, *statement.arguments(values))
            return found

        return run

    def exec(self, name: str) -> Callable[..., Awaitable[int]]:
        statement = self._declare(name, "exec", int)

        async def run(conn: Connection, **values: Any) -> int:
            tag: str = await self._run(statement, conn, conn.execute, *statement.arguments(values))
            touched = tag.rpartition(" ")[2]
            return int(touched) if touched.isdecimal() else 0  # a tag such as LOCK TABLE counts nothing

        return run

    def each(self, name: str) -> Callable[[Connection, Sequence[Mapping[str, Any]]], Awaitable[list[Any]]]:
        """A declared query for many sets of values in one round trip; all their rows, in the order of the sets."""
        statement, row = self.statements[name], self.declared[name]

        async def run(conn: Connection, many: Sequence[Mapping[str, Any]]) -> list[Any]:
            if statement.shape == "exec":
                await self._run(statement, conn, conn.executemany, [statement.arguments(values) for values in many])
                return []
            sets = [statement.arguments(values) for values in many]
            return [row(*record) for record in await self._run(statement, conn, conn.fetchmany, sets)]

        return run

    def composed(self, name: str, row: type[R]) -> Callable[..., Awaitable[list[R] | None]]:
        """A query whose answer is a statement, which is run in its turn; None where it wrote none.

        For names that are known at run time only: the server puts them in itself, quoted by format('%I').
        """
        statement = self._declare(name, "value", str)

        async def run(conn: Connection, **values: Any) -> list[R] | None:
            text = await self._run(statement, conn, conn.fetchval, *statement.arguments(values))
            if text is None:
                return None
            written = replace(statement, text=text, parameters=())
            return [row(*record) for record in await self._run(written, conn, conn.fetch)]

        return run

    def _declare(self, name: str, shape: str, kind: type) -> Statement:
        statement = self.statements.get(name)
        if statement is None or statement.shape != shape:
            raise MalformedSql(f"sql/{self.name}.sql has no query {name} :{shape}")
        if name in self.declared:
            raise MalformedSql(f"{statement.full_name} is declared twice")
        self.declared[name] = kind
        return statement

    async def _run(
        self, statement: Statement, conn: Connection, method: Callable[..., Awaitable[Any]], *arguments: Any
    ) -> Any:
        started = time.perf_counter()
        try:
            return await method(statement.text, *arguments)
        except Exception as error:
            raised = translate(error, self.violations)
            if raised is error:
                raise
            raise raised from None
        finally:
            # A connection that the server closed meanwhile is no longer there to be asked.
            slow_after_s = getattr(conn, "slow_query_s", math.inf)
            _observe(statement, time.perf_counter() - started, slow_after_s)


rooms: dict[str, Room] = {}
"""Every room that has been asked for; what tests and `explain` iterate."""


def room(name: str, violations: Violations | None = None) -> Room:
    """Load sql/<name>.sql. Asked twice, a file is read once. Raises MalformedSql."""
    if name in rooms and violations:
        raise MalformedSql(f"the violations of sql/{name}.sql come too late: the room was asked for without them")
    if name not in rooms:
        owns, reads, statements = parse(name, (SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))
        rooms[name] = Room(name, owns, reads, statements, violations or {})
    return rooms[name]


def names() -> dict[str, Statement]:
    """Every query of the rooms that have been asked for, by its full name."""
    return {statement.full_name: statement for one in rooms.values() for statement in one.statements.values()}


def parse(room_name: str, text: str) -> tuple[frozenset[str], frozenset[str], Mapping[str, Statement]]:
    """The owned tables, the read tables and the queries of one file. Raises MalformedSql."""
    header, *blocks = re.split(r"^(?=-- name:)", text, flags=re.MULTILINE)
    tables = {key: frozenset(re.findall(r"\w+", names)) for key, names in _TABLES.findall(header)}
    if set(tables) != {"Owns", "Reads"} or not all(line.startswith("--") or not line for line in header.split("\n")):
        raise MalformedSql(f"sql/{room_name}.sql must begin with a comment that has Owns: and Reads:")
    statements: dict[str, Statement] = {}
    for statement in (_parse_block(room_name, block) for block in blocks):
        if statement.name in statements:
            raise MalformedSql(f"{statement.full_name} stands twice")
        statements[statement.name] = statement
    return tables["Owns"], tables["Reads"], statements


def _parse_block(room_name: str, block: str) -> Statement:
    first, _, rest = block.partition("\n")
    match = _NAME.match(first)
    if match is None:
        raise MalformedSql(f"sql/{room_name}.sql: {first!r} is not `-- name: query(parameters) :shape`")
    purpose, _, body = rest.partition("\n")
    parameters = tuple(re.findall(r"\w+", match["parameters"]))
    _check_block(f"{room_name}.{match['name']}", purpose, body, parameters)
    text = f"/* {room_name}.{match['name']} */ {body.strip().rstrip(';')}"
    return Statement(room_name, match["name"], parameters, match["shape"], purpose.removeprefix("-- "), text)


def _check_block(full_name: str, purpose: str, body: str, parameters: tuple[str, ...]) -> None:
    if not purpose.startswith("-- "):
        raise MalformedSql(f"{full_name} needs one line that says what it is for")
    bare = _QUOTED.sub("", body)
    if bare.count(";") != 1 or not body.strip().endswith(";") or not bare.strip(" \n;"):
        raise MalformedSql(f"{full_name} must be one statement that ends in a semicolon")
    if len(set(parameters)) != len(parameters):
        raise MalformedSql(f"{full_name} names a parameter twice")
    used = {int(number) for number in _PLACEHOLDER.findall(bare)}
    if used != set(range(1, len(parameters) + 1)):
        raise MalformedSql(f"{full_name} names {len(parameters)} parameters and uses {sorted(used)}")


def _observe(statement: Statement, seconds: float, slow_after_s: float) -> None:
    metrics.DB_QUERY_SECONDS.labels(statement.full_name).observe(seconds)
    log.debug("query", query=statement.full_name, ms=round(seconds * 1000, 2))
    if seconds > slow_after_s:
        slow_queries.warning("slow query", key=statement.full_name, query=statement.full_name, ms=round(seconds * 1000))
