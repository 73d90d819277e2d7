"""The service with the processors' stand-ins, whose callbacks only gather, and an operator at his desk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.processors import Market, Till, market
from tests.payments.money import BROKEN
from tests.payments.operators.desk import Desk
from tests.serving import serving


@pytest.fixture(autouse=True)
async def invariant(raw: Any) -> AsyncIterator[None]:
    yield
    assert await raw.fetch(BROKEN) == []


@pytest.fixture
async def stands() -> AsyncIterator[Market]:
    async with market() as stands:
        stands.processors.hold()
        yield stands


@pytest.fixture
async def desk(database_url: str, stands: Market) -> AsyncIterator[Desk]:
    async with serving(database_url, **stands.settings) as served:
        stands.webhooks.append(served.base)
        yield Desk(served)


@pytest.fixture
def bot(desk: Desk) -> Till:
    return Till(desk.served.operations.switchboard.mounted.rooms)
