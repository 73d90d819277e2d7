"""What the database tells about itself: tables, foreign keys, indexes, sizes, connections; SQL is in sql/ops.sql.

It knows the catalog as rows, and the tables that features ask for; it judges nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from service.feature import Feature, Need, relations_of
from service.kernel import queries
from service.kernel.database import Connection, schema
from service.kernel.database.schema import Schema

SQL = queries.room("ops")


class Server(msgspec.Struct, frozen=True):
    """The PostgreSQL behind the connection."""

    version: str
    connections_for_all: int
    has_trigrams: bool


class Measured(msgspec.Struct, frozen=True):
    """A relation that is there. `rows_estimate` is the statistics' word; sizes are in bytes, with indexes."""

    relation: str
    kind: str
    rows_estimate: int
    size_bytes: int


class ForeignKey(msgspec.Struct, frozen=True):
    """A foreign key; one that is not valid was never held against the rows that were there before it."""

    relation: str
    name: str
    definition: str
    is_valid: bool


class Index(msgspec.Struct, frozen=True):
    """An index; one that is not valid is the rest of a CREATE INDEX CONCURRENTLY that failed."""

    relation: str
    name: str
    is_valid: bool


class TableSize(msgspec.Struct, frozen=True):
    """Rows as the statistics count them."""

    relation: str
    live_rows: int
    dead_rows: int
    table_bytes: int
    index_bytes: int
    vacuumed_at: datetime | None


class ConnectionCount(msgspec.Struct, frozen=True):
    """Connections in one state, and the seconds that the oldest has been in it."""

    state: str
    connections: int
    longest_s: float


class SlowStatement(msgspec.Struct, frozen=True):
    """A line of pg_stat_statements: our name of the query or the beginning of its text; times in milliseconds."""

    query: str
    calls: int
    mean_ms: float
    max_ms: float
    total_ms: float
    rows: int


class DeadRows(msgspec.Struct, frozen=True):
    """Rows of one table that vacuum has still to clear away."""

    relation: str
    dead_rows: int


class PersonRows(msgspec.Struct, frozen=True):
    """All rows of one table that are about a person, as a JSON array."""

    relation: str
    rows: str


list_foreign_keys = SQL.many("list_foreign_keys", ForeignKey)
list_indexes = SQL.many("list_indexes", Index)
list_table_sizes = SQL.many("list_table_sizes", TableSize)
count_dead_rows = SQL.many("count_dead_rows", DeadRows)
oldest_transaction_s = SQL.value("oldest_transaction_s", float)
count_connections = SQL.many("count_connections", ConnectionCount)
list_slow_statements = SQL.composed("compose_slow_statements", SlowStatement)
export_person = SQL.composed("compose_person_export", PersonRows)
_describe_server = SQL.one("describe_server", Server)
_measure_relations = SQL.many("measure_relations", Measured)


class Table(msgspec.Struct, frozen=True):
    """What a feature asks of one relation, and what is there. `missing` names columns and privileges."""

    feature: str
    table: str
    present: bool
    missing: Sequence[str]
    kind: str | None
    rows_estimate: int | None
    size_bytes: int | None
    foreign_keys: Sequence[ForeignKey]


async def describe_server(conn: Connection) -> Server:
    server = await _describe_server(conn)
    assert server is not None  # a SELECT without FROM has a row
    return server


async def tables_of(conn: Connection, features: Iterable[Feature]) -> list[Table]:
    """One entry for each relation of each feature, in the features' order."""
    features = tuple(features)
    relations = sorted(relations_of(features))
    seen = await schema.probe(conn, relations)
    measured = {one.relation: one for one in await _measure_relations(conn, relations=relations)}
    foreign_keys = await list_foreign_keys(conn)
    return [
        _table(feature.name, name, _missing(name, need, seen), measured, foreign_keys)
        for feature in features
        for name, need in feature.needs.items()
    ]


def _table(
    feature: str, name: str, missing: Sequence[str], measured: Mapping[str, Measured], keys: Iterable[ForeignKey]
) -> Table:
    found = measured.get(name)
    if found is None:
        return Table(feature, name, False, (), None, None, None, ())
    own = [key for key in keys if key.relation == name]
    return Table(feature, name, True, missing, found.kind, found.rows_estimate, found.size_bytes, own)


def _missing(name: str, need: Need, seen: Schema) -> list[str]:
    relation = seen.relations.get(name)
    if relation is None:
        return []
    privileges = [f"{privilege} privilege" for privilege in need.privileges.difference(relation.privileges)]
    return sorted(need.columns.difference(relation.columns)) + sorted(privileges)
