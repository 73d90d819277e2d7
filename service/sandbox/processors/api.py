"""One request to a processor's API: what it carries, how it is refused, when it is a repeat, what it shall suffer.

It must not know any processor, nor HTTP servers.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import orjson

Json = dict[str, Any]

ZERO_DECIMAL = frozenset(("jpy",))  # of the currencies the sandbox takes
REMEMBERED_S = 86_400  # how long YooKassa and Stripe know an idempotency key


class NotPayable(ValueError):
    """A person tried what the state of the payment does not allow, or there is no such payment."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and a JSON body."""

    body: Json
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The API says no, in the words of its answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(str(answer.body))
        self.answer = answer


class Dropped(Exception):
    """The connection is to be closed without an answer."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request. `here` is the sandbox's own address, `ids` are the parts of the path that the template names."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    here: str
    ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.ids["id"]

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def asked(self, name: str) -> str | None:
        """The last value of a query parameter."""
        return next((value for key, value in reversed(self.query) if key == name), None)

    def all_asked(self, name: str) -> list[str]:
        """All values of a query parameter that may be repeated."""
        return [value for key, value in self.query if key == name]


Handler = Callable[[Ask], Answer]


@dataclass(frozen=True, slots=True)
class Operation:
    """What one method of one path does. `template` has {id} where any one segment fits."""

    method: str
    template: str
    run: Handler

    def ids(self, path: str) -> Mapping[str, str] | None:
        """The named segments of a path that fits, else None."""
        wanted, given = self.template.split("/"), path.split("/")
        if len(wanted) != len(given):
            return None
        pairs = list(zip(wanted, given, strict=True))
        if any(want != have for want, have in pairs if not want.startswith("{")):
            return None
        return {want.strip("{}"): have for want, have in pairs if want.startswith("{")}


@dataclass(frozen=True, slots=True)
class Bill:
    """What the pay page shows of a payment. `back` is where the person came from, "" when nobody said."""

    id: str
    title: str
    amount: str
    seller: str
    status: str
    payable: bool
    back: str


class Emulator(Protocol):
    """One processor, as the doors see it."""

    name: str
    base: str  # what of the path comes before an operation's template

    def operations(self) -> Sequence[Operation]: ...

    def answer(self, operation: Operation | None, ask: Ask) -> Answer:
        """Do what is asked for, or refuse; None where no operation fits the path."""

    def broken(self, status: int, ask: Ask, *, done: bool) -> Answer:
        """The processor's own words for a fault; `done` tells that the work was done before it."""

    def bill(self, payment_id: str) -> Bill | None: ...

    def pay(self, payment_id: str) -> Json: ...

    def cancel(self, payment_id: str) -> Json: ...


class KeyReused(Exception):
    """The key was used before, for another request."""


class Repeats:
    """Answers by idempotency key."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, Any, Answer]] = {}

    def known(self, key: str, request: Any) -> Answer | None:
        """The answer that this request got before under this key. Raises KeyReused when it was another request."""
        kept = self._kept.get(key)
        if kept is None or kept[0] + REMEMBERED_S <= self._clock():
            return None
        if kept[1] != request:
            raise KeyReused
        return kept[2]

    def keep(self, key: str, request: Any, answer: Answer) -> None:
        # As it is now: what the body was made of goes on changing.
        frozen = Answer(orjson.loads(orjson.dumps(answer.body)), answer.status, answer.headers)
        self._kept[key] = (self._clock(), request, frozen)


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request that came in. `method` names the operation; `status` is 0 when no answer was given."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes = field(repr=False)
    key: str
    status: int
    time: float


@dataclass(frozen=True, slots=True)
class Fault:
    """What a call shall suffer. `status` only counts for the kind answer."""

    kind: Literal["answer", "hang", "drop"]
    after: bool
    status: int = 0


class Faults:
    """What the next calls shall suffer, by operation; "*" stands for any. `after`: the work is done nevertheless."""

    def __init__(self) -> None:
        self._asked: dict[str, deque[Fault]] = {}
        self._released = asyncio.Event()

    def fail(self, operation: str, *, status: int = 500, after: bool = False, times: int = 1) -> None:
        self._ask(operation, Fault("answer", after, status), times)

    def flood(self, operation: str, *, after: bool = False, times: int = 1) -> None:
        """429, too many requests."""
        self._ask(operation, Fault("answer", after, 429), times)

    def hang(self, operation: str, *, after: bool = False, times: int = 1) -> None:
        """No answer until clear() or stop(), then a closed connection."""
        self._ask(operation, Fault("hang", after), times)

    def drop(self, operation: str, *, after: bool = False, times: int = 1) -> None:
        """The connection is closed at once."""
        self._ask(operation, Fault("drop", after), times)

    def clear(self) -> None:
        """Forget what was asked and let go what hangs."""
        self._asked.clear()
        self._released.set()
        self._released = asyncio.Event()

    def take(self, operation: str) -> Fault | None:
        for name in (operation, "*"):
            if faults := self._asked.get(name):
                return faults.popleft()
        return None

    async def released(self) -> None:
        await self._released.wait()

    def _ask(self, operation: str, fault: Fault, times: int) -> None:
        self._asked.setdefault(operation, deque()).extend([fault] * times)


def new_uuid() -> str:
    return str(uuid.uuid4())


def shown(amount: int, currency: str) -> str:
    """ "10.00 USD" of 1000 cents."""
    number = str(amount) if currency in ZERO_DECIMAL else f"{amount // 100}.{amount % 100:02d}"
    return f"{number} {currency.upper()}"
