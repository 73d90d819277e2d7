"""Waiting for a condition, with a deadline: never for an amount of time that is hoped to be enough."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

LOOK_EVERY_S = 0.01


async def until(condition: Callable[[], object | Awaitable[object]], within: float = 5.0) -> float:
    """Wait until it holds; the seconds that it took. Fails after `within` seconds."""
    started = time.monotonic()
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await holds
        took = time.monotonic() - started
        if holds:
            return took
        assert took < within, f"not within {within} s: {inspect.getsource(condition).strip()}"
        await asyncio.sleep(LOOK_EVERY_S)
