"""Applies and undoes migrations, as the one migrator among many.

It knows how to wait: for its turn, and for locks without stopping the service. It must not know what a
migration does.

The one migrator holds an advisory lock on the connection that it migrates over, so that losing the one is
losing the other. The rest ask for it once a second and never wait inside pg_advisory_lock: a session that
waits there holds a snapshot, and a CREATE INDEX CONCURRENTLY of the migrator would wait for it for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from service.errors import Invalid, Unavailable
from service.kernel.migrate import files
from service.kernel.migrate.ledger import Ledger, connected, failure

LOCK_KEY = 0x62616C6C617374  # "ballast", for the advisory lock: the same in every release

Progress = Callable[[str], None]


class MigratorBusy(Unavailable):
    """Another process is migrating."""

    code = "migrator_busy"


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient a migrator is; all in seconds but `tries`."""

    turn_s: float = 300  # to become the one migrator
    poll_s: float = 1
    lock_s: float = 2  # everybody who wants the table queues behind a waiting ALTER
    concurrent_lock_s: float = 600  # CREATE INDEX CONCURRENTLY waits for old transactions, and stops nobody
    tries: int = 10
    pause_s: float = 1  # after the first lost try; doubled after each further one
    longest_pause_s: float = 15


PATIENT = Pace()


def silent(_line: str) -> None:
    """The progress callback of a caller who does not look."""


def up(dsn: str, *, folder: Path = files.FOLDER, progress: Progress = silent, pace: Pace = PATIENT) -> list[str]:
    """Apply what is pending and return the ids that this call applied.

    Any number of processes may call it at once: one applies, the others wait for their turn and find nothing
    left. Raises MigrationFailed, MigratorBusy, DatabaseAway.
    """
    with connected(dsn) as ledger:
        if not to_apply(ledger, folder):
            return []
        with only_migrator(ledger, progress, pace):
            migrations = to_apply(ledger, folder)
            for migration in migrations:
                patiently(ledger, migration, apply, progress, pace)
        return [migration.id for migration in migrations]


def down(
    dsn: str,
    count: int,
    *,
    confirmed: bool,
    folder: Path = files.FOLDER,
    progress: Progress = silent,
    pace: Pace = PATIENT,
) -> list[str]:
    """Undo the last `count` migrations, the newest first, and return their ids.

    More than one takes `confirmed`; whether one does (in production) is for the caller, who knows where.
    Raises Invalid, MigrationFailed, MigratorBusy, DatabaseAway.
    """
    if count < 1:
        raise Invalid("the number of migrations to undo must be 1 or more")
    if count > 1 and not confirmed:
        raise Invalid("undoing more than one migration needs a confirmation")
    with connected(dsn) as ledger, only_migrator(ledger, progress, pace):
        migrations = to_undo(ledger, folder, count)
        for migration in migrations:
            patiently(ledger, migration, undo, progress, pace)
        return [migration.id for migration in migrations]


def to_apply(ledger: Ledger, folder: Path) -> list[Any]:
    applied = {row.id for row in ledger.applied()}
    return [migration for migration in files.read(folder) if migration.id not in applied]


def to_undo(ledger: Ledger, folder: Path, count: int) -> list[Any]:
    """The newest applied ones. Raises Invalid for one that this release cannot undo."""
    known = {migration.id: migration for migration in files.read(folder)}
    newest = [row.id for row in reversed(ledger.applied())][:count]
    for name in newest:
        if name not in known or not files.rollback_path(known[name]).exists():
            raise Invalid(f"{name} has no rollback file in this release")
    return [known[name] for name in newest]


@contextmanager
def only_migrator(ledger: Ledger, progress: Progress, pace: Pace) -> Iterator[None]:
    """Become the one migrator, while the connection lives. Raises MigratorBusy when its turn never comes."""
    deadline = time.monotonic() + pace.turn_s
    waiting = False
    while not ledger.value("try_lock", LOCK_KEY):
        if time.monotonic() > deadline:
            raise MigratorBusy
        if not waiting:
            progress("another process is migrating; waiting")
        waiting = True
        time.sleep(pace.poll_s)
    ledger.run("watch_client")
    ledger.prepare()
    with ledger.yoyo_lock():
        yield


def patiently(
    ledger: Ledger, migration: Any, step: Callable[[Ledger, Any], str], progress: Progress, pace: Pace
) -> None:
    """Take one step; a lock that is not granted in time is let go, so that others pass, and tried again."""
    started = time.monotonic()
    ledger.set_lock_timeout(pace.lock_s if files.is_transactional(migration) else pace.concurrent_lock_s)
    for pause_s in [*pauses(pace), None]:
        try:
            done = step(ledger, migration)
            break
        except psycopg.errors.LockNotAvailable as error:
            if pause_s is None:
                raise failure(error, migration.id) from error
            progress(f"{migration.id}: somebody holds a lock; trying again in {pause_s:g} s")
            time.sleep(pause_s)
        except psycopg.Error as error:
            raise failure(error, migration.id) from error
    progress(f"{migration.id}: {done} in {time.monotonic() - started:.2f} s")


def apply(ledger: Ledger, migration: Any) -> str:
    if not files.is_transactional(migration):
        ledger.drop_invalid_indexes(migration)
    ledger.apply(migration)
    return "applied"


def undo(ledger: Ledger, migration: Any) -> str:
    ledger.undo(migration)
    return "undone"


def pauses(pace: Pace) -> list[float]:
    return [min(pace.pause_s * 2**attempt, pace.longest_pause_s) for attempt in range(pace.tries - 1)]
