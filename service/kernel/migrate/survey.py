"""Asks a database how far it is migrated. It must not change anything: a start in production asks too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from service.kernel.migrate import files
from service.kernel.migrate.ledger import Applied, Entry, connected

Word = Literal["applied", "edited", "pending", "gone"]


@dataclass(frozen=True, slots=True)
class State:
    """One migration. `edited`: its file changed since; `gone`: applied, and no file of this release."""

    id: str
    state: Word
    applied_at: datetime | None


def status(dsn: str, *, folder: Path = files.FOLDER) -> list[State]:
    """Every migration of this release and of the database, by number. Raises DatabaseAway."""
    with connected(dsn) as ledger:
        applied = {row.id: row for row in ledger.applied()}
    known = {migration.id: migration for migration in files.read(folder)}
    return [
        State(name, word(known.get(name), applied.get(name)), applied[name].at if name in applied else None)
        for name in sorted(known.keys() | applied.keys())
    ]


def word(migration: Any | None, applied: Applied | None) -> Word:
    if applied is None:
        return "pending"
    if migration is None:
        return "gone"
    return "applied" if applied.checksum in (None, files.checksum(migration)) else "edited"


def faults(dsn: str, *, folder: Path = files.FOLDER) -> list[State]:
    """What `check` complains about. One of a newer release (`gone`) is no fault: we were rolled back."""
    return [one for one in status(dsn, folder=folder) if one.state in ("pending", "edited")]


def pending(dsn: str, *, folder: Path = files.FOLDER) -> list[str]:
    """The ids that `up` would apply, in order."""
    return [one.id for one in status(dsn, folder=folder) if one.state == "pending"]


def current(dsn: str) -> str | None:
    """The migration that was applied last."""
    with connected(dsn) as ledger:
        return next((row.id for row in reversed(ledger.applied())), None)


def history(dsn: str) -> list[Entry]:
    """All that was ever applied and undone, oldest first."""
    with connected(dsn) as ledger:
        return ledger.history()
