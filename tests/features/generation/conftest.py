"""A studio whose models are drawn on this machine, and the invariant of the money after each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.features.generation.bot.studio import open_studio
from tests.payments.bot.shop import Shop
from tests.payments.money import BROKEN


@pytest.fixture
async def studio(database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_studio(database_url, tmp_path) as opened:
        yield opened
    connection = await asyncpg.connect(database_url)
    assert await connection.fetch(BROKEN) == []
    await connection.close()
