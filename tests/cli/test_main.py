from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service import cli
from service.config import Config, ConfigError
from service.errors import DatabaseAway

ROOT = Path(__file__).parents[2]
Command = Callable[[argparse.Namespace, Config], int]


class Stub:
    """A command of the test's own."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def add_parser(self, subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        subparsers.add_parser("stub").set_defaults(run=self._command)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Command], int]:
    for name in ("ENVIRONMENT", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)

    def run(command: Command) -> int:
        monkeypatch.setattr(cli, "COMMANDS", (Stub(command),))
        return cli.main(["stub"])

    return run


def failing(error: BaseException) -> Command:
    def command(_arguments: argparse.Namespace, _config: Config) -> int:
        raise error

    return command


def in_a_process(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *words],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_s_code_is_the_exit_code(run: Callable[[Command], int]) -> None:
    assert run(lambda _arguments, _config: 0) == 0
    assert run(lambda _arguments, _config: 1) == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DatabaseAway(), "error: The database is away.\n"),
        (ValueError("two\nlines"), "error: two lines\n"),
        (RuntimeError(), "error: RuntimeError\n"),
        (OSError("postgresql://owner:hush@db/x refused"), "error: postgresql://***@db/x refused\n"),
        (ConfigError(["PORT: is wrong", "HOST: too"]), "error: settings: PORT: is wrong; HOST: too\n"),
    ],
)
def test_a_failure_is_one_line(
    run: Callable[[Command], int], capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    assert run(failing(error)) == 1
    assert capsys.readouterr() == ("", line)


def test_an_interrupt_is_silent(run: Callable[[Command], int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "")


def test_debug_shows_where_it_failed(run: Callable[[Command], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    with pytest.raises(ValueError, match="here"):
        run(failing(ValueError("here")))


@pytest.mark.parametrize("words", [(), ("nonsense",), ("migrate",), ("migrate", "down", "many")])
def test_a_wrong_command_line_exits_two(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "usage: python -m service" in capsys.readouterr().err


def test_production_without_settings_does_not_start() -> None:
    done = in_a_process("run", ENVIRONMENT="production")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    for name in ("DATABASE_URL", "TELEGRAM_BOT_TOKEN", "TELEGRAM_WEBHOOK_SECRET", "ADMIN_TOKEN"):
        assert f"{name}: is not set" in done.stderr


def test_a_reader_that_has_seen_enough_is_no_traceback() -> None:
    command = [sys.executable, "-m", "service", "migrate", "sql"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1
