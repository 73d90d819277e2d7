"""Asking processors, of which some do not answer.

It knows which of them one run may still ask; it knows nothing of what they are asked.
"""

from __future__ import annotations

from collections import Counter

from service.errors import Upstream
from service.feature import Rooms
from service.kernel.log import Log
from service.payments.providers import Providers

# One thing may be hard to answer for; the second one that fails is the processor. At four seconds each a run that
# finds all of them dead is still a short one.
FAILURES_MAX = 2

log = Log("payments")


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
