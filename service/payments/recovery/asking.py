"""One run through what is due, asking processors of which some do not answer.

It knows how a run takes what is due, and which processors it may still ask; it knows nothing of what they are asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from service.errors import Upstream
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts
from service.kernel.log import Log
from service.payments.providers import Providers

# One thing may be hard to answer for; the second one that fails is the processor. At four seconds each a run that
# finds all of them dead is still a short one.
FAILURES_MAX = 2

T = TypeVar("T")

log = Log("payments")


@dataclass(frozen=True, slots=True)
class Due(Generic[T]):
    """What is to be taken up: so many at once, so often in one run; each that is claimed is put off by a pause that
    grows from `first` to `longest`.
    """

    claim: Callable[..., Awaitable[Sequence[T]]]
    first: timedelta
    longest: timedelta
    batch: int
    rounds: int


class Asking:
    """The processors that one run asks: each until it wants to be left alone, or fails repeatedly."""

    def __init__(self, rooms: Rooms) -> None:
        self._names = {provider.name for provider in rooms.of(Providers)}
        self._failures = Counter[str]()

    @property
    def names(self) -> list[str]:
        """Those that may still be asked."""
        return sorted(self._names)

    def may_ask(self, name: str) -> bool:
        return name in self._names

    def failed(self, name: str, error: Upstream) -> None:
        """It said no, or nothing. That it refuses one thing for good says nothing of the others."""
        log.info("processor did not help", provider=name, reason=error.message)
        if error.permanent:
            return
        self._failures[name] += 1
        if error.retry_after is not None or self._failures[name] >= FAILURES_MAX:
            self._names.discard(name)


async def work_through(rooms: Rooms, due: Due[T], tried: Callable[[Rooms, Asking, T], Awaitable[str]]) -> Counts:
    """Try each that is due, and count what became of them. Those of processors that do not answer are left."""
    asking, counts = Asking(rooms), Counter[str]()
    for _ in range(due.rounds):
        claimed = await _claimed(rooms, due, asking)
        for one in claimed:
            counts[await tried(rooms, asking, one)] += 1
        if not claimed:
            break
    return counts


async def _claimed(rooms: Rooms, due: Due[T], asking: Asking) -> Sequence[T]:
    async with rooms.of(Database).acquire() as conn:
        return await due.claim(
            conn,
            now=rooms.of(Clock).now(),
            first=due.first,
            longest=due.longest,
            providers=asking.names,
            batch=due.batch,
        )
