"""The invariant of the money, after each test; and rooms for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.feature import Rooms
from service.kernel.database import Database
from tests.features.referrals.programme import rooms_of
from tests.payments.money import BROKEN, Noon


@pytest.fixture
def clock() -> Noon:
    return Noon()


@pytest.fixture
def rooms(db: Database, clock: Noon) -> Rooms:
    return rooms_of(db, clock=clock)


@pytest.fixture(autouse=True)
async def invariant(database_url: str) -> AsyncIterator[None]:
    yield
    connection = await asyncpg.connect(database_url)
    assert await connection.fetch(BROKEN) == []
    await connection.close()
