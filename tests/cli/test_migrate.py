from __future__ import annotations

import argparse

import pytest

from service.cli import migrate as command
from service.config import Config, load
from service.errors import Invalid
from service.kernel import migrate
from tests.migrating import EVERYTHING


def config(dsn: str, **environ: str) -> Config:
    return load({"DATABASE_URL": dsn, **environ})


def call(dsn: str, *words: str, **environ: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["migrate", *words])
    code: int = arguments.run(arguments, config(dsn, **environ))
    return code


PRODUCTION = {
    "ENVIRONMENT": "production",
    "TELEGRAM_BOT_TOKEN": f"1:{'a' * 35}",
    "TELEGRAM_WEBHOOK_SECRET": "secret-of-the-webhook-1",
    "ADMIN_TOKEN": "token-of-the-operators-1",
}


def test_check_exits_one_until_all_is_applied(empty_database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(empty_database_url, "check") == 1
    assert capsys.readouterr().out.splitlines() == [f"pending  {name}" for name in EVERYTHING]
    assert call(empty_database_url, "up") == 0
    told = capsys.readouterr()
    assert told.out == f"applied {', '.join(EVERYTHING)}\n"
    assert told.err.count("applied in") == len(EVERYTHING)
    assert call(empty_database_url, "check") == 0
    assert capsys.readouterr().out == ""


def test_status_current_and_history(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    def printed(word: str) -> list[list[str]]:
        assert call(database_url, word) == 0
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    assert [(line[0], line[2]) for line in printed("status")] == [("applied", name) for name in EVERYTHING]
    assert printed("current") == [[EVERYTHING[-1]]]
    assert [line[1:3] for line in printed("history")] == [["apply", name] for name in EVERYTHING]


def test_sql_prints_bootstrap(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("postgresql://nowhere/none", "sql") == 0
    assert capsys.readouterr().out == migrate.bootstrap_sql()


def test_down_asks_before_it_undoes_in_production(database_url: str) -> None:
    with pytest.raises(Invalid, match="--yes"):
        call(database_url, "down", "1", **PRODUCTION)
    assert migrate.pending(database_url) == []
    assert call(database_url, "down", "1", "--yes", **PRODUCTION) == 0
    assert migrate.pending(database_url) == EVERYTHING[-1:]


def test_down_of_many_asks_anywhere(database_url: str) -> None:
    with pytest.raises(Invalid, match="--yes"):
        call(database_url, "down", "2")
    assert migrate.pending(database_url) == []


def test_down_of_one_needs_no_word_in_development(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(database_url, "down", "1") == 0
    assert capsys.readouterr().out == f"undone {EVERYTHING[-1]}\n"
