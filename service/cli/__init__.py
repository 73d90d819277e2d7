"""The command line: one module per command, and how every command fails.

It knows which commands there are and that a failure is one clear line; it knows nothing of what they do.
A command's module has add_parser(subparsers), which leaves in `run` a function of (arguments, config) that
returns the exit code.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from service.cli import features, ledger, migrate, recover, run, seed, tail, users
from service.cli.database import backup, db, doctor, explain, stats
from service.config import Config, ConfigError, from_environment
from service.kernel import log as logs
from service.kernel.log.mask import mask

COMMANDS = (run, features, users, ledger, tail, recover, doctor, stats, explain, backup, migrate, db, seed)

FAILED = 1  # argparse itself exits with 2 where the command line is wrong
INTERRUPTED = 130  # what shells expect after Ctrl-C


def main(argv: Sequence[str]) -> int:
    """The exit code of the command that the arguments name. Raises SystemExit(2) where they name none."""
    arguments = _parser().parse_args(argv)
    try:
        config = from_environment()
    except ConfigError as error:
        return _fail(error)
    return _run(arguments, config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service", description="Ballast")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def _run(arguments: argparse.Namespace, config: Config) -> int:
    _prepare_log(config)
    try:
        code: int = arguments.run(arguments, config)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `... | head` has seen enough; nothing may be written at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # whatever it is, a person reads one line; LOG_LEVEL=DEBUG shows where it comes from
        if config.log_level == "DEBUG":
            raise
        return _fail(error)
    return code


def _prepare_log(config: Config) -> None:
    """A command answers on stdout and fails in one line, so its rooms keep quiet; `run` has a log of its own."""
    logs.configure("DEBUG" if config.log_level == "DEBUG" else "ERROR")
    logs.hide(*config.secrets())


def _fail(error: Exception) -> int:
    line = " ".join(str(error).split()) or type(error).__name__
    print(f"error: {mask(line)}", file=sys.stderr)
    return FAILED
