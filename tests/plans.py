"""Named queries as PostgreSQL plans them: the generic plan, or the one for values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import psycopg
from psycopg import sql

from service.kernel.queries import Statement

Plan = dict[str, Any]
Mode = Literal["generic", "custom"]


def explained(connection: psycopg.Connection[Any], statement: Statement, *values: object, mode: Mode) -> Plan:
    """The plan's topmost node. Values stand in the order of the parameters; NULL where none is given.

    The driver's own parameters are no way in: they would be bound to EXPLAIN. So the values are literals.
    """
    padded = [*values, *[None] * (len(statement.parameters) - len(values))]
    call = sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, padded))) if padded else sql.SQL("")
    with connection.transaction(force_rollback=True):
        connection.execute(f"SET LOCAL plan_cache_mode = force_{mode}_plan".encode())
        connection.execute(f"PREPARE tested AS {statement.text}".encode())
        try:
            explain = sql.SQL("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE tested{}").format(call)
            return connection.execute(explain).fetchone()[0][0]["Plan"]
        finally:
            connection.execute("DEALLOCATE tested")


def nodes(plan: Plan) -> Iterator[Plan]:
    """Every node of a plan, from the top."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def kinds(plan: Plan) -> set[str]:
    return {node["Node Type"] for node in nodes(plan)}


def indexes(plan: Plan) -> set[str]:
    """The indexes that are used, those that arbitrate conflicts included."""
    used = {node["Index Name"] for node in nodes(plan) if "Index Name" in node}
    return used.union(*(node.get("Conflict Arbiter Indexes", ()) for node in nodes(plan)))


def read_whole(plan: Plan) -> set[str]:
    """The tables that are read from one end to the other."""
    return {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"}


def touched(plan: Plan) -> set[tuple[str, str]]:
    """(table, privilege) of everything outside the catalogs."""
    found = set()
    for node in nodes(plan):
        if "Relation Name" in node and node.get("Schema") not in ("pg_catalog", "information_schema"):
            found.add((node["Relation Name"], node["Operation"].upper() if "Operation" in node else "SELECT"))
    return found
