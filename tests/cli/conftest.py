"""Commands as a person gives them, on a database of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from service import cli

ROOT = Path(__file__).parents[2]


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[list[str]]:
        """What was printed, split into words."""
        return [line.split() for line in self.out.splitlines()]


Command = Callable[..., Done]


@pytest.fixture
def command(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Gives a command within this process; settings by their environment names."""

    def give(*words: str, **settings: str) -> Done:
        with monkeypatch.context() as environ:
            for name, value in {"DATABASE_URL": database_url, **settings}.items():
                environ.setenv(name, value)
            code = cli.main(words)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return give


@pytest.fixture
def process(database_url: str) -> Command:
    """Gives a command in a process of its own."""

    def give(*words: str, **settings: str) -> Done:
        environ = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url, **settings}
        argv = [sys.executable, "-m", "service", *words]
        done = subprocess.run(argv, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    return give


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection]:
    """The same database, as superuser; what is done is done at once."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection
