"""`python -m service run`: serves until it is told to stop.

It knows the word of the command line; what it does is service.app's.
"""

from __future__ import annotations

import argparse

from service import app
from service.config import Config


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "serve Telegram, the processors and the operators"
    subparsers.add_parser("run", help=text, description=text).set_defaults(run=serve)


def serve(_arguments: argparse.Namespace, config: Config) -> int:
    app.run(config)
    return 0
