"""`python -m service db ...`: make the database, or begin again with an empty one.

It knows the order of things; each is done by the room that does it elsewhere.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from service.cli import seed
from service.cli.connection import addressed, over_connection
from service.cli.migrate import tell
from service.config import Config
from service.errors import Invalid
from service.kernel import migrate
from service.kernel.database import creation


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "make the database, or begin again"
    parser = subparsers.add_parser("db", help=text, description=text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = "create the database that DATABASE_URL names, empty"
    commands.add_parser("create", help=text, description=text).set_defaults(run=create)
    text = "drop it, create it, migrate it and put the test user in; never in production"
    again = commands.add_parser("reset", help=text, description=text)
    again.add_argument("--yes", action="store_true", help="mean it: everything in the database is lost")
    again.set_defaults(run=reset)


def create(_arguments: argparse.Namespace, config: Config) -> int:
    with addressed(config) as config:
        made = _create(config)
    print("created" if made else "it is there already")
    return 0


def reset(arguments: argparse.Namespace, config: Config) -> int:
    """Raises Invalid in production, and where nobody said --yes."""
    if not config.development:
        raise Invalid("this is production: its database is not reset")
    if not arguments.yes:
        raise Invalid("this loses everything in the database: add --yes")
    with addressed(config) as config:
        _drop(config)
        _create(config)
        migrate.up(config.database.dsn or "", progress=tell)
        return seed.seed(argparse.Namespace(demo=False), config)


def _create(config: Config) -> bool:
    """Whether it had to be made."""
    settings, name = creation.beside(config.database)
    beside = replace(config, database=settings)
    return over_connection(beside, lambda conn: creation.create(conn, name=name)) is not None


def _drop(config: Config) -> None:
    settings, name = creation.beside(config.database)
    over_connection(replace(config, database=settings), lambda conn: creation.drop(conn, name=name))
