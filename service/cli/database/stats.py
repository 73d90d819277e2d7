"""`python -m service stats ...`: slow statements, sizes of tables, connections.

It knows how figures are shown; where they come from is service.ops.catalog's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from service.cli.connection import over_connection
from service.cli.table import in_bytes, print_table
from service.config import Config
from service.kernel import queries
from service.kernel.database import Connection
from service.ops import catalog
from service.ops.catalog import ConnectionCount

SHOWN = 20

Command = Callable[[argparse.Namespace, Config], int]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "figures of the database"
    parser = subparsers.add_parser("stats", help=text, description=text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str) -> None:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=command)

    add("slow", slow, "the slowest statements, on average")
    add("sizes", sizes, "the tables with their sizes and dead rows")
    add("connections", connections, "the connections by state")


def slow(_arguments: argparse.Namespace, config: Config) -> int:
    """By pg_stat_statements; where it is missing, what to do and which queries /metrics has the times of."""
    statements = over_connection(config, lambda conn: catalog.list_slow_statements(conn, page=SHOWN))
    if statements is None:
        print("pg_stat_statements is not installed here: add it to shared_preload_libraries, restart,")
        print("and run CREATE EXTENSION pg_stat_statements. Until then /metrics has the times of the named queries:")
        print("\n".join(f"  {name}" for name in sorted(queries.names())))
        return 0
    header = ("query", "calls", "mean ms", "max ms", "total ms", "rows")
    print_table(header, [(one.query, one.calls, one.mean_ms, one.max_ms, one.total_ms, one.rows) for one in statements])
    return 0


def sizes(_arguments: argparse.Namespace, config: Config) -> int:
    rows = [
        (
            one.relation,
            one.live_rows,
            one.dead_rows,
            in_bytes(one.table_bytes),
            in_bytes(one.index_bytes),
            one.vacuumed_at,
        )
        for one in over_connection(config, catalog.list_table_sizes)
    ]
    print_table(("table", "rows", "dead rows", "data", "indexes", "vacuumed"), rows)
    return 0


def connections(_arguments: argparse.Namespace, config: Config) -> int:
    async def look(conn: Connection) -> tuple[list[ConnectionCount], int]:
        return await catalog.count_connections(conn), (await catalog.describe_server(conn)).connections_for_all

    counts, maximum = over_connection(config, look)
    print_table(("state", "connections", "longest s"), [(one.state, one.connections, one.longest_s) for one in counts])
    print(f"{sum(one.connections for one in counts)} of {maximum}")
    return 0
