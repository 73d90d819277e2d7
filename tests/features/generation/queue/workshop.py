"""What tests of the queue share: a provider that does as it is told, a worker's rooms, orders and how they stand.

It knows how work is ordered and carried out; what is to be shown is the tests'.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from service.catalog import Catalog, Model
from service.feature import Event, Hearers, Menu
from service.features.generation import orders
from service.features.generation.billing import Billing, BillingByBalance
from service.features.generation.in_process import InProcess
from service.features.generation.providers.provider import Output, Pending, Providers, Request
from service.features.generation.queue import table
from service.features.generation.queue.bell import Bell
from service.features.generation.queue.door import Queue, QueueInTable
from service.features.generation.queue.ending import Endings
from service.features.generation.queue.worker import Worker
from service.features.generation.work import Cancelled, Claim, Ended, Order, Placed
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.telegram.client import BotApi
from service.telegram.router import Context
from service.text import Text
from tests.cast import PAYER
from tests.payments.money import Noon, rooms_for
from tests.waiting import until

EVERYTHING = Decimal(10**12)
LONG_AGO = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
PRICE = Decimal("3.00")


def model(model_id: str, price: str = "0", **more: Any) -> Model:
    told: dict[str, Any] = {"provider": "maker", "params": {}, "prompt_max": 100, "timeout_s": 60, **more}
    return Model(id=model_id, title=Text(model_id, model_id), category="all", price_rub=Decimal(price), **told)


FREE = model("free")
PAID = model("paid", str(PRICE))
NARROW = model("narrow", at_once=3)
MODELS = (FREE, PAID, NARROW)

Deed = Callable[[Request], Awaitable[Output | Pending]]


class Maker:
    """A provider. What is started ends with a text, unless `deeds` say otherwise: by prompt, or by "check"."""

    def __init__(self) -> None:
        self.started: list[UUID] = []
        self.checked: list[str] = []
        self.cancelled: list[str] = []
        self.deeds: dict[str, Deed] = {}
        self.under_way = 0
        self.most_under_way = 0

    async def start(self, request: Request) -> Output | Pending:
        self.started.append(request.job_id)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self._done(request, request.prompt)
        finally:
            self.under_way -= 1

    async def check(self, request: Request, reference: str) -> Output | Pending:
        self.checked.append(reference)
        return await self._done(request, "check")

    async def cancel(self, _request: Request, reference: str) -> None:
        self.cancelled.append(reference)

    async def _done(self, request: Request, word: str) -> Output | Pending:
        deed = self.deeds.get(word)
        return Output(f"made {request.prompt}") if deed is None else await deed(request)


class Ears(BotApi):
    """Telegram, as far as results go: what was sent, in its order. `deaf`: what it raises instead.

    `texts`: those that tell of no progress.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.deaf: Exception | None = None

    async def call(self, method: str, params: Any = None, **_how: Any) -> Any:
        if self.deaf is not None:
            raise self.deaf
        self.heard.append((method, dict(params or {})))
        return {"message_id": len(self.heard)}

    @property
    def texts(self) -> list[str]:
        sent = [params["text"] for method, params in self.heard if method == "sendMessage"]
        return [text for text in sent if not text.startswith("⏳")]


def forever() -> Deed:
    async def wait(_request: Request) -> Output:
        await asyncio.Event().wait()
        raise AssertionError

    return wait


def raising(*errors: Exception) -> Deed:
    """Each in its turn, then all is well."""
    left = list(errors)

    async def fail(request: Request) -> Output:
        if left:
            raise left.pop(0)
        return Output(f"made {request.prompt}")

    return fail


def answering(*answers: Output | Pending) -> Deed:
    left = list(answers)

    async def answer(_request: Request) -> Output | Pending:
        return left.pop(0)

    return answer


Another = Callable[..., Awaitable["Workshop"]]
"""Makes one more process on the same database, with a maker of its own unless one is given."""


class Workshop:
    """A process's rooms. Several of them on one database are several processes."""

    def __init__(self, db: Database, clock: Clock | None = None, maker: Maker | None = None, **settings: str) -> None:
        self.maker, self.ears, self.events = maker or Maker(), Ears(), list[Event]()
        self.clock = clock or Noon()
        hearers = Hearers(generation=(lambda _rooms, event: self.events.append(event),))
        rooms = rooms_for(db, self.clock, **settings).with_(
            {
                Catalog: Catalog(packs=(), referral_percent=Decimal(0), models=MODELS),
                Providers: Providers({"maker": self.maker}),
                InProcess: InProcess(),
                Queue: QueueInTable(),
                Billing: BillingByBalance(),
                BotApi: self.ears,
                Menu: Menu(),
                Hearers: hearers,
            }
        )
        rooms = rooms.with_({Bell: Bell.opened(rooms)})
        self.rooms = rooms.with_({Endings: Endings.opened(rooms)})

    def without(self, **absent: Any) -> None:
        """These are switched off."""
        self.rooms = self.rooms.with_({type(room): room for room in absent.values()})

    async def place(self, order: Order) -> Placed:
        async with self.rooms.of(Database).transaction() as conn:
            ctx = Context(self.rooms, "en", order.chat_id, order.user_id, conn=conn)
            placed = await orders.place(ctx, order)
        for act in ctx.afterwards:
            act()
        return placed

    async def place_all(self, wanted: Sequence[Order]) -> None:
        """A few at a time: a pool has ten connections."""
        for at in range(0, len(wanted), 10):
            await asyncio.gather(*(self.place(one) for one in wanted[at : at + 10]))

    async def cancel(self, job_id: UUID, user_id: int = PAYER.user_id) -> Cancelled | None:
        async with self.rooms.of(Database).transaction() as conn:
            ctx = Context(self.rooms, "en", user_id, user_id, conn=conn)
            cancelled = await orders.cancel(ctx, job_id)
        for act in ctx.afterwards:
            act()
        return cancelled

    async def claim(self, instance_id: UUID | None = None, batch: int = 100, **wish: Any) -> list[Claim]:
        """Of models without a limit."""
        told = {"instance_id": instance_id or uuid4(), "now": self.clock.now(), "since": LONG_AGO, "batch": batch}
        async with self.rooms.of(Database).acquire() as conn:
            return await table.claim(conn, **{**told, "most_rub": EVERYTHING, **wish})

    async def claim_limited(self, instance_id: UUID | None = None, batch: int = 100) -> list[Claim]:
        async with self.rooms.of(Database).transaction() as conn:
            who = instance_id or uuid4()
            return await table.claim_limited(conn, who, self.clock.now(), EVERYTHING, batch)

    async def finish(self, *ended: Ended) -> set[UUID]:
        async with self.rooms.of(Database).acquire() as conn:
            return await table.finish(conn, ended, self.clock.now())

    async def beat(self, instance_id: UUID) -> set[table.Lease]:
        return await self.rooms.of(Queue).attend(self.rooms, instance_id, "a test")

    @asynccontextmanager
    async def working(self, **how: Any) -> AsyncIterator[Worker]:
        worker = Worker(lambda: self.rooms, **how)
        worker.start()
        try:
            yield worker
        finally:
            await worker.stop()

    def told(self) -> list[tuple[str, str | None]]:
        """The events: what happened, and why."""
        return [(one.told["status"], one.told["error_code"]) for one in self.events]


def order(prompt: str = "a cat", *, user_id: int = PAYER.user_id, what: Model = FREE, **fields: Any) -> Order:
    told: dict[str, Any] = {"job_id": uuid4(), "user_id": user_id, "chat_id": user_id, "language": "en"}
    return Order(**{**told, "model": what, "prompt": prompt, **fields})


def success(claim: Claim, text: str | None = "made", **fields: Any) -> Ended:
    told: dict[str, Any] = {"status": "success", "output": Output(text), "due_at": claim.started_at, **fields}
    return Ended(claim.job_id, claim.lease, **told)


async def people(raw: Any, *user_ids: int) -> None:
    await raw.executemany(
        "INSERT INTO users (user_id) VALUES ($1) ON CONFLICT DO NOTHING", [(one,) for one in user_ids]
    )


async def row_of(raw: Any, job_id: UUID) -> Any:
    return await raw.fetchrow("SELECT * FROM generation_jobs WHERE job_id = $1", job_id)


async def statuses(raw: Any) -> dict[str, int]:
    return dict(await raw.fetch("SELECT status, count(*) FROM generation_jobs GROUP BY status"))


async def becomes(raw: Any, job_id: UUID, status: str, within: float = 10.0) -> Any:
    """The row, once it is so."""

    async def is_so() -> bool:
        return (await row_of(raw, job_id))["status"] == status

    await until(is_so, within)
    return await row_of(raw, job_id)


async def reservations(raw: Any) -> Sequence[tuple[str, Decimal]]:
    rows = await raw.fetch("SELECT status, captured_rub FROM payment_reservations ORDER BY 1, 2")
    return [(row["status"], row["captured_rub"]) for row in rows]


def after(clock: Clock, seconds: float) -> datetime:
    return clock.now() + timedelta(seconds=seconds)
