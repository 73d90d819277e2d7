"""The suite's PostgreSQL: a server shared by all workers of a run, its databases, and servers to be broken.

It knows servers and databases; what is in them comes from the migrations.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from filelock import FileLock

from service.kernel import embedded, migrate

RUN_PREFIX = "ballast-run-"
ALIVE = "alive"  # locked by the process that the run belongs to
MEMORY = Path("/dev/shm")  # where it is roomy, a clone of the template takes 10 ms and not 60 to 240
PASSABLE = 0o711  # for the unprivileged user that root's server runs as
ROOMY_BYTES = 2 << 30  # containers often have 64 MB there
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",  # a worker of it inside the template would hold up a clone
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_wal_size": "128MB",  # it may live in memory
}


class Cluster:
    """A private server to be mistreated, on a TCP port of 127.0.0.1 and on a socket."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.programs = embedded.find_programs()
        self.directory = directory
        self.data = directory / "data"
        self.port = free_port()
        self.settings = SETTINGS | {"listen_addresses": "127.0.0.1", "port": str(self.port)} | settings

    def create(self) -> Cluster:
        """initdb and start."""
        embedded.initialise(self.programs, self.data, "--no-sync")
        self.start()
        return self

    def dsn(self, database: str = "postgres") -> str:
        """The address over TCP."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def socket_dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.data}&port={self.port}"

    def start(self) -> None:
        """Start and wait until it accepts connections, crash recovery included."""
        settings = "".join(f" -c {name}={value}" for name, value in self.settings.items())
        log = self.data / "server.log"
        self.programs.run("pg_ctl", "start", "-D", self.data, "-l", log, "-w", "-o", f"-k {self.data}{settings}")

    def stop(self, *, immediate: bool = False) -> None:
        """Stop: by default with everybody sent away politely, or at once, as in a crash."""
        mode = "immediate" if immediate else "fast"
        self.programs.run("pg_ctl", "stop", "-D", self.data, "-m", mode, "-w")

    def restart(self, *, immediate: bool = False) -> None:
        self.stop(immediate=immediate)
        self.start()

    def freeze(self) -> None:
        """SIGSTOP to the server and all its children: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def is_running(self) -> bool:
        return self.programs.attempt("pg_ctl", "status", "-D", self.data).returncode == 0

    def destroy(self) -> None:
        """End it in whatever state a test left it."""
        self.thaw()
        if self.is_running():
            self.stop(immediate=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        """The postmaster first, so that it makes no new child meanwhile."""
        if postmaster := self._postmaster():
            for pid in (postmaster, *children_of(postmaster)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _postmaster(self) -> int | None:
        lines = embedded.lines_of(self.data / "postmaster.pid")
        return int(lines[0]) if lines else None


class Server:
    """The server on which a run's databases live: TEST_DATABASE_URL's, or a cluster of our own."""

    def __init__(self, dsn: str, run: str) -> None:
        self.admin_dsn = dsn
        self.run = run
        self._names = (f"ballast_{run}_{os.getpid()}_{number}" for number in itertools.count(1))

    @property
    def template(self) -> str:
        return f"ballast_{self.run}_template"

    def dsn(self, database: str) -> str:
        return urlsplit(self.admin_dsn)._replace(path=f"/{database}").geturl()

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The address of a new database; dropped afterwards, whoever is connected."""
        name = next(self._names)
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.dsn(name)
        finally:
            self.drop(name)

    def migrated(self) -> contextlib.AbstractContextManager[str]:
        """A new database with all migrations applied."""
        return self.database(self.template)

    def make_template(self) -> None:
        self.execute(f'CREATE DATABASE "{self.template}"')
        migrate.up(self.dsn(self.template))

    def drop(self, name: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute(statement.encode())


class Run:
    """One run of the suite: a directory that its workers share; the first to ask starts the server in it."""

    def __init__(self, directory: Path, test_database_url: str | None) -> None:
        self.directory = directory
        self.url = test_database_url
        self.id = directory.name.removeprefix(RUN_PREFIX)
        self._numbers = itertools.count(1)

    def server(self) -> Server:
        """The run's server, with its template database. Whoever asks first makes both; the others wait."""
        with FileLock(self.directory / "lock"):
            made = self.directory / "dsn"
            if not made.exists():
                server = Server(self.url or self._cluster("shared").create().socket_dsn(), self.id)
                server.make_template()
                made.write_text(server.admin_dsn)
            return Server(made.read_text(), self.id)

    def end(self) -> None:
        """Take away all that the run made."""
        if self.url and (self.directory / "dsn").exists():
            server = Server(self.url, self.id)
            server.drop(server.template)
        for data in self.directory.glob("*/data"):
            Cluster(data.parent).destroy()
        shutil.rmtree(self.directory)

    @contextlib.contextmanager
    def private_cluster(self, **settings: str) -> Iterator[Cluster]:
        """A server for one test alone, destroyed afterwards."""
        cluster = self._cluster(f"own-{os.getpid()}-{next(self._numbers)}", **settings)
        try:
            yield cluster.create()
        finally:
            cluster.destroy()

    def _cluster(self, name: str, **settings: str) -> Cluster:
        directory = self.directory / name
        directory.mkdir()
        directory.chmod(PASSABLE)
        return Cluster(directory, **settings)


def new_run(test_database_url: str | None) -> tuple[Run, int]:
    """A new run in a short path, and the lock that lives as long as we do."""
    end_dead_runs()
    directory = Path(tempfile.mkdtemp(prefix=RUN_PREFIX, dir=place()))
    directory.chmod(PASSABLE)
    lock = hold(directory / "born", os.O_CREAT)
    (directory / "born").rename(directory / ALIVE)  # seen only once it is locked: another run may look
    return Run(directory, test_database_url), lock


def end_dead_runs() -> None:
    """A run that was killed leaves its server behind. Nobody holds its lock any more."""
    for directory in place().glob(f"{RUN_PREFIX}*"):
        with contextlib.suppress(OSError):  # held by a living run, or another user's
            lock = hold(directory / ALIVE)
            Run(directory, None).end()
            os.close(lock)


def hold(file: Path, flags: int = 0) -> int:
    """Lock a file for as long as we live. Raises OSError where somebody else holds it, or it is not there."""
    lock = os.open(file, os.O_RDWR | flags)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def place() -> Path:
    """Where runs live: in memory if there is room. The path is short, as a socket's must be."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOMY_BYTES:
        return MEMORY
    return Path(tempfile.gettempdir())


def free_port() -> int:
    """Below those that systems give to outgoing connections: still free after whoever listens there was restarted."""
    while True:
        port = random.randrange(12_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]
