"""`python -m service recover`: runs the jobs that recover, once, against the configured database and processors.

It knows how to bring the rooms up without a door, and how outcomes are printed; it knows no job.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import nullcontext

from service import app
from service.cli.table import print_table
from service.config import Config
from service.development import prepared
from service.errors import DatabaseAway, ServiceError
from service.features import FEATURES
from service.kernel.clock import Clock
from service.kernel.jobs import Counts

Outcomes = dict[str, Counts | ServiceError]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "mend what a crash or an outage left, once; exit 1 when a job failed"
    subparsers.add_parser("recover", help=text, description=text).set_defaults(run=recover)


def recover(_arguments: argparse.Namespace, config: Config) -> int:
    """In development with what `run` is given there: the same database, and the same stand-ins of processors."""
    with prepared(config) if config.development else nullcontext(config) as ready:
        outcomes = asyncio.run(_recovered(ready))
    print_table(("job", "result"), [(name, _told(outcome)) for name, outcome in outcomes.items()])
    return 1 if any(isinstance(outcome, ServiceError) for outcome in outcomes.values()) else 0


async def _recovered(config: Config) -> Outcomes:
    """Raises DatabaseAway."""
    operations = app.assemble(config, FEATURES, Clock()).operations
    await operations.database.start()
    try:
        if not operations.database.reachable:
            raise DatabaseAway(f"The database is away: {operations.database.status().reason}.")
        await operations.switchboard.refresh()
        return await operations.jobs.recover()
    finally:
        await operations.bot.session.close()
        await operations.database.stop()


def _told(outcome: Counts | ServiceError) -> str:
    if isinstance(outcome, ServiceError):
        return f"failed: {outcome.code}"
    return ", ".join(f"{count} {what}" for what, count in outcome.items() if count) or "nothing to do"
