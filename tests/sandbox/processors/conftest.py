"""Fixtures of the processors' own tests: no database, no service of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.processors.shop import Shop, opened


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with opened() as shop:
        yield shop
