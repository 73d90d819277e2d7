"""A PostgreSQL from the system's packages: unlike the embedded one it has pg_trgm, and it is as old as we support.

Missing, it skips the tests that want it; in CI it must be there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.kernel import migrate
from service.kernel.embedded import Programs
from tests.postgres import PASSABLE, Cluster, Run

PACKAGES = Path("/usr/lib/postgresql")
TRIGRAMS = "/usr/share/postgresql/*/extension/pg_trgm.control"


class DebianCluster(Cluster):
    """A private server of the newest installed package. As root it steps down to the packages' user."""

    def __init__(self, directory: Path, programs: Programs) -> None:
        super().__init__(directory)
        self.programs = programs

    def create(self) -> DebianCluster:
        self.data.mkdir(mode=0o700)
        self.programs.give(self.data)
        address = ("--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8")
        self.programs.run("initdb", "--pgdata", self.data, "--no-sync", *address)
        self.start()
        return self


def find_programs() -> Programs | None:
    """Those of the newest package that is whole, the extension included."""
    found = sorted(PACKAGES.glob("*/bin/initdb"), key=lambda path: int(path.parents[1].name))
    if not found or not list(Path("/").glob(TRIGRAMS.lstrip("/"))):
        return None
    return Programs(found[-1].parent, "postgres" if os.geteuid() == 0 else None)


@contextmanager
def migrated(run: Run) -> Iterator[str]:
    """The address of a migrated database on a server of its own."""
    programs = find_programs()
    if programs is None:
        missing = "PostgreSQL's Debian package with contrib is not installed"
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    # Deeper than the run's other servers: a killed run's are ended with other programs, by another user. This one
    # ends on its own, within a minute of losing its directory.
    directory = run.directory / "debian" / str(os.getpid())
    directory.mkdir(parents=True)
    for path in (directory, directory.parent):
        path.chmod(PASSABLE)
    cluster = DebianCluster(directory, programs)
    try:
        dsn = cluster.create().dsn()
        migrate.up(dsn)
        yield dsn
    finally:
        cluster.destroy()
