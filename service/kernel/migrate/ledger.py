"""What was applied to one database, and the doing of it.

It knows yoyo's tables and runs yoyo's steps on one connection; it knows nothing of who else wants to migrate.

yoyo's own run uses three transactions on two connections for one migration, and a kill between them leaves a
migration that was applied and not marked. Here the steps and the mark commit together; where a migration
cannot run in a transaction (CREATE INDEX CONCURRENTLY), it must be written so that twice does no harm.
The checksum of an applied file is kept in the comment column of yoyo's log, which yoyo itself leaves empty.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import default_migration_table

from service.errors import DatabaseAway, Invalid, ServiceError
from service.kernel import queries
from service.kernel.migrate import files

CONNECT_TIMEOUT_S = 10  # for each host of the address

SQL = queries.room("migrate").statements
PREPARE = ("create_applied", "create_log", "create_version", "create_lock", "set_version")

logging.getLogger("yoyo").setLevel(logging.ERROR)  # what it would tell, the progress callback tells


class MigrationFailed(ServiceError):
    """A migration failed."""

    code = "migration_failed"
    permanent = True


@dataclass(frozen=True, slots=True)
class Applied:
    """One migration that is applied now; the checksum is None where a bare yoyo applied it."""

    id: str
    at: datetime
    checksum: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history."""

    at: datetime
    operation: str
    id: str
    user: str
    host: str


class Ledger:
    """yoyo's tables in one database, over one connection."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def is_prepared(self) -> bool:
        return bool(self.value("is_prepared"))

    def prepare(self) -> None:
        """Create yoyo's tables where they are not there."""
        for name in PREPARE:
            self.run(name)

    def applied(self) -> list[Applied]:
        """Oldest first; nothing where no migration ever ran."""
        return [Applied(*row) for row in self.run("list_applied")] if self.is_prepared() else []

    def history(self) -> list[Entry]:
        return [Entry(*row) for row in self.run("list_log")] if self.is_prepared() else []

    def apply(self, migration: Any) -> None:
        """Run a migration and mark it, in one transaction where it allows one."""
        with self._transaction(migration):
            migration.process_steps(self._backend, "apply")
            self.run("mark_applied", migration.id, files.checksum(migration), socket.gethostname())

    def undo(self, migration: Any) -> None:
        """Run a migration's rollback and take its mark away."""
        with self._transaction(migration):
            migration.process_steps(self._backend, "rollback")
            self.run("mark_undone", migration.id, socket.gethostname())

    @contextmanager
    def yoyo_lock(self) -> Iterator[None]:
        """Hold yoyo's own lock too. A row that is there belongs to a run that was killed."""
        self._backend.break_lock()
        with self._backend.lock():
            yield

    def drop_invalid_indexes(self, migration: Any) -> None:
        """Drop what an earlier, failed try of this migration left behind."""
        words = re.findall(r"\w+", Path(migration.path).read_text(encoding="utf-8"))
        for (statement,) in self.run("drop_invalid_indexes", words):
            self._backend.execute(statement)

    def set_lock_timeout(self, seconds: float) -> None:
        """How long each statement from now on waits for a lock."""
        self.run("set_lock_timeout", str(round(seconds * 1000)))

    def value(self, name: str, *arguments: object) -> Any:
        return self.run(name, *arguments)[0][0]

    def run(self, name: str, *arguments: object) -> list[Any]:
        """Run one query of sql/migrate.sql and return its rows."""
        cursor = psycopg.RawCursor(self._backend.connection)
        cursor.execute(SQL[name].text.encode(), arguments)
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _transaction(self, migration: Any) -> Iterator[None]:
        with self._backend.transaction() if files.is_transactional(migration) else nullcontext():
            yield


@contextmanager
def connected(dsn: str) -> Iterator[Ledger]:
    """The ledger of a database, over one direct connection (not through a pooler in transaction mode).

    libpq reads the address itself, several hosts, sslmode and all.
    Raises DatabaseAway, Invalid, MigrationFailed.
    """
    with open_backend(dsn) as backend:
        try:
            yield Ledger(backend)
        except psycopg.Error as error:
            raise failure(error) from error


def open_backend(dsn: str) -> Any:
    """yoyo's backend, made without the round trips of its own entrance."""
    arguments = {
        "conninfo": dsn.replace("postgresql+asyncpg://", "postgresql://", 1),
        "connect_timeout": CONNECT_TIMEOUT_S,
        "fallback_application_name": "ballast-migrate",
        "prepare_threshold": None,
    }
    address = DatabaseURI("postgresql+psycopg", None, None, None, None, None, arguments)
    try:
        return PostgresqlPsycopgBackend(address, default_migration_table)
    except psycopg.OperationalError as error:
        raise DatabaseAway(f"the database is away: {first_line(error)}") from None
    except psycopg.ProgrammingError:
        # Its message may quote a piece of the password.
        raise Invalid("the database's address is not one that libpq understands") from None


def failure(error: psycopg.Error, name: str | None = None) -> ServiceError:
    """The same in our words: one line, with the migration's name where there is one."""
    line = f"{name}: {first_line(error)}" if name else first_line(error)
    lost = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    return DatabaseAway(line) if lost else MigrationFailed(line)


def first_line(error: psycopg.Error) -> str:
    """What the server said, on one line, with its hint."""
    primary, hint = error.diag.message_primary, error.diag.message_hint
    if primary:
        return f"{primary} ({hint})" if hint else primary
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
