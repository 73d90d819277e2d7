"""A workshop on a database of the test's own, and the invariant of the money after each test.

workshop    the rooms of a process
another     makes those of one more, on the same database
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from service.features.generation.in_process import InProcess
from service.features.generation.queue import worker
from service.kernel.database import Database, DatabaseSettings
from tests.cast import FRIEND, PAYER
from tests.features.generation.queue.workshop import Another, Maker, Workshop, people
from tests.payments.money import BROKEN, Noon


@pytest.fixture
def clock() -> Noon:
    return Noon()


@pytest.fixture
async def another(database_url: str, clock: Noon) -> AsyncIterator[Another]:
    async with AsyncExitStack() as stack:

        async def open_one(maker: Maker | None = None, **settings: str) -> Workshop:
            database = Database(DatabaseSettings(database_url))
            workshop = Workshop(database, clock, maker, **settings)  # its bell listens from the start
            await database.start()
            stack.push_async_callback(database.stop)
            stack.push_async_callback(workshop.rooms.of(InProcess).stop)
            return workshop

        yield open_one


@pytest.fixture
async def workshop(another: Another, raw: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Workshop]:
    monkeypatch.setattr(worker, "STOP_GRACE_S", 0.2)
    await people(raw, PAYER.user_id, FRIEND.user_id)
    yield await another()
    assert await raw.fetch(BROKEN) == []
