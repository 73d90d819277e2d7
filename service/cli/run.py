"""`python -m service run` serves until it is told to stop; `work` works beside it, without doors.

It knows the words of the command line; what they do is service.process's.
"""

from __future__ import annotations

import argparse

from service import development, process
from service.config import Config


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "serve Telegram, the processors and the operators"
    subparsers.add_parser("run", help=text, description=text).set_defaults(run=serve)
    text = "do what people ordered, beside the processes that serve"
    subparsers.add_parser("work", help=text, description=text).set_defaults(run=work)


def serve(_arguments: argparse.Namespace, config: Config) -> int:
    process.run(config, welcome=welcome if config.development else None)
    return 0


def work(_arguments: argparse.Namespace, config: Config) -> int:
    process.work(config)
    return 0


def welcome(config: Config, port: int) -> None:
    """Where a developer finds everything. Production prints no token."""
    here = f"http://127.0.0.1:{port}"
    lines = {"chat page": f"{here}/sandbox"} if development.uses_sandbox(config) else {}
    lines |= {"operators": f"{here}/admin", "their token": config.admin_token or "", "health": f"{here}/health"}
    print("\n".join(f"  {name:<12} {value}" for name, value in lines.items()), flush=True)
