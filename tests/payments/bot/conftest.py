"""A shop that sells for Stars, and the invariant of the money after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.payments.bot.shop import Shop, open_shop
from tests.payments.money import BROKEN


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    async with open_shop(database_url) as opened:
        yield opened


@pytest.fixture(autouse=True)
async def invariant(database_url: str) -> AsyncIterator[None]:
    yield
    connection = await asyncpg.connect(database_url)
    assert await connection.fetch(BROKEN) == []
    await connection.close()
