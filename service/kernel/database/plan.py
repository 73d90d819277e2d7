"""How PostgreSQL runs a named query: EXPLAIN, with the query's own text and types.

It knows how a plan is asked for; it knows no query. EXPLAIN takes no parameter in place of a statement, so the
server is asked to write the statement itself, and its text never passes through quoting of ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from service.errors import Invalid
from service.kernel import queries
from service.kernel.database.connect import Connection
from service.kernel.queries import Statement

SQL = queries.room("kernel")


class PlanLine(msgspec.Struct, frozen=True):
    """A line as EXPLAIN prints it."""

    text: str


_prepare = SQL.composed("compose_prepare", PlanLine)
_explain = SQL.composed("compose_explain", PlanLine)
_explain_generic = SQL.composed("compose_generic_plan", PlanLine)
_force_generic_plan = SQL.value("force_generic_plan", str)
_forget = SQL.composed("compose_forget", PlanLine)


async def explain(conn: Connection, statement: Statement, values: Mapping[str, str | None]) -> list[str]:
    """The plan, line by line: measured on the values, or the generic one where a query is given none of its own.

    Values are text as PostgreSQL reads it for the parameter's type: `42`, `{1,2}`, `2026-01-01`, or None. With them the
    query is really run, and what it did is rolled back. Raises Invalid where a name or a value does not suit.
    """
    if values and values.keys() != set(statement.parameters):
        raise Invalid(f"{statement.full_name} takes {', '.join(statement.parameters) or 'no parameters'}")
    async with _prepared(conn, statement):
        if statement.parameters and not values:
            await _force_generic_plan(conn)
            lines = await _explain_generic(conn, parameters=len(statement.parameters))
        else:
            lines = await _measured(conn, statement, statement.arguments(values))
    return [line.text for line in lines or ()]


async def _measured(conn: Connection, statement: Statement, arguments: list[str | None]) -> list[PlanLine] | None:
    try:
        async with _rolled_back(conn):
            return await _explain(conn, arguments=arguments)
    except Invalid as error:
        raise Invalid(f"{statement.full_name}: {error.__context__ or error}") from None


@asynccontextmanager
async def _prepared(conn: Connection, statement: Statement) -> AsyncIterator[None]:
    """Within a transaction, so that a pooler keeps to one server; the statement itself would outlive it."""
    async with _rolled_back(conn):
        await _prepare(conn, query=statement.text)
        try:
            yield
        finally:
            await _forget(conn)


@asynccontextmanager
async def _rolled_back(conn: Connection) -> AsyncIterator[None]:
    transaction = conn.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()
