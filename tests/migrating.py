"""What the tests of migrations share: a look into a database, a folder to add to, psql, waiting."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from service.kernel import embedded

ROOT = Path(__file__).resolve().parents[1]
EVERYTHING = sorted(path.stem for path in (ROOT / "migrations").glob("*.sql") if path.suffixes == [".sql"])
CONCURRENT_INDEX = """-- transactional: false
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_extra_idx ON users (last_name);
"""


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    """Run one statement, committed; what it returned, if it returned anything."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def add(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.sql").write_text(text)


def with_parameter(dsn: str, parameter: str) -> str:
    return f"{dsn}{'&' if '?' in dsn else '?'}{parameter}"


def run_psql(dsn: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    psql = embedded.find_programs().directory / "psql"
    return subprocess.run([psql, dsn, *arguments], capture_output=True, text=True, check=False)


def wait_until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    """Ask every 10 ms. Raises AssertionError at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {timeout_s} s"
        time.sleep(0.01)
