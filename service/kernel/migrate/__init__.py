"""Migrations: up, down, and the questions around them, wrapped around yoyo.

It knows how migrations are found, ordered, applied and remembered; it must not know what any of them does.
migrator changes a database, survey asks it, ledger is what it remembers, files is what this release has.
"""

from service.kernel.migrate.bootstrap import bootstrap_sql
from service.kernel.migrate.files import FOLDER, indexes, new
from service.kernel.migrate.ledger import Entry, MigrationFailed
from service.kernel.migrate.migrator import MigratorBusy, Pace, down, up
from service.kernel.migrate.survey import State, current, faults, history, pending, status

__all__ = [
    "FOLDER",
    "Entry",
    "MigrationFailed",
    "MigratorBusy",
    "Pace",
    "State",
    "bootstrap_sql",
    "current",
    "down",
    "faults",
    "history",
    "indexes",
    "new",
    "pending",
    "status",
    "up",
]
