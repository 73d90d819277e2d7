"""`python -m service ledger verify`: whether balances, the ledger, payments, refunds and reservations agree.

It knows how differences are told, and how many; what one is, service.payments.operators.audit tells.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from service.cli.connection import addressed, over_database
from service.cli.table import show_progress
from service.config import Config
from service.errors import FeatureOff
from service.feature import Off, relations_of, resolve
from service.kernel.database import Database
from service.kernel.database.schema import probe
from service.payments import FEATURES
from service.payments.operators import audit
from service.payments.operators.audit import Difference

# Differences that are told one by one; of the rest only their number.
TOLD_MAX = 1_000
# Seconds. A check of a range reads whole tables, which may be cold: no command of a person waits longer.
CHECK_TIMEOUT_S = 600.0
NEEDED = ("payment_transactions", "payments")


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
    async for checked in audit.verify(database, audit.keyed_since(config.database.dsn or "")):
        people, differences = people + checked.people, differences + checked.total
        told += _tell(checked.differences[: TOLD_MAX - told])
        show_progress(f"{people:,} people, {differences:,} differences")
    show_progress("")
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


def _tell(differences: Sequence[Difference]) -> int:
    """A line each; how many that were."""
    if differences:
        show_progress("")
    for one in differences:
        print(f"user {one.user_id}: {one.what}: expected {one.expected}, found {one.found}")
    return len(differences)
