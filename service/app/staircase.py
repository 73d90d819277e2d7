"""The steps of a start, and their mirror at a stop.

It knows their order and what each waits for; it knows nothing of what is started.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

from aiohttp import web

from service.app.assembly import ASSEMBLY, Assembly
from service.errors import ServiceError
from service.kernel import log as logs
from service.kernel import migrate
from service.ops.metrics import loop_lag
from service.ops.operations import Operations
from service.telegram.polling import Polling
from service.telegram.reply import Call
from service.telegram.update import ALLOWED_UPDATES

# How long the doors stay shut for the sake of recovery: platforms wait a minute for a start.
RECOVER_EACH_S = 10.0
RECOVER_IN_ALL_S = 20.0

log = logs.Log("app")


async def _database(app: web.Application) -> AsyncIterator[None]:
    database = app[ASSEMBLY].operations.database
    await database.start()
    yield
    await database.stop()


async def _migrations(app: web.Application) -> AsyncIterator[None]:
    """Where the settings ask for it: before the first probe, or as soon as the database is there."""
    operations, waiting = app[ASSEMBLY].operations, set[asyncio.Task[None]]()
    if operations.config.migrate_on_start:
        if operations.database.reachable:
            await _migrate(operations)
        else:
            operations.database.when_up(lambda: waiting.add(asyncio.create_task(_migrate(operations))))
    yield
    for task in waiting:
        task.cancel()


async def _migrate(operations: Operations) -> None:
    """A migration that fails leaves features off, and says so; the rest is served."""
    try:
        await asyncio.to_thread(migrate.up, operations.config.database.dsn or "", progress=log.info)
    except ServiceError as error:
        log.error("migration failed", reason=error.message)
    await operations.switchboard.refresh()


async def _features(app: web.Application) -> AsyncIterator[None]:
    """Probe before the doors open, then keep probing."""
    switchboard = app[ASSEMBLY].operations.switchboard
    await switchboard.refresh()
    probing = asyncio.create_task(switchboard.run())
    yield
    probing.cancel()


async def _recover(app: web.Application) -> AsyncIterator[None]:
    """What a crash or an outage left is mended before the doors open, as far as it can be in time; then the rest.

    With the database away no start waits for it: it is mended as soon as that is back, now and later.
    """
    operations = app[ASSEMBLY].operations
    if operations.database.reachable:
        done = await operations.jobs.recover(before_doors=True, each_s=RECOVER_EACH_S, in_all_s=RECOVER_IN_ALL_S)
        operations.jobs.poke_recovery(but=done)
    operations.database.when_up(operations.jobs.poke_recovery)
    yield


async def _client(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[ASSEMBLY].courier.drain()
    await app[ASSEMBLY].operations.bot.session.close()


async def _jobs(app: web.Application) -> AsyncIterator[None]:
    jobs = app[ASSEMBLY].operations.jobs
    jobs.start()
    yield
    await jobs.stop()


async def _work(app: web.Application) -> AsyncIterator[None]:
    """What features keep running."""
    switchboard = app[ASSEMBLY].operations.switchboard
    async with AsyncExitStack() as running:
        for runs in (runs for feature in switchboard.features for runs in feature.runs):
            await running.enter_async_context(runs(lambda: switchboard.mounted.rooms))
        yield


async def _polling(app: web.Application) -> AsyncIterator[None]:
    """A machine that Telegram cannot reach fetches its updates."""
    operations = app[ASSEMBLY].operations
    if operations.config.telegram_mode != "polling":
        yield
        return
    polling = Polling(operations.bot, _answer_by_call(app[ASSEMBLY]), allowed_updates=ALLOWED_UPDATES)
    fetching = asyncio.create_task(polling.run())
    yield
    polling.stop()
    await fetching


def _answer_by_call(assembly: Assembly) -> Callable[[bytes], Awaitable[None]]:
    """Without a webhook's response to ride on, the first call of an answer is made like the others."""

    async def handle(body: bytes) -> None:
        answer = await assembly.operations.dispatcher.answer(body)
        if answer.body:
            assembly.courier.send_later(Call.of(answer.body))

    return handle


STEPS = (loop_lag, _database, _migrations, _features, _recover, _client, _jobs, _work, _polling)
