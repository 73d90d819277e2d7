"""The fixtures of the whole suite: PostgreSQL in several strengths, and a browser.

database_url        a database of the test's own, migrated          10 ms, or 200 on a disk
empty_database_url  a database of the test's own, without a table
raw                 a connection to database_url, as superuser
conn                a connection to a database that the worker's tests share; what is done is rolled back
db                  the service's own database seam, started, on database_url
served              the whole service, running on database_url
own_cluster         a server of the test's own, to stop, freeze and start    0.5 s
debian_url          a migrated database with pg_trgm, on a server that the worker's tests share; skips without one

`browser` is a headless Chromium.

TEST_DATABASE_URL (of a superuser, or of one who may create databases) takes the place of the embedded server.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from service.kernel import migrate
from service.kernel.database import Database, DatabaseSettings
from service.kernel.database.connect import Connector
from tests import debian
from tests.browser import chromium
from tests.postgres import Cluster, Run, Server, new_run
from tests.serving import Served, serving

if TYPE_CHECKING:
    from playwright.async_api import Browser

RUN = pytest.StashKey[Run]()
ALIVE = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    url = os.environ.get("TEST_DATABASE_URL")
    if worker := getattr(config, "workerinput", None):
        config.stash[RUN] = Run(Path(worker["ballast_run"]), url)
    else:
        config.stash[RUN], config.stash[ALIVE] = new_run(url)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tell a worker of pytest-xdist where the run's directory is."""
    node.workerinput["ballast_run"] = str(node.config.stash[RUN].directory)


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.stash.get(ALIVE, None) is not None:
        config.stash[RUN].end()


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    """A command makes the log quieter, for its own process."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    """The run's PostgreSQL; started when the first test asks for it."""
    return pytestconfig.stash[RUN].server()


@pytest.fixture
def database_url(server: Server) -> Iterator[str]:
    with server.migrated() as url:
        yield url


@pytest.fixture
def empty_database_url(server: Server) -> Iterator[str]:
    with server.database() as url:
        yield url


@pytest.fixture
async def raw(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def shared_database_url(server: Server) -> Iterator[str]:
    """One database per worker. Nothing may be committed to it: use `conn`."""
    with server.migrated() as url:
        yield url


@pytest.fixture
async def conn(shared_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await Connector(DatabaseSettings(shared_database_url)).open()
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.fixture
def own_cluster(pytestconfig: pytest.Config) -> Iterator[Cluster]:
    with pytestconfig.stash[RUN].private_cluster() as cluster:
        yield cluster


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations, to add to and to edit."""
    return Path(shutil.copytree(migrate.FOLDER, tmp_path / "migrations"))


@pytest.fixture(scope="session")
def debian_url(pytestconfig: pytest.Config) -> Iterator[str]:
    with debian.migrated(pytestconfig.stash[RUN]) as url:
        yield url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """The database seam, started, on a database of the test's own."""
    database = Database(DatabaseSettings(database_url))
    await database.start()
    yield database
    await database.stop()


@pytest.fixture
async def served(database_url: str) -> AsyncIterator[Served]:
    """The whole service on a database of the test's own."""
    async with serving(database_url) as running:
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running
