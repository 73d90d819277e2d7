"""Fixtures of the providers: their stand-ins, and a server that is not one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.features.generation.providers.makers import Makers, Odd, makers_at_work, odd_server


@pytest.fixture
async def makers() -> AsyncIterator[Makers]:
    async with makers_at_work() as made:
        yield made


@pytest.fixture
async def odd() -> AsyncIterator[Odd]:
    async with odd_server() as made:
        yield made
