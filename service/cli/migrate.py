"""`python -m service migrate ...`: how far the database is, and bringing it further or back.

It knows the words of the command line; what they do is service.kernel.migrate's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import datetime

from service.cli.connection import address
from service.config import Config
from service.errors import Invalid
from service.kernel import migrate

Command = Callable[[argparse.Namespace, Config], int]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `migrate` to the command line. Each command is left in `run`: (arguments, config) -> exit code."""
    parser = subparsers.add_parser("migrate", help="bring the database's schema up to this release")
    commands = parser.add_subparsers(dest="migrate", required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=command)
        return added

    add("up", up, "apply what is pending")
    undo = add("down", down, "undo the last N migrations")
    undo.add_argument("count", type=int, metavar="N")
    undo.add_argument("--yes", action="store_true", help="mean it: in production, or for more than one")
    add("status", status, "list all migrations and their states")
    add("check", check, "exit 1 when one is pending or was edited after it was applied")
    add("current", current, "print the migration that was applied last")
    add("history", history, "list all that was ever applied and undone")
    add("new", new, "make the files of the next migration").add_argument("name", metavar="NAME")
    add("sql", sql, "print bootstrap.sql, the whole schema as one script")


def up(_arguments: argparse.Namespace, config: Config) -> int:
    with address(config) as dsn:
        done = migrate.up(dsn, progress=tell)
    print(f"applied {', '.join(done)}" if done else "nothing to apply")
    return 0


def down(arguments: argparse.Namespace, config: Config) -> int:
    if not arguments.yes and (arguments.count > 1 or not config.development):
        raise Invalid("add --yes to undo more than one migration, or any in production")
    with address(config) as dsn:
        done = migrate.down(dsn, arguments.count, confirmed=arguments.yes, progress=tell)
    print(f"undone {', '.join(done)}" if done else "nothing to undo")
    return 0


def status(_arguments: argparse.Namespace, config: Config) -> int:
    with address(config) as dsn:
        for one in migrate.status(dsn):
            print(f"{one.state:<8} {stamp(one.applied_at):<20} {one.id}")
    return 0


def check(_arguments: argparse.Namespace, config: Config) -> int:
    with address(config) as dsn:
        faults = migrate.faults(dsn)
    for one in faults:
        print(f"{one.state:<8} {one.id}")
    return 1 if faults else 0


def current(_arguments: argparse.Namespace, config: Config) -> int:
    with address(config) as dsn:
        print(migrate.current(dsn) or "none")
    return 0


def history(_arguments: argparse.Namespace, config: Config) -> int:
    with address(config) as dsn:
        for entry in migrate.history(dsn):
            print(f"{stamp(entry.at)} {entry.operation:<8} {entry.id}  by {entry.user} from {entry.host}")
    return 0


def new(arguments: argparse.Namespace, _config: Config) -> int:
    for path in migrate.new(arguments.name):
        print(path)
    return 0


def sql(_arguments: argparse.Namespace, _config: Config) -> int:
    sys.stdout.write(migrate.bootstrap_sql())
    return 0


def tell(line: str) -> None:
    """Progress is for the person who waits, results are for the pipe."""
    print(line, file=sys.stderr)


def stamp(at: datetime | None) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else "-"
