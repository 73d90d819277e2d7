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
        self._answers: OrderedDict[K, asyncio.Future[V]] = OrderedDict()
        self._most = most
        self._worth_it = worth_it

    async def answer(self, key: K, work: Callable[[], Awaitable[V]]) -> tuple[V, bool]:
        """The answer, and whether it is an earlier one. Raises what the work raises.

        Those who wait hear Unavailable when the work was cancelled, or failed in a way that is not for the outside.
        """
        earlier = self._answers.get(key)
        if earlier is not None:
            return await asyncio.shield(earlier), True
        future = self._begin(key)
        try:
            value = await work()
        except BaseException as error:
            self._drop(key, future)
            future.set_exception(error if isinstance(error, ServiceError) else Unavailable())
            future.exception()  # told to those who wait for it; with nobody waiting it is no news
            raise
        if not self._worth_it(value):
            self._drop(key, future)
        future.set_result(value)
        return value, False

    def forget(self, key: K) -> None:
        """The next one who asks has the work done again."""
        self._answers.pop(key, None)

    def _begin(self, key: K) -> asyncio.Future[V]:
        future: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._answers[key] = future
        if len(self._answers) > self._most:
            self._answers.popitem(last=False)
        return future

    def _drop(self, key: K, future: asyncio.Future[V]) -> None:
        if self._answers.get(key) is future:  # else it was forgotten, and somebody is at work again
            del self._answers[key]
