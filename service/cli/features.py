"""`python -m service features`: what is on, what is off, and why.

It knows the list of features and one probe; it decides nothing.
"""

from __future__ import annotations

import argparse
import json

from service.cli.connection import over_connection
from service.cli.table import print_table
from service.config import Config
from service.feature import State, relations_of, resolve
from service.features import FEATURES
from service.kernel.database import Connection
from service.kernel.database.schema import Schema, probe


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "list the features: on, or off and why"
    parser = subparsers.add_parser("features", help=text, description=text)
    parser.add_argument("--json", action="store_true", help="for a program")
    parser.set_defaults(run=features)


def features(arguments: argparse.Namespace, config: Config) -> int:
    async def look(conn: Connection) -> Schema:
        return await probe(conn, relations_of(FEATURES))

    states = resolve(FEATURES, over_connection(config, look), config)
    _print_json(states) if arguments.json else _print(states)
    return 0


def _print(states: dict[str, State]) -> None:
    print_table(("feature", "state", "reason"), [(name, state.state, state.reason) for name, state in states.items()])


def _print_json(states: dict[str, State]) -> None:
    items = [
        {"name": name, "state": state.state, "reason": state.reason, "missing": state.missing}
        for name, state in states.items()
    ]
    print(json.dumps({"items": items, "next": None}))
