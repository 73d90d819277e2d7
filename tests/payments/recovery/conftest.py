"""The rooms of money with processors to ask: the emulators over real HTTP, or one that says what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from service.feature import Rooms
from service.kernel.database import Database
from service.payments.providers import Providers, opened
from service.payments.recovery.missed_payments import Positions
from service.sandbox import Sandbox
from service.telegram.client import BotApi
from service.telegram.pacing import Pacing
from tests.e2e.processors import Market, Till, market
from tests.payments.money import BROKEN, Noon, rooms_for
from tests.payments.recovery.shop import FakeShop, Moving
from tests.serving import TOKEN, telegram


@pytest.fixture(autouse=True)
async def invariant(raw: Any) -> AsyncIterator[None]:
    yield
    assert await raw.fetch(BROKEN) == []


@pytest.fixture
def shop() -> FakeShop:
    return FakeShop()


@pytest.fixture
def noon() -> Noon:
    return Noon()


@pytest.fixture
def faked(db: Database, noon: Noon, shop: FakeShop) -> Rooms:
    """With the one fake processor, at a noon that a test moves."""
    return rooms_for(db, noon).with_({Providers: Providers([shop]), Positions: Positions()})


@pytest.fixture
async def stands() -> AsyncIterator[Market]:
    """The emulators, whose callbacks only gather: all of them are missed."""
    async with market() as stands:
        stands.processors.hold()
        yield stands


@pytest.fixture
async def stars() -> AsyncIterator[tuple[Sandbox, str]]:
    """Telegram, and where it is."""
    async with telegram() as found:
        yield found


@pytest.fixture
def clock() -> Moving:
    return Moving()


@pytest.fixture
async def rooms(db: Database, clock: Moving, stands: Market, stars: tuple[Sandbox, str]) -> AsyncIterator[Rooms]:
    """With the emulators, at a time that a test moves on."""
    async with aiohttp.ClientSession() as http:
        bot = BotApi(token=TOKEN, base=stars[1], session=http, clock=clock, pacing=Pacing())
        here = rooms_for(db, clock, **stands.settings)
        here = here.with_({aiohttp.ClientSession: http, Positions: Positions(), BotApi: bot})
        yield here.with_({Providers: opened(here)})


@pytest.fixture
def till(rooms: Rooms) -> Till:
    return Till(rooms)
