"""The service as a test runs it: inside the test's own event loop, on a free port, with the sandbox as Telegram.

`async with serving(database_url) as bot:` gives a Served: post updates, be a person, look at health.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from service import app as composition
from service.config import Config, load
from service.feature import Feature
from service.features import FEATURES
from service.kernel.clock import Clock
from service.ops.operations import Operations
from service.sandbox import Sandbox
from service.telegram.webhook import PATH, SECRET_HEADER
from tests.cast import OPERATOR, Person
from tests.waiting import until

TOKEN = "4242:test-token-of-a-bot-that-nobody-has-ever-made"
SECRET = "test-secret"
ADMIN_TOKEN = "test-admin-token"
# The accounts of the sandbox's processors; where they listen a test says, and else nobody does.
PROCESSORS = {
    "YOOKASSA_SHOP_ID": "100500",
    "YOOKASSA_SECRET_KEY": "test_sandbox-secret-key",
    "YOOKASSA_API_BASE": "http://127.0.0.1:9",
    "STRIPE_SECRET_KEY": "sk_test_sandbox",
    "STRIPE_WEBHOOK_SECRET": "whsec_sandbox",
    "STRIPE_API_BASE": "http://127.0.0.1:9",
    "POLAR_ACCESS_TOKEN": "polar_oat_sandbox",
    "POLAR_WEBHOOK_SECRET": "polar_whs_sandbox",
    "POLAR_PRODUCT_ID": "5a1f7c9e-2b3d-4e5f-8a9b-0c1d2e3f4a5b",
    "POLAR_API_BASE": "http://127.0.0.1:9",
}
# Update ids grow over the whole test run, as Telegram's do.
update_ids = itertools.count(1_000)


def config_for(database_url: str, **settings: str) -> Config:
    """Development's settings for a test; `settings` by their environment names."""
    environ = {
        "DATABASE_URL": database_url,
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_API_BASE": "http://127.0.0.1:9",  # nobody listens there
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "ADMIN_IDS": str(OPERATOR.user_id),
        "MIGRATE_ON_START": "off",
        "LOG_LEVEL": "WARNING",
        **PROCESSORS,
    }
    return load({name: value for name, value in {**environ, **settings}.items() if value})


def message(person: Person, text: str, **more: Any) -> dict[str, Any]:
    """An update in which a person says something."""
    body = {"message_id": 1, "date": 1, "from": person.wire, "chat": {"id": person.user_id, "type": "private"}}
    return {"update_id": next(update_ids), "message": {**body, "text": text, **more}}


def pressed(person: Person, data: str) -> dict[str, Any]:
    """An update in which a person presses an inline button."""
    shown = {"message_id": 5, "date": 1, "chat": {"id": person.user_id, "type": "private"}}
    query = {"id": "77", "from": person.wire, "message": shown, "data": data}
    return {"update_id": next(update_ids), "callback_query": query}


@dataclass(slots=True)
class Served:
    """A running service and the means to talk to it."""

    base: str
    http: aiohttp.ClientSession
    operations: Operations

    async def post(self, update: dict[str, Any], secret: str = SECRET) -> tuple[int, Any]:
        """Deliver an update as Telegram does: the status, and the method call in the response (or None)."""
        async with self.http.post(self.base + PATH, json=update, headers={SECRET_HEADER: secret}) as response:
            return response.status, await response.json(content_type=None)

    async def says(self, person: Person, text: str) -> Any:
        """What the bot answers to a text."""
        return (await self.post(message(person, text)))[1]

    async def get(self, path: str, *, admin: bool = False) -> tuple[int, Any]:
        """The status and the JSON of a page."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"} if admin else {}
        async with self.http.get(self.base + path, headers=headers) as response:
            return response.status, await response.json(content_type=None)


@asynccontextmanager
async def serving(
    database_url: str,
    *,
    features: Sequence[Feature] = FEATURES,
    clock: Clock | None = None,
    away: bool = False,
    **settings: str,
) -> AsyncIterator[Served]:
    """The whole service, started and stopped as in production, on a port of its own.

    On a busy machine the first look at the database may come too late; unless it is `away`, a test begins after it.
    """
    app = composition.build(config_for(database_url, **settings), features=features, clock=clock)
    async with listening(app) as base, aiohttp.ClientSession() as http:
        operations = app[composition.ASSEMBLY].operations
        operations.lifecycle.phase = "serving"
        if not away:
            await until(lambda: operations.switchboard.probed_at, within=30)
        yield Served(base, http, operations)


@asynccontextmanager
async def telegram(**how: Any) -> AsyncIterator[tuple[Sandbox, str]]:
    """Telegram's stand-in, made as a test wants it, and the TELEGRAM_API_BASE where it listens."""
    sandbox, app = Sandbox(TOKEN, **how), web.Application()
    sandbox.mount(app)
    async with listening(app) as base:
        yield sandbox, f"{base}/sandbox"


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    """The app on a free port of the loopback interface."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
