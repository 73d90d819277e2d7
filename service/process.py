"""The life of one process: it starts, opens the doors, tells Telegram where it is, and stops when it is told to.

It knows signals, the port and the order of a stop; what it starts and stops is put together by service.app.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import nullcontext
from dataclasses import replace

import uvloop
from aiohttp import web

from service import development, http
from service.app import ASSEMBLY, build, reload_catalog
from service.config import Config
from service.errors import Upstream
from service.feature import Feature
from service.features import FEATURES
from service.kernel import log as logs
from service.kernel.log.reports import reported
from service.ops.operations import Operations
from service.telegram import webhook
from service.telegram.client.registration import set_webhook_if_differs
from service.telegram.update import ALLOWED_UPDATES

# Heroku and Render kill 30 s after SIGTERM. What is under way has a door's budget of 5 s; the polling (3 s), the
# courier (5 s) and the pool (5 s) take their time after it.
SHUTDOWN_TIMEOUT_S = 15.0
# Who is refused before the whole body came may go on sending for so long, in order to hear the refusal.
LINGER_S = 2.0
# Telegram not reached at start is no reason not to serve: the webhook that is set stays.
REGISTER_RETRY_S = 5.0
# Objects made, and collections of the younger generation, before each collection. Python's own (700, 10, 10) spend a
# tenth of an update's time on people in the cache; the few cycles that an update leaves can wait for ten thousand.
GC_THRESHOLDS = (10_000, 20, 100)

Welcome = Callable[[Config, int], None]

log = logs.Log("app")


def run(config: Config, *, features: Sequence[Feature] = FEATURES, welcome: Welcome | None = None) -> None:
    """Serve until SIGTERM or SIGINT; once the doors are open, `welcome` is told the settings and the port.

    Raises ServiceError when development's database does not start, ConfigError where the catalogue is not usable.
    """
    _live(config, lambda prepared: serve(prepared, features, welcome))


def work(config: Config, *, features: Sequence[Feature] = FEATURES) -> None:
    """The same without doors: everything that is done behind them, until SIGTERM or SIGINT. Raises as `run`."""
    _live(replace(config, telegram_mode="webhook"), lambda prepared: labour(prepared, features))


def _live(config: Config, life: Callable[[Config], Coroutine[object, object, None]]) -> None:
    logs.configure(config.log_level, config.log_format)
    with development.prepared(config) if config.development else nullcontext(config) as config:
        for secret in config.secrets():
            logs.hide(secret)
        with reported(config.sentry_dsn, environment=config.environment, hosts=config.database.hosts):
            uvloop.run(life(config))
    logs.flush()


async def serve(config: Config, features: Sequence[Feature], welcome: Welcome | None) -> None:
    """Start, say so, and stop when the process is told to."""
    stop = _stop_signal()
    app = _built(config, features)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S, lingering_time=LINGER_S)
    await runner.setup()
    lifecycle = app[ASSEMBLY].operations.lifecycle
    site = web.TCPSite(runner, config.host, config.port)
    await site.start()
    _settle_memory()
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
    http.observations.settle()
    log.info("stopped")


async def labour(config: Config, features: Sequence[Feature]) -> None:
    """Start without opening a door, and stop when the process is told to."""
    stop = _stop_signal()
    app = _built(config, features)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    _settle_memory()
    log.info("working")
    await stop.wait()
    log.info("stopping")
    await runner.cleanup()
    log.info("stopped")


def _built(config: Config, features: Sequence[Feature]) -> web.Application:
    app = build(config, features=features)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload_catalog, app)
    return app


def _settle_memory() -> None:
    """What the start made stays for good: the collector need not look at it again, nor at anything that often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _stop_signal() -> asyncio.Event:
    """Set by the first SIGTERM or SIGINT; a second one changes nothing."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _register(operations: Operations) -> None:
    """Tell Telegram where we are, and learn our own name. Serves meanwhile; tries until it is done."""
    config = operations.config
    while True:
        try:
            me = await operations.bot.call("getMe")
            operations.bot.username = operations.dispatcher.bot_username = me.get("username")
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
