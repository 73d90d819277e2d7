"""Fixtures of the kernel's tests."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture
async def no_complaints() -> AsyncIterator[None]:
    """Nothing may go wrong behind everybody's back: no exception that nobody retrieved, no callback that raised."""
    complaints: list[str] = []

    def complain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.append(f"{context['message']}: {context.get('exception')!r}")

    asyncio.get_running_loop().set_exception_handler(complain)
    yield
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
