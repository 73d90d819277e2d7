"""A processor that says what a test wants it to say, a clock that a test moves on, and what both leave in tables."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from service.errors import Upstream
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.payments import inbox
from service.payments.event import Payment, Refund, Report
from service.payments.providers.provider import Created
from service.text import Language, Text
from tests.payments.money import Noon
from tests.waiting import until

numbers = itertools.count(1)
STEP_S = 0.0005


class Moving(Clock):
    """The machine's clock, moved on by a test: emulators have clocks of their own."""

    def __init__(self) -> None:
        self.moved = timedelta()

    def now(self) -> datetime:
        return super().now() + self.moved

    def forward(self, **by: float) -> None:
        self.moved += timedelta(**by)


class FakeShop:
    """`answers` by what is asked: a value, an error to raise, or several to be given in turn. `asked`: what was."""

    title = Text(en="Shop", ru="Shop")
    currencies = frozenset({"RUB"})
    live = False

    def __init__(self, name: str = "yookassa", *, asks_back: bool = False) -> None:
        self.name = name
        self.asks_back = asks_back
        self.said: dict[bytes, Report | Exception] = {}
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        self.sinces: list[datetime] = []

    def says(self, report: Report) -> Report:
        """The same with a body of its own, from which it can be read again."""
        body = f"body {next(numbers)}".encode()
        self.said[body] = msgspec.structs.replace(report, body=body)
        return msgspec.structs.replace(report, body=body)

    def _answer(self, question: str) -> Any:
        self.asked.append(question)
        answer = self.answers.get(question, Upstream("no answer"))
        if isinstance(answer, list) and question not in ("look_up", "listed"):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Everything is its own."""

    def parse(self, body: bytes) -> Report:
        said = self.said[body]
        if isinstance(said, Exception):
            raise said
        return said

    async def confirm(self, report: Report) -> Report:
        return self._answer("confirm")

    async def create(self, payment: Payment, *, title: str, language: Language) -> Created:
        return self._answer("create")

    async def look_up(self, payment: Payment) -> list[Report]:
        return self._answer("look_up")

    async def capture(self, payment: Payment) -> Report:
        return self._answer("capture")

    async def refund(self, refund: Refund, payment: Payment) -> Report:
        return self._answer("refund")

    async def listed(self, since: datetime) -> AsyncIterator[Report]:
        self.sinces.append(since)
        for report in self._answer("listed"):
            if isinstance(report, Exception):
                raise report
            yield report


# Whoever was cancelled holds his locks until the server has noticed; a run that comes before would find nothing due.
AT_WORK = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' AND backend_type = 'client backend'
"""


async def cancelled_ever_later(run: Callable[[], Coroutine[Any, Any, Any]], clock: Noon | Moving, raw: Any) -> int:
    """Begin it again and again, two hours apart, and cancel it later each time until it ends; how often it did not."""
    for number in itertools.count():
        task = asyncio.create_task(run())
        await asyncio.wait([task], timeout=number * STEP_S)
        if task.done():
            task.result()
            return number
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: _nobody_at_work(raw))
        clock.forward(hours=2)
    raise AssertionError


async def _nobody_at_work(raw: Any) -> bool:
    return await raw.fetchval(AT_WORK) == 0


async def keep(rooms: Rooms, report: Report) -> None:
    """Store it as a callback that could not be applied leaves it."""
    async with rooms.of(Database).acquire() as conn:
        await inbox.store(conn, report, rooms.of(Clock).now())


async def statuses(raw: Any, table: str = "payment_events") -> list[str]:
    """In the order in which the rows came."""
    order = {"payment_events": "id", "payments": "created_at", "payment_refunds": "created_at"}[table]
    return [row["status"] for row in await raw.fetch(f"SELECT status FROM {table} ORDER BY {order}")]


async def status_of(raw: Any, payment_id: UUID) -> str:
    return await raw.fetchval("SELECT status FROM payments WHERE payment_id = $1", payment_id)
