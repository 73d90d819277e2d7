"""The scheduled backup: whether one is due, that one instance takes it, and what became of it.

It knows BACKUP_TO and its sisters. It keeps no state: when the last one was taken, the names in the target tell.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta

from service.backup import contents, encryption, restoring, taking
from service.backup.taking import Order, Taken
from service.backup.target import Access, Target, names, place
from service.config import Config
from service.errors import DatabaseAway, Invalid, ServiceError
from service.feature import Rooms
from service.kernel import metrics
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job
from service.kernel.log import Log

# Seconds between looks at the target: a backup comes so much later than it is due, at most.
LOOK_EVERY_S = 300.0
NOTHING: Counts = {}

log = Log("backup")


def access(config: Config) -> Access:
    return Access(config.s3_endpoint, config.s3_region, config.s3_access_key_id, config.s3_secret_access_key)


def is_due(found: Mapping[str, datetime], now: datetime, every: timedelta) -> bool:
    """By the names: whoever took it, and wherever."""
    return not any(one.kind == "all" and now - one.at < every for one in names.ours(found))


async def back_up(rooms: Rooms) -> Counts:
    """One backup where it is due and nobody else takes it. What goes wrong is told, and tried again at the next look.

    Raises DatabaseAway.
    """
    config, now = rooms.of(Config), rooms.of(Clock).now()
    try:
        target = await asyncio.to_thread(_target, config)
        if not await _due(target, config, now):
            return NOTHING
        taken = await _taken_alone(config, target, now)
    except DatabaseAway:
        raise
    except (ServiceError, OSError) as error:
        log.error("backup failed", reason=" ".join(str(error).split()))
        return {"failed": 1}
    if taken is None:
        return NOTHING
    log.info("backup taken", name=taken.name, rows=taken.manifest.rows, bytes=taken.size)
    if config.backup_verify:
        await _verify(target.where(taken.name))
    await _due(target, config, now)  # shows what is there now
    return {"taken": 1}


def _target(config: Config) -> Target:
    """Raises Invalid."""
    where = place(config.backup_to or "", access(config))
    if where.name is not None:
        raise Invalid("BACKUP_TO must be a folder that is there, or s3://bucket/folder/ with a slash at its end")
    if config.backup_recipients:
        encryption.recipients(config.backup_recipients)
    return where.target


async def _due(target: Target, config: Config, now: datetime) -> bool:
    """What is there goes into the metrics, whichever instance took it."""
    found = await asyncio.to_thread(target.listed)
    _show(found)
    return is_due(found, now, timedelta(hours=config.backup_every))


def _show(found: Mapping[str, datetime]) -> None:
    taken = [one.at.timestamp() for one in names.ours(found) if one.kind == "all"]
    marks = [
        at.timestamp()
        for name, at in found.items()
        if names.dated(name.removesuffix(names.VERIFIED)) and name.endswith(names.VERIFIED)
    ]
    metrics.BACKUP_SUCCESS.set(max(taken, default=0))
    metrics.BACKUP_VERIFIED.set(max(marks, default=0))


async def _taken_alone(config: Config, target: Target, now: datetime) -> Taken | None:
    """None where another instance takes it, or has just taken it."""
    async with restoring.connected(config.database.dsn or "") as database, database.transaction() as conn:
        await contents.take_time(conn)
        if not await contents.try_to_be_alone(conn) or not await _due(target, config, now):
            return None
        return await _take(database, config, target, now)


async def _take(database: Database, config: Config, target: Target, now: datetime) -> Taken:
    return await taking.take(database, Order(now, recipients=config.backup_recipients), target.store)


async def _verify(where: str) -> None:
    """In a process of its own, which takes its time and its memory with it when we have to stop."""
    verifying = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "backup", "verify", where),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await verifying.communicate()
    except asyncio.CancelledError:
        verifying.send_signal(signal.SIGINT)  # it takes its server away
        await verifying.wait()
        raise
    if verifying.returncode == 0:
        log.info("backup verified", name=where)
    else:
        log.error("backup not verified", name=where, reason=said.decode(errors="replace").strip().rpartition("\n")[2])


JOB: Job[Rooms] = Job("back_up", LOOK_EVERY_S, back_up)


def jobs(config: Config) -> tuple[Job[Rooms], ...]:
    """None where the settings ask for no schedule."""
    return (JOB,) if config.backup_to else ()
