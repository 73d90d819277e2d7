"""The processors' stand-ins beside a service, whether it runs in the test or in processes of its own.

It knows how orders are placed and paid, and where the service is told to find the processors; it knows nothing of
what is to be shown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web

from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database, DatabaseSettings
from service.payments import orders
from service.payments.event import Money, Payment
from service.payments.orders import Order
from service.payments.providers import Providers, opened
from service.sandbox.processors import Accounts, Callback, Processors
from service.telegram.client import BotApi
from service.telegram.pacing import Pacing
from service.users.people import People
from service.users.user import Profile
from tests.cast import PAYER
from tests.payments.money import rooms_for
from tests.serving import TOKEN, listening

PRICES = {
    "yookassa": (Money(Decimal("150.00"), "RUB"), Decimal("150.00")),
    "stripe": (Money(Decimal("5.00"), "USD"), Decimal("450.00")),
    "polar": (Money(Decimal("7.00"), "USD"), Decimal("630.00")),
}
SENT_AGAIN_AFTER_S = 0.2


@dataclass
class Market:
    """Three processors with the accounts of tests/serving.py, and a bot that takes orders for them."""

    processors: Processors
    base: str
    webhooks: list[str] = field(default_factory=list)
    turn: int = 0

    @property
    def settings(self) -> dict[str, str]:
        """What a service is told, to find them."""
        return {
            "YOOKASSA_API_BASE": f"{self.base}/yookassa/v3",
            "STRIPE_API_BASE": f"{self.base}/stripe",
            "POLAR_API_BASE": f"{self.base}/polar",
        }

    def shop(self) -> str:
        """Where the next callback goes: to each process in turn."""
        self.turn += 1
        return self.webhooks[self.turn % len(self.webhooks)] if self.webhooks else "http://127.0.0.1:9"

    def pay(self, payment: Payment) -> None:
        """As the person does on the processor's page."""
        assert payment.provider_payment_id is not None
        getattr(self.processors, payment.provider).pay(payment.provider_payment_id)

    def held(self, *events: str) -> list[Callback]:
        """The callbacks that wait to be delivered by hand, in the order of these names."""
        return [one for event in events for one in self.processors.held if one.event == event]


@asynccontextmanager
async def market(*webhooks: str, accounts: Accounts | None = None) -> AsyncIterator[Market]:
    """Callbacks go to the webhooks in turn, and again soon when they are not acknowledged."""
    app = web.Application()
    processors = Processors(lambda: found.shop(), accounts, schedule=lambda _: SENT_AGAIN_AFTER_S)
    found = Market(processors, "", list(webhooks))
    found.processors.mount(app)
    async with listening(app) as base:
        found.base = f"{base}/sandbox"
        yield found


@dataclass(frozen=True)
class Till:
    """Where people order: in a process of its own, as far as the service can tell."""

    rooms: Rooms

    async def order(
        self, provider: str, user_id: int = PAYER.user_id, payment_id: UUID | None = None, credit: str | None = None
    ) -> Payment:
        """An order that the processor has agreed to."""
        money, credit_rub = PRICES[provider]
        await self.rooms.of(People).ensure_user_exists(Profile(user_id))
        order = Order(
            payment_id=payment_id or uuid4(),
            user_id=user_id,
            provider=provider,
            money=money,
            credit_rub=Decimal(credit) if credit else credit_rub,
            pack_id="small",
        )
        return await orders.place(self.rooms, order, "en")


@asynccontextmanager
async def till(database_url: str, market: Market) -> AsyncIterator[Till]:
    database = Database(DatabaseSettings(database_url))
    await database.start()
    async with aiohttp.ClientSession() as http:
        bot = BotApi(token=TOKEN, base="http://127.0.0.1:9", session=http, clock=Clock(), pacing=Pacing())
        rooms = rooms_for(database, Clock(), **market.settings).with_({aiohttp.ClientSession: http, BotApi: bot})
        yield Till(rooms.with_({Providers: opened(rooms)}))
    await database.stop()
