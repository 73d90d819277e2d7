"""How often: when the next message may go out, and whether a person sends more than a person does. Pure.

It knows Telegram's limits and the times already given out; it knows nothing of calls, and waits for nothing.
https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

Chat = int | str  # a number, negative for groups and channels; or "@channel"


class Limit(NamedTuple):
    """At most `count` in any `seconds`, wherever one starts to measure."""

    most: int
    seconds: float


OVERALL = Limit(30, 1.0)  # "about 30 users per second"
PER_CHAT = Limit(3, 3.0)  # one a second, where an answer of three messages need not wait
PER_GROUP = Limit(20, 60.0)  # "not more than 20 messages per minute to the same group"
MOST_PEOPLE = 20_000  # of a FloodGuard, some 3 MB; whoever is forgotten starts with a full burst again


class Window:
    """The times given out under one limit, sorted; some of them lie ahead."""

    __slots__ = ("_limit", "_times")

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._times: list[float] = []

    def earliest(self, at: float) -> float:
        """The first time from `at` on that keeps the limit, among times before and after it."""
        most, seconds = self._limit
        while True:
            place = bisect_right(self._times, at)
            near = [*self._times[max(0, place - most) : place], at, *self._times[place : place + most]]
            full = [first for first, last in zip(near, near[most:], strict=False) if first + seconds > last]
            if not full:
                return at
            # A window that `at` itself begins is left only behind its second time.
            at = (full[0] if full[0] < at else near[near.index(at) + 1]) + seconds

    def take(self, at: float, now: float) -> None:
        insort(self._times, at)
        del self._times[: bisect_right(self._times, now - self._limit.seconds)]

    def idle(self, now: float) -> bool:
        return not self._times or self._times[-1] <= now - self._limit.seconds

    @property
    def last(self) -> float:
        return self._times[-1] if self._times else float("-inf")


class Pacing:
    """Gives every message its time. Whoever asks first in a chat goes first; a busy chat delays no other.

    Times are seconds of any clock that only grows. A chat is remembered for as long as it could be limited.
    """

    def __init__(self) -> None:
        self._overall = Window(OVERALL)
        self._chats: OrderedDict[Chat, tuple[Window, ...]] = OrderedDict()
        self._silent: dict[Chat, float] = {}  # chat or method -> until when

    def reserve(self, chat: Chat, now: float, most: float = float("inf")) -> float:
        """Seconds until the next message to this chat may go out; that time is then given out.

        A delay over `most` is told, but nothing is given out.
        """
        windows = self._windows(chat, now)
        at = max(now + self.silence_left(chat, now), windows[0].last)
        at = _agreed((*windows, self._overall), at)
        if at - now <= most:
            for window in (*windows, self._overall):
                window.take(at, now)
        return at - now

    def silence(self, what: Chat, until: float) -> None:
        """Telegram asked for silence in this chat; or, where no chat was named, for this method."""
        self._silent[what] = max(until, self._silent.get(what, until))

    def silence_left(self, what: Chat, now: float) -> float:
        """Seconds of silence that are left for this chat or method; 0.0 when there is none."""
        if self._silent:
            self._silent = {one: until for one, until in self._silent.items() if until > now}
        return self._silent.get(what, now) - now

    def __len__(self) -> int:
        """How many chats are remembered."""
        return len(self._chats)

    def _windows(self, chat: Chat, now: float) -> tuple[Window, ...]:
        self._forget_idle(now)
        if chat not in self._chats:
            limits = (PER_CHAT,) if isinstance(chat, int) and chat > 0 else (PER_CHAT, PER_GROUP)
            self._chats[chat] = tuple(map(Window, limits))
        self._chats.move_to_end(chat)
        return self._chats[chat]

    def _forget_idle(self, now: float) -> None:
        """The chat that was longest unused is looked at first; a group at the front is kept for a minute."""
        while self._chats:
            chat, windows = next(iter(self._chats.items()))
            if not all(window.idle(now) for window in windows):
                return
            del self._chats[chat]


def _agreed(windows: tuple[Window, ...], at: float) -> float:
    """The first time from `at` on that suits every window."""
    while (later := max(window.earliest(at) for window in windows)) > at:
        at = later
    return at


class FloodGuard:
    """Lets each one have `burst` at once and `rate` a second after that."""

    def __init__(self, rate: float, burst: int) -> None:
        self._interval = 1.0 / rate
        self._slack = (burst - 1) * self._interval
        # For each the time at which the bucket is full again (the generic cell rate algorithm).
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def allows(self, who: Hashable, now: float) -> bool:
        """Whether one more is within the limit; `now` is seconds of a clock that only grows.

        What is refused costs nothing, so that whoever stops is heard again soon.
        """
        full_at = max(now, self._full_at.pop(who, now))
        allowed = full_at - now <= self._slack + 1e-9  # the sum of many intervals is not quite their product
        self._full_at[who] = full_at + self._interval if allowed else full_at
        if len(self._full_at) > MOST_PEOPLE:
            self._full_at.popitem(last=False)
        return allowed
