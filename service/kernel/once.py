"""One answer for all copies of a question: those that come meanwhile wait for it, those that come later find it.

It knows keys and answers, a bounded number of them, in memory; it knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from service.errors import ServiceError, Unavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Once(Generic[K, V]):
    """Remembers the `most` latest answers that are worth it. An error is told to all who wait, and forgotten."""

    def __init__(self, most: int, *, worth_it: Callable[[V], bool]) -> None:
        self._answers: OrderedDict[K, V] = OrderedDict()
        # Of each question at work: what those who came meanwhile wait for; mostly nobody does.
        self._at_work: dict[K, asyncio.Future[V] | None] = {}
        self._most = most
        self._worth_it = worth_it

    async def answer(self, key: K, work: Callable[[], Awaitable[V]]) -> tuple[V, bool]:
        """The answer, and whether it is an earlier one. Raises what the work raises.

        Those who wait hear Unavailable when the work was cancelled, or failed in a way that is not for the outside.
        """
        if key in self._answers:
            return self._answers[key], True
        if key in self._at_work:
            return await asyncio.shield(self._outcome(key)), True
        self._at_work[key] = None
        try:
            value = await work()
        except BaseException as error:
            if waiting := self._at_work.pop(key):
                waiting.set_exception(error if isinstance(error, ServiceError) else Unavailable())
                waiting.exception()  # those who waited may have left
            raise
        self._remember(key, value)
        if waiting := self._at_work.pop(key):
            waiting.set_result(value)
        return value, False

    def forget(self, key: K) -> None:
        """The next one who asks has the work done again, or waits for what is at work."""
        self._answers.pop(key, None)

    def _outcome(self, key: K) -> asyncio.Future[V]:
        outcome = self._at_work[key]
        if outcome is None:
            outcome = self._at_work[key] = asyncio.get_running_loop().create_future()
        return outcome

    def _remember(self, key: K, value: V) -> None:
        if not self._worth_it(value):
            return
        self._answers[key] = value
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)
