"""What a backup holds: its manifest, and which tables are about money; SQL is in sql/backup.sql.

It knows tables by the catalog and by the rooms that own them; it knows nothing of dumps and files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

import service
from service.kernel import migrate, queries
from service.kernel.database import Connection
from service.ops import catalog

Kind = Literal["all", "critical"]

# The rooms of sql/ without whose tables nobody can say whose money is where. What was made with it is not among them.
CRITICAL_ROOMS = ("users", "ledger", "payments", "payment_refunds", "idempotency", "referrals")
# And which migrations there are: a schema without them would be taken for one that is to be made.
ALWAYS_ROOMS = ("migrate",)


class Origin(msgspec.Struct, frozen=True):
    """The server that was dumped, and what has to be on another one before a restore."""

    version: str
    major: int
    extensions: list[str]
    roles: list[str]


class Relation(msgspec.Struct, frozen=True):
    """`relation` as SQL spells it, with its schema; `number` is its oid."""

    relation: str
    name: str
    is_table: bool
    number: int


class Count(msgspec.Struct, frozen=True):
    """One table: rows, a sum over what they read like, and as JSON the sums of its amounts."""

    relation: str
    rows: int
    checksum: str
    sums: str


class Manifest(msgspec.Struct, frozen=True):
    """What was in the database at the moment of the backup."""

    taken_at: datetime
    kind: Kind
    plain: bool
    ballast: str
    origin: Origin
    migrations: list[str]
    tables: list[Count]
    numbers: dict[str, int]
    foreign_keys: list[str]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


class _Nothing(msgspec.Struct, frozen=True):
    """An UPDATE has no rows to tell."""


class _Numbered(msgspec.Struct, frozen=True):
    relation: str
    name: str


SQL = queries.room("backup")
try_to_be_alone = SQL.value("try_to_be_alone", bool)
take_time = SQL.value("take_time", str)
export_snapshot = SQL.value("export_snapshot", str)
list_relations = SQL.many("list_relations", Relation)
describe_origin = SQL.one("describe_origin", Origin)
_census = SQL.composed("compose_census", Count)
_list_numbered = SQL.many("list_numbered", _Numbered)
_renumber = SQL.composed("compose_renumbering", _Nothing)


def critical_tables() -> frozenset[str]:
    """By the names that their rooms have for them."""
    return frozenset(name for room in (*CRITICAL_ROOMS, *ALWAYS_ROOMS) for name in queries.room(room).owns)


def left_out(relations: Iterable[Relation], kind: Kind) -> list[str]:
    """The tables whose rows do not go into a backup of that kind."""
    if kind == "all":
        return []
    return [one.relation for one in relations if one.is_table and one.name not in critical_tables()]


async def describe(conn: Connection, *, kind: Kind, plain: bool, moment: datetime) -> tuple[Manifest, list[str]]:
    """What the transaction of this connection sees, and the tables whose rows stay out of the backup."""
    await take_time(conn)
    origin = await describe_origin(conn)
    assert origin is not None, "a SELECT without FROM has a row"
    relations = await list_relations(conn)
    out = left_out(relations, kind)
    tables = [one.relation for one in relations if one.is_table and one.relation not in out]
    manifest = Manifest(
        taken_at=moment,
        kind=kind,
        plain=plain,
        ballast=service.__version__,
        origin=origin,
        migrations=[],
        tables=await count(conn, tables),
        numbers={one.relation: one.number for one in relations if one.is_table},
        foreign_keys=await _checked_foreign_keys(conn),
    )
    return manifest, out


def with_migrations(manifest: Manifest, dsn: str) -> Manifest:
    """And how far the database is migrated."""
    applied = [one.id for one in migrate.status(dsn) if one.applied_at is not None]
    return msgspec.structs.replace(manifest, migrations=applied)


async def count(conn: Connection, relations: Sequence[str]) -> list[Count]:
    return await _census(conn, relations=list(relations)) or []


async def differences(conn: Connection, manifest: Manifest) -> list[str]:
    """What is not in the database as the manifest says, a line each."""
    await take_time(conn)
    found = {one.relation: one for one in await count(conn, [one.relation for one in manifest.tables])}
    lines = [line for one in manifest.tables if (line := _difference(one, found.get(one.relation)))]
    keys = set(await _checked_foreign_keys(conn))
    return lines + [f"foreign key {name} does not hold" for name in manifest.foreign_keys if name not in keys]


async def renumber(conn: Connection, manifest: Manifest) -> None:
    """Where the number of a table stands in a row, put the one that the table has here."""
    relations, numbers = list(manifest.numbers), list(manifest.numbers.values())
    for column in await _list_numbered(conn):
        await _renumber(conn, relation=column.relation, name=column.name, relations=relations, numbers=numbers)


def _difference(expected: Count, found: Count | None) -> str | None:
    if found is None:
        return f"{expected.relation} is missing"
    if found.rows != expected.rows:
        return f"{expected.relation} has {found.rows:,} rows, expected {expected.rows:,}"
    if found.sums != expected.sums:
        return f"{expected.relation} adds up to {found.sums}, expected {expected.sums}"
    if found.checksum != expected.checksum:
        return f"{expected.relation} has other rows than it had"
    return None


async def _checked_foreign_keys(conn: Connection) -> list[str]:
    """Those that hold for every row."""
    return sorted(f"{key.relation}.{key.name}" for key in await catalog.list_foreign_keys(conn) if key.is_valid)
