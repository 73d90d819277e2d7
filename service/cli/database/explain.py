"""`python -m service explain QUERY`: how PostgreSQL runs one of the named queries.

It knows names and values as a person types them; the plan is service.kernel.database.plan's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from difflib import get_close_matches

from service.cli.connection import over_connection
from service.config import Config
from service.errors import Invalid
from service.kernel import queries
from service.kernel.database.plan import explain


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "the plan of a named query; what it would change is rolled back"
    parser = subparsers.add_parser("explain", help=text, description=text)
    parser.add_argument("query", metavar="QUERY", help="by its name: users.get_users")
    parser.add_argument(
        *("--param", "-p"),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter as PostgreSQL reads it, user_ids={1,2}, or its name alone for NULL; without any, the "
        "plan is the generic one",
    )
    parser.set_defaults(run=show_plan)


def show_plan(arguments: argparse.Namespace, config: Config) -> int:
    statement, values = _named(arguments.query), _values(arguments.param)
    print("\n".join(over_connection(config, lambda conn: explain(conn, statement, values))))
    return 0


def _named(name: str) -> queries.Statement:
    """Raises Invalid, with what may have been meant."""
    statements = queries.names()
    if name in statements:
        return statements[name]
    meant = ", ".join(get_close_matches(name, statements, cutoff=0.4)) or ", ".join(sorted(statements))
    raise Invalid(f"there is no query {name}; there is {meant}")


def _values(pairs: Iterable[str]) -> dict[str, str | None]:
    """NAME=VALUE, and NAME alone for NULL."""
    split = (pair.partition("=") for pair in pairs)
    return {name: value if equals else None for name, equals, value in split}
