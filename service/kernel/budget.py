"""A bound on how long work may take, for work that comes by the thousand.

It knows tasks and one deadline for all of them; it knows nothing of the work. `asyncio.timeout` sets a timer for
each piece of work, which costs as much as handling a small update; here one timer looks after all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from service.errors import DeadlineExceeded

T = TypeVar("T")

# How late work may be ended: a hundredth of a door's budget of five seconds.
TICK_S = 0.05


class Budget:
    """Seconds that each piece of work may take. One task is in one piece at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadlines: dict[asyncio.Task[object], float] = {}
        self._overdue: set[asyncio.Task[object]] = set()
        self._watching = False

    async def spend(self, work: Awaitable[T]) -> T:
        """The work's result. Raises DeadlineExceeded when it takes longer."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        self._deadlines[task] = loop.time() + self._seconds
        if not self._watching:
            self._watching = True
            loop.call_later(TICK_S, self._watch, loop)
        try:
            return await work
        except asyncio.CancelledError:
            if task not in self._overdue or task.uncancel() > 0:
                raise
            raise DeadlineExceeded from None
        finally:
            if self._deadlines.pop(task, None) is None:
                self._overdue.discard(task)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        overdue = [task for task, deadline in self._deadlines.items() if deadline <= now]
        for task in overdue:
            self._overdue.add(task)
            task.cancel()
            del self._deadlines[task]
        self._watching = bool(self._deadlines)
        if self._watching:
            loop.call_later(TICK_S, self._watch, loop)
