"""`python -m service ledger verify`: whether balances, the ledger, payments, refunds and reservations agree.

It knows how differences are told, and how many; what one is, service.payments.operators.audit tells.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from service.cli.connection import addressed, over_database
from service.config import Config
from service.errors import FeatureOff
from service.feature import Off, relations_of, resolve
from service.kernel import migrate
from service.kernel.database import Database
from service.kernel.database.schema import probe
from service.payments import FEATURES
from service.payments.operators import audit
from service.payments.operators.audit import Difference

# Differences that are told one by one; of the rest only their number.
TOLD_MAX = 1_000
# Seconds. A check of a range reads whole tables, which may be cold: no command of a person waits longer.
CHECK_TIMEOUT_S = 600.0
# The migration that gave the ledger its keys.
KEYED_BY = "0003_balances"
NEEDED = ("payment_transactions", "payments")
CLEAR_LINE = "\r\N{ESCAPE}[K"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "check the ledger"
    parser = subparsers.add_parser("ledger", help=text, description=text)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    text = "whether balances, the ledger, payments, refunds and reservations agree; exit 1 on a difference"
    added = commands.add_parser("verify", help=text, description=text)
    added.set_defaults(run=verify)


def verify(_arguments: argparse.Namespace, config: Config) -> int:
    """Raises FeatureOff where a table is missing."""
    with addressed(config) as ready:
        patient = replace(ready, database=replace(ready.database, command_timeout=CHECK_TIMEOUT_S))
        people, differences = over_database(patient, lambda database: _verify(database, ready))
    print(f"{people:,} people checked, {differences:,} difference{'' if differences == 1 else 's'}")
    return 1 if differences else 0


async def _verify(database: Database, config: Config) -> tuple[int, int]:
    """How many people there are, and how many differences."""
    await _require_tables(database, config)
    people = differences = told = 0
    async for checked in audit.verify(database, _keyed_since(config)):
        people, differences = people + checked.people, differences + checked.total
        told += _tell(checked.differences[: TOLD_MAX - told])
        _show_progress(f"{people:,} people, {differences:,} differences")
    _show_progress("")
    if differences > told:
        print(f"... and {differences - told:,} more")
    return people, differences


async def _require_tables(database: Database, config: Config) -> None:
    features = [feature for feature in FEATURES if feature.name in NEEDED]
    async with database.acquire() as conn:
        schema = await probe(conn, relations_of(features))
    for state in resolve(features, schema, config).values():
        if isinstance(state, Off):
            raise FeatureOff(f"cannot verify: {state.reason}")


def _keyed_since(config: Config) -> datetime:
    """When the ledger got its keys: what is older is another service's."""
    applied = {one.id: one.applied_at for one in migrate.status(config.database.dsn or "")}
    return applied.get(KEYED_BY) or datetime.min.replace(tzinfo=UTC)


def _tell(differences: Sequence[Difference]) -> int:
    """A line each; how many that were."""
    if differences:
        _show_progress("")
    for one in differences:
        print(f"user {one.user_id}: {one.what}: expected {one.expected}, found {one.found}")
    return len(differences)


def _show_progress(text: str) -> None:
    """For the person who waits; a pipe gets the results alone."""
    if sys.stderr.isatty():
        print(f"{CLEAR_LINE}{text}", end="", file=sys.stderr, flush=True)
