"""`python -m service users ...`: who is there, how many, and all that is held about one.

It knows the users room and the catalog's way to a person's rows; what erasing means, features declare.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from service.cli.connection import over_connection
from service.cli.migrate import tell
from service.cli.table import print_table
from service.config import Config
from service.errors import Invalid, NotFound
from service.features import FEATURES
from service.kernel.clock import Clock
from service.kernel.database import Connection
from service.ops import catalog, paging
from service.ops.erasure import erasure
from service.ops.erasure.erasure import Erased
from service.ops.writing import journal
from service.ops.writing.journal import Deed
from service.users import repo
from service.users.user import User

HOURS_MAX = 24 * 366 * 10
COLUMNS = ("user_id", "username", "name", "language", "active", "created")

Command = Callable[[argparse.Namespace, Config], int]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "list, count, export and erase people"
    parser = subparsers.add_parser("users", help=text, description=text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=command)
        return added

    _add_filters(add("list", list_users, "the newest first"))
    _add_activity(add("count", count, "how many there are"))
    recent = add("recent", list_recent, "those who came lately")
    recent.add_argument("--hours", type=float, default=24, metavar="N", help="how far back (24)")
    _add_limit(recent)
    add("export", export, "all that the database holds about one person, as JSON").add_argument("id", type=int)
    erased = add("erase", erase, "all that is held about one person, but for his money, which stays as nobody's")
    erased.add_argument("id", type=int)
    erased.add_argument("--yes", action="store_true", help="do not ask")


def _add_filters(parser: argparse.ArgumentParser) -> None:
    _add_activity(parser)
    _add_limit(parser)
    parser.add_argument("--after", metavar="CURSOR", help="go on where another page ended")


def _add_limit(parser: argparse.ArgumentParser) -> None:
    text = f"how many at most ({paging.LIMIT})"
    parser.add_argument("--limit", default=str(paging.LIMIT), metavar="N", help=text)


def _add_activity(parser: argparse.ArgumentParser) -> None:
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--active", action="store_const", const=True, help="whom the bot can write to")
    either.add_argument("--inactive", action="store_const", const=False, dest="active", help="the others")


def list_users(arguments: argparse.Namespace, config: Config) -> int:
    size = paging.limit({"limit": arguments.limit})
    after = paging.position(arguments.after, paging.BY_TIME) if arguments.after else repo.NEWEST
    users = over_connection(
        config, lambda conn: repo.list_users(conn, active=arguments.active, after=after, page=size + 1)
    )
    _print(users[:size])
    if len(users) > size:
        tell(f"more: --after {paging.cursor((users[size - 1].created_at, users[size - 1].user_id))}")
    return 0


def count(arguments: argparse.Namespace, config: Config) -> int:
    print(over_connection(config, lambda conn: repo.count_users(conn, is_active=arguments.active)))
    return 0


def list_recent(arguments: argparse.Namespace, config: Config) -> int:
    if not 0 < arguments.hours <= HOURS_MAX:
        raise Invalid(f"--hours must be more than 0 and at most {HOURS_MAX}")
    size, since = paging.limit({"limit": arguments.limit}), Clock().now() - timedelta(hours=arguments.hours)
    _print(over_connection(config, lambda conn: repo.list_recent_users(conn, since=since, page=size)))
    return 0


def export(arguments: argparse.Namespace, config: Config) -> int:
    """Every table that refers to users or has a user_id. Raises NotFound when none has a row."""
    exported = over_connection(config, lambda conn: catalog.export_person(conn, user_id=arguments.id)) or []
    tables = {one.relation: json.loads(one.rows, parse_float=Decimal) for one in exported}
    if not any(tables.values()):
        raise NotFound("There is no such user.")
    told = {"user_id": arguments.id, "exported_at": f"{Clock().now():%Y-%m-%dT%H:%M:%SZ}", "tables": tables}
    print(json.dumps(told, ensure_ascii=False, indent=2, default=_exact))
    return 0


def erase(arguments: argparse.Namespace, config: Config) -> int:
    """Asks first. Raises NotFound, Conflict where money of his is under way, Invalid where nobody says yes."""
    if not arguments.yes and input(f"Erase user {arguments.id} for good? Type his id: ") != str(arguments.id):
        raise Invalid("Nobody was erased.")
    grave, now = erasure.tombstone(arguments.id, config.telegram_bot_token), Clock().now()

    async def work(conn: Connection) -> Erased:
        async with conn.transaction():
            erased = await erasure.erase(conn, FEATURES, user_id=arguments.id, grave=grave, now=now)
            deed = Deed("command line", "erase", f"user:{erased.stand_in}", {"rows": erased.rows})
            await journal.note(conn, deed, now)
            return erased

    erased = over_connection(config, work)
    if not erased.rows:
        tell(f"erased already, at {erased.erased_before:%Y-%m-%dT%H:%M:%SZ}")
    print_table(("table", "rows"), sorted(erased.rows.items()))
    return 0


def _exact(value: Any) -> str:
    """Money stays as it is written in the table."""
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)


def _print(users: Sequence[User]) -> None:
    rows = [
        (user.user_id, user.username, user.full_name or None, user.speaks, user.is_active, user.created_at)
        for user in users
    ]
    print_table(COLUMNS, rows)
