"""The composition root: puts the rooms together, in a staircase to be started and a mirror of it to be stopped.

The only module that sees every room. It decides nothing; it knows who needs whom, and in which order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from service import catalog, development, http, ops
from service.catalog import Catalog
from service.config import Config
from service.errors import FeatureOff, SchemaDrift, ServiceError, Unavailable
from service.feature import Feature, HttpRoute, Menu, Off, On, Rooms, State
from service.features import FEATURES
from service.features.generation import providers
from service.kernel import log as logs
from service.kernel import migrate
from service.kernel.budget import Budget
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import JobLoop
from service.ops.admin.guard import Guard
from service.ops.lifecycle import Lifecycle
from service.ops.metrics import loop_lag
from service.ops.operations import Operations
from service.sandbox import Sandbox
from service.sandbox.processors import Accounts, PolarAccount, Processors, StripeAccount, YooKassaAccount
from service.switchboard import Switchboard
from service.telegram import webhook
from service.telegram.client import BotApi
from service.telegram.client.courier import Courier
from service.telegram.dispatch import Dispatcher
from service.telegram.pacing import FloodGuard, Pacing
from service.telegram.polling import Polling
from service.telegram.reply import Call
from service.telegram.update import ALLOWED_UPDATES
from service.users.people import People

# A person taps fast, a script faster: ten at once, then two a second.
FLOOD_BURST = 10
FLOOD_RATE = 2.0
# How long the doors stay shut for the sake of recovery: platforms wait a minute for a start.
RECOVER_EACH_S = 10.0
RECOVER_IN_ALL_S = 20.0

log = logs.Log("app")


@dataclass(frozen=True, slots=True)
class Assembly:
    """Everything that is alive, put together and not yet started."""

    operations: Operations
    courier: Courier


ASSEMBLY = web.AppKey("assembly", Assembly)


def build(config: Config, *, features: Sequence[Feature] = FEATURES, clock: Clock | None = None) -> web.Application:
    """The application, ready to be started by a runner. To be called inside a running event loop."""
    assembly = assemble(config, features, clock or Clock())
    operations = assembly.operations
    app = web.Application(client_max_size=webhook.BODY_MAX)
    app[ASSEMBLY] = assembly
    app.router.add_routes([http.observed(route) for route in _routes(operations, features)])
    if development.uses_sandbox(config):
        Sandbox(development.SANDBOX_TOKEN).mount(app)
        _processors(config).mount(app)
    app.router.add_routes([http.observed(web.route("*", "/{path:.*}", http.not_found))])
    app.cleanup_ctx.extend([loop_lag, _database, _migrations, _features, _recover, _client, _jobs, _polling])
    return app


def _processors(config: Config) -> Processors:
    """The stand-ins of the payment processors, with the accounts that the settings name."""
    return Processors(
        config.public_url or "",
        accounts=Accounts(
            yookassa=YooKassaAccount(config.yookassa_shop_id or "", config.yookassa_secret_key or ""),
            stripe=StripeAccount(config.stripe_secret_key or "", (config.stripe_webhook_secret or ("",))[0]),
            polar=PolarAccount(config.polar_access_token or "", config.polar_webhook_secret or ""),
        ),
    )


def assemble(config: Config, features: Sequence[Feature], clock: Clock) -> Assembly:
    """Who needs whom. Raises ConfigError where the catalogue is not usable."""
    sold = catalog.load(config.catalog, providers.CHECKS)
    database = Database(config.database, clock)
    people = People(database, clock, cache_ttl_s=config.user_cache_ttl)
    menu = Menu.of(features)
    session = aiohttp.ClientSession()
    bot = _bot(config, clock, people, session)
    jobs = tuple(job for feature in features for job in feature.jobs)
    loop = JobLoop(jobs, lambda: switchboard.mounted.rooms, lambda job: switchboard.may_run(job))
    rooms = Rooms(
        {
            Config: config,
            Clock: clock,
            Catalog: sold,
            Database: database,
            People: people,
            Menu: menu,
            aiohttp.ClientSession: session,
            BotApi: bot,
            JobLoop: loop,
        }
    )
    switchboard = Switchboard(features, database, config, clock, rooms)
    switchboard.on_change(_catch_up(features, loop))
    courier = Courier(bot)
    dispatcher = Dispatcher(
        switchboard=switchboard,
        database=database,
        people=people,
        guard=FloodGuard(FLOOD_RATE, FLOOD_BURST),
        clock=clock,
        budget=Budget(config.door_timeout),
        send_later=courier.send_later,
        operators=config.admin_ids,
    )
    return Assembly(
        Operations(config, Lifecycle(), clock, database, switchboard, people, dispatcher, bot, loop), courier
    )


def _routes(operations: Operations, features: Sequence[Feature]) -> list[web.RouteDef]:
    """The doors, what features serve, and what operators see."""
    secret = operations.config.telegram_webhook_secret or ""
    guard = Guard(operations.config.admin_token, operations.clock)
    routes = (
        web.post(webhook.PATH, webhook.door(operations.dispatcher, secret)),
        *(_gated(feature, route, operations.switchboard) for feature in features for route in feature.routes),
        *ops.routes(operations),
    )
    return guard.around(routes)


def _catch_up(features: Sequence[Feature], loop: JobLoop[Rooms]) -> Callable[[str, State], None]:
    """What a feature could not do while it was off, its jobs do as soon as it is on."""
    jobs_of = {feature.name: feature.jobs for feature in features}

    def poke(name: str, state: State) -> None:
        for job in jobs_of[name] if isinstance(state, On) else ():
            loop.poke(job.name)

    return poke


def _bot(config: Config, clock: Clock, people: People, session: aiohttp.ClientSession) -> BotApi:
    async def mark_unreachable(chat_id: int) -> None:
        with suppress(Unavailable):  # the next call that fails tells again
            await people.mark_active(chat_id, False)

    return BotApi(
        token=config.telegram_bot_token or "",
        base=config.telegram_api_base,
        session=session,
        clock=clock,
        pacing=Pacing(),
        on_blocked=mark_unreachable,
    )


def _gated(feature: Feature, route: HttpRoute, switchboard: Switchboard) -> web.RouteDef:
    """The one place where a route meets its switch."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await route.handler(request, _rooms_of(feature, switchboard))
        except SchemaDrift:  # a table went away since the last look
            await switchboard.refresh()
            return await route.handler(request, _rooms_of(feature, switchboard))

    return web.route(route.method, route.path, handle)


def _rooms_of(feature: Feature, switchboard: Switchboard) -> Rooms:
    """Raises FeatureOff: of this feature, or of one that is essential."""
    for state in (switchboard.mounted.essential, switchboard.states[feature.name]):
        if isinstance(state, Off):
            raise FeatureOff(state.reason)
    return switchboard.mounted.rooms


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
