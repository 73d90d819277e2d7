"""The migration files: their names, their order, their checksums.

It knows the folder and yoyo's reading of it; it knows no database.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from yoyo import read_migrations

from service.errors import Invalid

FOLDER = Path(__file__).resolve().parents[3] / "migrations"

_NAME = re.compile(r"\d{4}_[a-z][a-z0-9_]*")
_WHAT = re.compile(r"[a-z][a-z0-9_]*")
# At the beginning of a line: what stands further in, stands in a string or under a condition.
_INDEX = re.compile(
    r"^(?:CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?(?P<made>\w+) ON (?:ONLY )?(?P<table>\w+)"
    r"|DROP INDEX (?:CONCURRENTLY )?(?:IF EXISTS )?(?P<dropped>\w+))",
    re.MULTILINE,
)


def read(folder: Path) -> list[Any]:
    """yoyo's migrations of a folder, in the order of their numbers. Raises Invalid on any other name."""
    migrations = sorted(read_migrations(str(folder)), key=lambda migration: str(migration.id))
    for migration in migrations:
        if not _NAME.fullmatch(migration.id):
            raise Invalid(f"{migration.id} is not a migration's name: it must look like 0001_what")
    return migrations


def checksum(migration: Any) -> str:
    """The SHA-256 of a migration's file. Line ends do not count: Git may have changed them."""
    text = Path(migration.path).read_bytes().replace(b"\r\n", b"\n")
    return f"sha256:{hashlib.sha256(text).hexdigest()}"


def is_transactional(migration: Any) -> bool:
    """False for a file that says `-- transactional: false`."""
    migration.load()
    return bool(migration.use_transactions)


def rollback_path(migration: Any) -> Path:
    return Path(migration.path).with_suffix(".rollback.sql")


def indexes(folder: Path = FOLDER) -> dict[str, str]:
    """The indexes that all migrations together leave in any database, by name, each with its table."""
    made: dict[str, str] = {}
    for migration in read(folder):
        for match in _INDEX.finditer(Path(migration.path).read_text(encoding="utf-8")):
            if match["made"]:
                made[match["made"]] = match["table"]
            else:
                made.pop(match["dropped"], None)
    return made


def new(what: str, folder: Path = FOLDER) -> tuple[Path, Path]:
    """Make the two empty files of the next migration and return their paths. Raises Invalid on a bad name."""
    if not _WHAT.fullmatch(what):
        raise Invalid("a migration is named in small letters, digits and underscores, and begins with a letter")
    last = max((int(path.name[:4]) for path in folder.glob("[0-9]*.sql")), default=0)
    name = f"{last + 1:04}_{what}"
    apply, rollback = folder / f"{name}.sql", folder / f"{name}.rollback.sql"
    apply.write_text("-- What it adds, and why.\n", encoding="utf-8")
    rollback.write_text(f"-- Undoes {name}.\n", encoding="utf-8")
    return apply, rollback
