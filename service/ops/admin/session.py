"""A log-in that lasts: the value of the cookie, and how often one may try. Pure but for counting.

It knows the operators' token and the time; it knows no HTTP. The cookie holds no token: it holds the time at which
the log-in ends, and an HMAC over it under the token. Every instance can tell it is genuine, none keeps anything,
and another ADMIN_TOKEN ends all log-ins.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime, timedelta

from cachetools import TTLCache

# A working day, so that a forgotten browser is not open for ever.
LASTS = timedelta(hours=12)
# Wrong tokens of one address before it must pause: plenty for a person, nothing for a search.
TRIES = 10
PAUSE_S = 60.0
ADDRESSES_MAX = 10_000  # remembered at once, about a megabyte


def opened(token: str, now: datetime) -> str:
    """The value of a cookie for a log-in that begins now."""
    ends = str(int((now + LASTS).timestamp()))
    return f"{ends}.{_signature(token, ends)}"


def is_open(token: str, value: str, now: datetime) -> bool:
    """Whether `opened` wrote the value, under this token, and the log-in has not ended."""
    ends, _, signature = value.partition(".")
    genuine = same(signature, _signature(token, ends))
    return genuine and now.timestamp() < int(ends)


def same(given: str, expected: str) -> bool:
    """Whether two texts are equal, in a time that tells nothing of where they differ. Any bytes may be given."""
    return hmac.compare_digest(given.encode(errors="surrogateescape"), expected.encode())


def _signature(token: str, ends: str) -> str:
    signed = f"ballast operator until {ends}".encode(errors="surrogateescape")
    return hmac.new(token.encode(), signed, "sha256").hexdigest()


class Tries:
    """Wrong tokens by address. Behind a proxy all share one address: then all pause together, and log-ins go on."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._wrong: TTLCache[str, int] = TTLCache(ADDRESSES_MAX, PAUSE_S, timer=monotonic)

    def count_wrong(self, address: str) -> None:
        self._wrong[address] = self._wrong.get(address, 0) + 1

    def are_used_up(self, address: str) -> bool:
        """True from the last wrong one on, for PAUSE_S."""
        return self._wrong.get(address, 0) >= TRIES
