"""The composition root: puts the rooms together, starts them as a staircase and stops them as its mirror.

The only module that sees every room. It decides nothing; it knows who needs whom, and in which order.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from service import development, http, ops
from service.config import Config
from service.errors import FeatureOff, ServiceError, Unavailable, Upstream
from service.feature import Feature, HttpRoute, Menu, Off, Rooms
from service.features import FEATURES
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
from service.switchboard import Switchboard
from service.telegram import webhook
from service.telegram.client import BotApi
from service.telegram.client.courier import Courier
from service.telegram.client.registration import set_webhook_if_differs
from service.telegram.dispatch import Dispatcher
from service.telegram.pacing import FloodGuard, Pacing
from service.telegram.polling import Polling
from service.telegram.reply import Call
from service.telegram.update import ALLOWED_UPDATES
from service.users.people import People

# A person taps fast, a script faster: ten at once, then two a second.
FLOOD_BURST = 10
FLOOD_RATE = 2.0
# Heroku and Render kill 30 s after SIGTERM. What is under way has a door's budget of 5 s; the polling (3 s), the
# courier (5 s) and the pool (5 s) take their time after it.
SHUTDOWN_TIMEOUT_S = 15.0
# Who is refused before the whole body came may go on sending for so long, in order to hear the refusal.
LINGER_S = 2.0
# Telegram not reached at start is no reason not to serve: the webhook that is set stays.
REGISTER_RETRY_S = 5.0

Welcome = Callable[[Config, int], None]

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
    app.router.add_routes([http.observed(web.route("*", "/{path:.*}", http.not_found))])
    app.cleanup_ctx.extend([loop_lag, _database, _migrations, _features, _client, _jobs, _polling])
    return app


def assemble(config: Config, features: Sequence[Feature], clock: Clock) -> Assembly:
    """Who needs whom."""
    database = Database(config.database, clock)
    people = People(database, clock, cache_ttl_s=config.user_cache_ttl)
    menu = Menu.of(features)
    rooms = Rooms({Config: config, Clock: clock, Database: database, People: people, Menu: menu})
    switchboard = Switchboard(features, database, config, clock, rooms)
    bot = _bot(config, clock, people)
    courier = Courier(bot)
    dispatcher = Dispatcher(
        switchboard=switchboard,
        database=database,
        people=people,
        guard=FloodGuard(FLOOD_RATE, FLOOD_BURST),
        clock=clock,
        budget=Budget(config.door_timeout),
        send_later=courier.send_later,
    )
    jobs = tuple(job for feature in features for job in feature.jobs)
    loop = JobLoop(jobs, lambda: switchboard.mounted.rooms, switchboard.may_run)
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


def run(config: Config, *, features: Sequence[Feature] = FEATURES, welcome: Welcome | None = None) -> None:
    """Serve until SIGTERM or SIGINT; once the doors are open, `welcome` is told the settings and the port.

    Raises ServiceError when development's database does not start.
    """
    logs.configure(config.log_level, config.log_format)
    with development.prepared(config) if config.development else nullcontext(config) as config:
        for secret in config.secrets():
            logs.hide(secret)
        asyncio.run(serve(config, features, welcome))
    http.observations.settle()
    logs.flush()


async def serve(config: Config, features: Sequence[Feature], welcome: Welcome | None) -> None:
    """Start, say so, and stop when the process is told to."""
    stop = _stop_signal()
    app = build(config, features=features)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S, lingering_time=LINGER_S)
    await runner.setup()
    lifecycle = app[ASSEMBLY].operations.lifecycle
    site = web.TCPSite(runner, config.host, config.port)
    await site.start()
    lifecycle.phase = "serving"
    port: int = runner.addresses[0][1]
    log.info("serving", host=config.host, port=port)
    if welcome is not None:
        welcome(config, port)
    registering = asyncio.create_task(_register(app[ASSEMBLY].operations))
    await stop.wait()
    log.info("stopping")
    lifecycle.phase = "draining"
    registering.cancel()
    await runner.cleanup()
    log.info("stopped")


def _stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one changes nothing."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _bot(config: Config, clock: Clock, people: People) -> BotApi:
    async def mark_unreachable(chat_id: int) -> None:
        with suppress(Unavailable):  # the next call that fails tells again
            await people.mark_active(chat_id, False)

    return BotApi(
        token=config.telegram_bot_token or "",
        base=config.telegram_api_base,
        session=aiohttp.ClientSession(),
        clock=clock,
        pacing=Pacing(),
        on_blocked=mark_unreachable,
    )


def _gated(feature: Feature, route: HttpRoute, switchboard: Switchboard) -> web.RouteDef:
    """The one place where a route meets its switch."""

    async def handle(request: web.Request) -> web.StreamResponse:
        state = switchboard.states[feature.name]
        if isinstance(state, Off):
            raise FeatureOff(state.reason)
        return await route.handler(request, switchboard.mounted.rooms)

    return web.route(route.method, route.path, handle)


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


async def _register(operations: Operations) -> None:
    """Tell Telegram where we are, and learn our own name. Serves meanwhile; tries until it is done."""
    config = operations.config
    while True:
        try:
            me = await operations.bot.call("getMe")
            operations.dispatcher.bot_username = me.get("username")
            if config.public_url and config.telegram_mode == "webhook":
                await set_webhook_if_differs(
                    operations.bot,
                    url=config.public_url + webhook.PATH,
                    secret=config.telegram_webhook_secret or "",
                    allowed_updates=ALLOWED_UPDATES,
                )
            return
        except Upstream as error:
            log.warning("Telegram not reached", reason=error.message)
            if error.permanent:
                return
        await asyncio.sleep(REGISTER_RETRY_S)
