"""A PostgreSQL server of its own, to be thrown away: what is restored into it is seen by nobody else.

It knows clusters; it knows nothing of what is restored.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from service.errors import Unavailable
from service.kernel.embedded import PORT, START_TIMEOUT_S, SUPERUSER, Programs

# Nothing of it must outlive a power cut, and nobody reaches it but by its socket.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "listen_addresses": "",
    "max_wal_size": "1GB",
    "maintenance_work_mem": "128MB",
}


@contextmanager
def cluster(programs: Programs) -> Iterator[str]:
    """The address of an empty database. Raises Unavailable when the server does not come up."""
    directory = Path(tempfile.mkdtemp(prefix="ballast-scratch-"))
    data = directory / "data"
    try:
        _create(programs, data)
        _start(programs, data)
        try:
            yield f"postgresql://{SUPERUSER}@/postgres?host={quote(str(data))}&port={PORT}"
        finally:
            programs.attempt("pg_ctl", "stop", "-D", data, "-m", "immediate", "-w")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _create(programs: Programs, data: Path) -> None:
    data.mkdir(mode=0o700)
    try:
        programs.give(data)
    except LookupError:
        raise Unavailable(f"a server never runs as root, and there is no user {programs.user} here") from None
    programs.run(
        *("initdb", "--pgdata", data, "--username", SUPERUSER, "--auth", "trust", "--no-sync", "--no-instructions"),
        *("--encoding", "UTF8", "--locale", "C"),
    )


def _start(programs: Programs, data: Path) -> None:
    options = ["-k", str(data), *(word for name, value in SETTINGS.items() for word in ("-c", f"{name}={value}"))]
    programs.run(
        *("pg_ctl", "start", "-D", data, "-l", data / "server.log", "-w", "-t", str(START_TIMEOUT_S)),
        *("-o", shlex.join(options)),
    )
