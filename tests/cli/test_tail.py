"""`tail`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from tests.cli.conftest import ROOT

Command = Callable[..., Any]
FILL = """
    INSERT INTO tail_events (key, name, instance, user_id, model_id, told, happened_at)
    SELECT gen_random_uuid(), CASE WHEN n % 2 = 0 THEN 'generation' ELSE 'started' END, 'host:1', n,
        CASE WHEN n % 2 = 0 THEN 'card' END, CASE WHEN n % 2 = 0 THEN '{"status": "success"}' ELSE '{}' END::jsonb,
        now() - (20 - n) * interval '1 minute'
    FROM generate_series(1, 20) AS n
"""


@pytest.fixture(autouse=True)
def filled(sql: psycopg.Connection) -> None:
    sql.execute(FILL)


def users(done: Any) -> list[int]:
    return [json.loads(line)["user_id"] for line in done.out.splitlines()]


def test_the_last_ten(command: Command) -> None:
    done = command("tail", "--no-follow")
    assert (done.code, len(done.lines), done.err) == (0, 10, "more: --after 20\n")
    assert done.lines[-1][1:] == ["generation", "success", "user=20", "model=card", "[host:1]"]


def test_filters(command: Command) -> None:
    assert users(command("tail", "--no-follow", "--json", "--name", "started")) == list(range(1, 20, 2))
    assert users(command("tail", "--no-follow", "--json", "--name", "started,generation", "--user", "3")) == [3]
    assert users(command("tail", "--no-follow", "--json", "--model", "card", "--after", "16")) == [18, 20]


def test_from_where_another_one_ended(command: Command) -> None:
    assert users(command("tail", "--no-follow", "--json", "--after", "17")) == [18, 19, 20]
    assert command("tail", "--no-follow", "--after", "20").err == "more: --after 20\n"


def test_so_long_ago(command: Command) -> None:
    assert users(command("tail", "--no-follow", "--json", "--since", "210s")) == [17, 18, 19, 20]
    assert len(users(command("tail", "--no-follow", "--json", "--since", "24h"))) == 20


def test_as_json_it_is_what_the_page_shows(command: Command) -> None:
    (line,) = command("tail", "--no-follow", "--json", "--user", "20").out.splitlines()
    event = json.loads(line)
    assert event.pop("at").endswith("Z")
    told = {"cursor": "20", "name": "generation", "user_id": 20, "model_id": "card", "told": {"status": "success"}}
    assert event == {**told, "instance": "host:1"}


def test_a_name_cannot_steer_the_terminal(command: Command, sql: psycopg.Connection) -> None:
    sql.execute(
        "INSERT INTO tail_events (key, name, instance, happened_at)"
        " VALUES (gen_random_uuid(), 'started', E'a\\x1b[31m', now())"
    )
    assert "\x1b" not in command("tail", "--no-follow").out


@pytest.mark.parametrize("words", [("--after", "x"), ("--since", "10 days"), ("--since", "m")])
def test_nonsense(command: Command, words: tuple[str, ...]) -> None:
    done = command("tail", *words)
    assert (done.code, len(done.err.splitlines())) == (1, 1)


def test_without_the_table(command: Command, sql: psycopg.Connection) -> None:
    sql.execute("DROP TABLE tail_events")
    done = command("tail")
    assert (done.code, len(done.err.splitlines())) == (1, 1)


@contextmanager
def running(database_url: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url}
    argv = [sys.executable, "-m", "service", "tail", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(argv, cwd=ROOT, env=environ, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def test_it_follows_goes_on_through_an_outage_and_says_how_to_go_on(database_url: str, sql: psycopg.Connection) -> None:
    name = sql.info.dbname
    with (
        running(database_url, "--json", "--after", "19") as process,
        psycopg.connect(database_url, dbname="postgres", autocommit=True) as other,
    ):
        assert json.loads(process.stdout.readline())["user_id"] == 20
        sql.execute(FILL)
        assert [json.loads(process.stdout.readline())["user_id"] for _ in range(20)] == list(range(1, 21))
        sql.close()
        other.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        assert "the database is away" in process.stderr.readline()
        other.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
        with psycopg.connect(database_url, autocommit=True) as again:
            again.execute(FILL)
        assert json.loads(process.stdout.readline())["user_id"] == 1
        for _ in range(19):
            process.stdout.readline()
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 130
        assert time.monotonic() - started < 5
        assert process.stderr.read() == "more: --after 60\n"
