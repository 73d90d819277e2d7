"""The service with a catalogue of one model."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.features.projects.shelf import sell_cards
from tests.serving import Served, serving


@pytest.fixture
async def served(database_url: str) -> AsyncIterator[Served]:
    async with serving(database_url) as running:
        sell_cards(running)
        yield running
