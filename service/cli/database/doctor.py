"""`python -m service doctor`: whether the database is as this release needs it.

It knows what is a fault and what is only worth knowing; what there is, service.ops.catalog tells.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from service.cli.connection import addressed, over_connection
from service.cli.table import in_bytes, print_table
from service.config import Config
from service.features import FEATURES
from service.kernel import migrate
from service.kernel.database import Connection
from service.ops import catalog
from service.ops.catalog import ForeignKey, Index, Server, Table

# Beside its pool a process holds the connection that watches the database, and at its start one that migrates.
BESIDE_THE_POOL = 2


class Finding(NamedTuple):
    """One line of the report."""

    word: Literal["ok", "note", "FAULT"]
    subject: str
    text: str


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "examine the database; exit 1 on a fault"
    parser = subparsers.add_parser("doctor", help=text, description=text)
    parser.add_argument("--fks", action="store_true", help="list the foreign keys and nothing else")
    parser.add_argument("--instances", type=int, default=1, metavar="N", help="processes that share the database (1)")
    parser.set_defaults(run=doctor)


def doctor(arguments: argparse.Namespace, config: Config) -> int:
    with addressed(config) as config:
        if arguments.fks:
            return _list_foreign_keys(over_connection(config, catalog.list_foreign_keys))
        findings = over_connection(config, lambda conn: _examine(conn, config, arguments.instances))
        return _report([*findings, *about_migrations(migrate.faults(config.database.dsn or ""))])


async def _examine(conn: Connection, config: Config, instances: int) -> list[Finding]:
    server = await catalog.describe_server(conn)
    tables = await catalog.tables_of(conn, FEATURES)
    present = {table.table for table in tables if table.present}
    expected = {name: table for name, table in migrate.indexes().items() if table in present}
    return [
        *about_server(server),
        *about_connections(server, config, instances),
        *(finding for table in tables for finding in about_table(table)),
        *about_foreign_keys(await catalog.list_foreign_keys(conn)),
        *about_indexes(await catalog.list_indexes(conn), expected),
    ]


def about_server(server: Server) -> list[Finding]:
    trigrams = "" if server.has_trigrams else "not "
    found = "by any part" if server.has_trigrams else "by its beginning"
    return [
        Finding("ok", "server", f"PostgreSQL {server.version}"),
        Finding("note", "pg_trgm", f"{trigrams}installed: a username is found {found}"),
    ]


def about_connections(server: Server, config: Config, instances: int) -> list[Finding]:
    if config.database.pooler != "none":
        return [Finding("note", "connections", f"{config.database.pooler} stands between; its limits count")]
    each = config.database.pool_max + BESIDE_THE_POOL
    text = f"{instances} x {each} wanted at most, {server.connections_for_all} to be had"
    return [Finding("ok" if instances * each <= server.connections_for_all else "FAULT", "connections", text)]


def about_table(table: Table) -> list[Finding]:
    if not table.present:
        return [Finding("FAULT", table.feature, f"{table.table} table missing")]
    if table.missing:
        return [Finding("FAULT", table.feature, f"{table.table} lacks {', '.join(table.missing)}")]
    size = in_bytes(table.size_bytes or 0)
    return [
        Finding("ok", table.feature, f"{table.kind} {table.table}, about {table.rows_estimate or 0:,} rows, {size}")
    ]


def about_foreign_keys(keys: Sequence[ForeignKey]) -> list[Finding]:
    unchecked = [key for key in keys if not key.is_valid]
    valid = len(keys) - len(unchecked)
    return [
        Finding("ok", "foreign keys", f"{valid} valid"),
        *(Finding("FAULT", "foreign keys", f"{key.name} of {key.relation} is NOT VALID") for key in unchecked),
    ]


def about_indexes(indexes: Sequence[Index], expected: Mapping[str, str]) -> list[Finding]:
    """`expected` maps the name of an index to its table."""
    broken = [index for index in indexes if not index.is_valid]
    missing = sorted(expected.keys() - {index.name for index in indexes})
    return [
        Finding("ok", "indexes", f"{len(indexes) - len(broken)} valid"),
        *(Finding("FAULT", "indexes", f"{index.name} on {index.relation} is invalid") for index in broken),
        *(Finding("FAULT", "indexes", f"{name} on {expected[name]} is missing") for name in missing),
    ]


def about_migrations(states: Sequence[migrate.State]) -> list[Finding]:
    if not states:
        return [Finding("ok", "migrations", "all applied")]
    return [Finding("FAULT", "migrations", f"{one.id} is {one.state}") for one in states]


def _list_foreign_keys(keys: Sequence[ForeignKey]) -> int:
    print_table(
        ("table", "name", "valid", "definition"), [(k.relation, k.name, k.is_valid, k.definition) for k in keys]
    )
    return 0 if all(key.is_valid for key in keys) else 1


def _report(findings: Iterable[Finding]) -> int:
    findings = list(findings)
    print_table(("", "what", "finding"), findings)
    faults = sum(finding.word == "FAULT" for finding in findings)
    print(f"\n{faults} faults" if faults != 1 else "\n1 fault")
    return 1 if faults else 0
