"""bootstrap.sql: all migrations as one script for an empty database, for people who have psql and no Python.

It knows how the migrations and yoyo's tables are written down; it opens no connection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service.kernel.migrate import files
from service.kernel.migrate.ledger import PREPARE, SQL

HEADER = r"""-- Ballast's whole schema, for an empty database:  psql "$DATABASE_URL" -f bootstrap.sql
-- On a database that has it, it makes what is missing, and changes nothing else.
-- Made from migrations/ by `python -m service migrate sql`; a test holds the two equal. The migrations are
-- marked as applied, so that `python -m service migrate up` goes on from here.

\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;

BEGIN;
"""


def bootstrap_sql(folder: Path = files.FOLDER) -> str:
    """The script, as committed."""
    tables = [statement(SQL[name].text) for name in PREPARE]
    parts = [HEADER, *tables, *(part(migration) for migration in files.read(folder)), "COMMIT;\n"]
    return "\n".join(parts)


def part(migration: Any) -> str:
    """One migration and its mark. One that cannot run in a transaction stands between two."""
    path = Path(migration.path)
    text = path.read_text(encoding="utf-8").strip()
    if not files.is_transactional(migration):
        text = f"COMMIT;\n\n{text}\n\nBEGIN;"
    return f"-- migrations/{path.name}\n\n{text}\n\n{mark(migration)}"


def mark(migration: Any) -> str:
    """The migrator's own statement, with its values written in: a name and a checksum need no quoting."""
    text = SQL["mark_applied"].text
    values = (migration.id, files.checksum(migration), "bootstrap.sql")
    for number, value in enumerate(values, start=1):
        text = text.replace(f"${number}", f"'{value}'")
    return statement(text)


def statement(text: str) -> str:
    """A query's text without the name that is put before it for the server's statistics."""
    return f"{text.partition('*/ ')[2]};\n"
