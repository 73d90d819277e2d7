"""Fixtures of the sandbox's own tests: no database, no bot of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from service.sandbox import Person, Sandbox
from tests.sandbox.world import SECRET, TOKEN, Bot, Clock, Telegram, running, serving


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def telegram(clock: Clock) -> AsyncIterator[Telegram]:
    """A sandbox that sends a failed update again at once."""
    async with running(Sandbox(TOKEN, clock, schedule=lambda failures, retry_after: 0.0)) as telegram:
        yield telegram


@pytest.fixture
async def bot(telegram: Telegram) -> AsyncIterator[Bot]:
    """A bot whose webhook is set."""
    bot = Bot()
    app = web.Application()
    app.router.add_post("/hook", bot.handle)
    async with serving(app) as address:
        bot.url = f"{address}/hook"
        await telegram.does("setWebhook", url=bot.url, secret_token=SECRET)
        yield bot


@pytest.fixture
def payer(telegram: Telegram) -> Person:
    return telegram.sandbox.person("payer")


@pytest.fixture
def friend(telegram: Telegram) -> Person:
    return telegram.sandbox.person("friend")
