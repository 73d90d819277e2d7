"""`python -m service backup ...` and `restore`: what is typed, and what is told of it.

It knows words and terminals; what they do is service.backup's.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from service.backup import encryption, restoring, taking, target, verifying
from service.backup.contents import describe_origin
from service.backup.postgres import programs
from service.backup.schedule import access
from service.backup.seal import CHUNK, Damaged, Reader, Sealed
from service.backup.taking import Order, Taken
from service.backup.target import names
from service.cli.connection import addressed, over_connection
from service.cli.table import in_bytes, show_progress
from service.config import Config
from service.errors import Invalid
from service.kernel import migrate
from service.kernel.clock import Clock
from service.kernel.database import Connection

STDOUT = "-"


class Intermixed(argparse.ArgumentParser):
    """Options may stand between the words: `backup prune --daily 30 FOLDER`."""

    _within = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self._within:
            return super().parse_known_args(args, namespace)
        self._within = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._within = False


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "back the database up; verify a backup; thin backups out"
    usage = "%(prog)s [options] FILE | FOLDER | s3://bucket/folder/ | -\n"
    usage += "       %(prog)s verify FILE\n       %(prog)s prune FOLDER"
    subparsers.add_parser("backup", help=text)
    added: argparse.ArgumentParser = Intermixed(prog="python -m service backup", description=text, usage=usage)
    subparsers.choices["backup"] = added
    added.add_argument("words", nargs="+", metavar="[verify|prune] FILE", help="where to or from; - is stdout")
    added.add_argument("--critical", action="store_true", help="only people and their money, with the whole schema")
    added.add_argument("--plain", action="store_true", help="as a script of SQL")
    added.add_argument("--encrypt", action="store_true", help="for BACKUP_RECIPIENTS")
    _add_identity(added)
    added.add_argument("--daily", type=int, default=30, metavar="N", help="prune: keep the newest of N days (30)")
    added.add_argument("--monthly", type=int, default=12, metavar="N", help="prune: and of N months before (12)")
    added.add_argument("--dry-run", action="store_true", help="prune: only tell what would go")
    added.set_defaults(run=backup)
    text = "bring a backup back, into an empty database"
    added = subparsers.add_parser("restore", help=text, description=text)
    added.add_argument("file", metavar="FILE", help="a file, or s3://bucket/folder/name")
    _add_identity(added)
    added.set_defaults(run=restore)


def backup(arguments: argparse.Namespace, config: Config) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it ends its servers and halves, too
    match arguments.words:
        case ["verify", where]:
            return verify(where, arguments, config)
        case ["prune", where]:
            return prune(where, arguments, config)
        case [where] if where not in ("verify", "prune"):
            return take(where, arguments, config)
        case words:
            raise Invalid(f"say one place: backup {words[0] if words[0] in ('verify', 'prune') else ''} FILE")


def take(where: str, arguments: argparse.Namespace, config: Config) -> int:
    """Raises Invalid, Unavailable, ProgramFailed; what is half written is taken away."""
    recipients = config.backup_recipients if arguments.encrypt else ()
    if arguments.encrypt:
        encryption.recipients(recipients)
    order = Order(
        Clock().now(), "critical" if arguments.critical else "all", arguments.plain, recipients, tell=_progress
    )
    if where == STDOUT:
        _tell(_take(config, order, _to_stdout), "stdout", to=sys.stderr)
        return 0
    into = target.place(where, access(config))
    name = into.name or order.name
    taken = _take(config, order, lambda _, reader: into.target.store(name, reader))
    _tell(taken, into.target.where(name), to=sys.stdout)
    return 0


def verify(where: str, arguments: argparse.Namespace, config: Config) -> int:
    """Raises Damaged where it is not what was there."""
    source = target.place(where, access(config))
    with _fetched(where, arguments, config) as sealed:
        verifying.verify(sealed, show_progress)
        show_progress("")
    if source.name and names.dated(source.name):
        target.mark_verified(source.target, source.name)
    manifest = sealed.manifest
    print(f"{where} is whole: {len(manifest.tables)} tables, {manifest.rows:,} rows of {manifest.taken_at:%F %T} UTC")
    return 0


def prune(where: str, arguments: argparse.Namespace, config: Config) -> int:
    if arguments.daily < 1 or arguments.monthly < 0:
        raise Invalid("--daily must be at least 1, --monthly at least 0")
    into = target.place(where, access(config))
    if into.name is not None:
        raise Invalid(f"{where} is no folder; one in a bucket ends with a slash")
    gone = target.prune(into.target, daily=arguments.daily, monthly=arguments.monthly, dry_run=arguments.dry_run)
    for name in gone:
        print(f"{'would delete' if arguments.dry_run else 'deleted'} {name}")
    print(f"{len(gone)} {'would go' if arguments.dry_run else 'gone'}")
    return 0


def restore(arguments: argparse.Namespace, config: Config) -> int:
    """Raises Conflict where the database has something in it, Damaged before and ProgramFailed without any change."""
    with addressed(config) as ready:
        dsn = ready.database.dsn or ""
        major = over_connection(ready, _emptiness)
        with _fetched(arguments.file, arguments, config) as sealed:
            show_progress("restoring")
            found = programs.find("pg_restore", "psql", major=restoring.program_major(sealed.manifest, major))
            restoring.pour(sealed, dsn, found)
            show_progress("comparing")
            lines = asyncio.run(_settled(dsn, sealed))
            show_progress("")
        if lines:
            raise Damaged(f"it was restored, and is not what was there: {lines[0]}")
        pending = migrate.pending(dsn)
    print(f"restored {sealed.manifest.rows:,} rows of {sealed.manifest.taken_at:%F %T} UTC, and compared them")
    if pending:
        print("it is older than this release: run python -m service migrate up")
    return 0


def _add_identity(parser: argparse.ArgumentParser) -> None:
    text = "the secret key of an encrypted one; else BACKUP_IDENTITY"
    parser.add_argument("--identity", type=Path, metavar="FILE", help=text)


def _take(config: Config, order: Order, store: taking.Store) -> Taken:
    async def taken(dsn: str) -> Taken:
        async with restoring.connected(dsn) as database:
            return await taking.take(database, order, store)

    with addressed(config) as ready:
        done = asyncio.run(taken(ready.database.dsn or ""))
    show_progress("")
    return done


async def _emptiness(conn: Connection) -> int:
    """The version of an empty server. Raises Conflict."""
    await restoring.require_empty(conn)
    origin = await describe_origin(conn)
    assert origin is not None, "a SELECT without FROM has a row"
    return origin.major


async def _settled(dsn: str, sealed: Sealed) -> list[str]:
    async with restoring.connected(dsn) as database:
        return await restoring.settled(database, sealed.manifest)


@contextmanager
def _fetched(where: str, arguments: argparse.Namespace, config: Config) -> Iterator[Sealed]:
    source = target.place(where, access(config))
    if source.name is None:
        raise Invalid(f"{where} is a folder: say which of the backups in it")
    show_progress("reading")
    identity = arguments.identity or config.backup_identity
    with source.target.fetched(source.name) as path, restoring.opened(path, identity) as sealed:
        yield sealed


def _to_stdout(_: str, reader: Reader) -> None:
    if sys.stdout.isatty():
        raise Invalid("a backup is nothing for a terminal: send it somewhere, as in `backup - > FILE`")
    shutil.copyfileobj(reader, sys.stdout.buffer, CHUNK)


def _tell(taken: Taken, where: str, *, to: TextIO) -> None:
    size = in_bytes(taken.size)
    print(f"backed up {len(taken.manifest.tables)} tables, {taken.manifest.rows:,} rows, {size}, to {where}", file=to)


def _progress(size: int) -> None:
    if size % (8 * CHUNK) < CHUNK:
        show_progress(f"{in_bytes(size)} dumped")
