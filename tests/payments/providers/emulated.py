"""A processor to call in a test: the emulators over real HTTP, whose callbacks only gather; and an order to be paid."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import aiohttp
from aiohttp import web

from service.payments.event import Payment, PaymentEvent, Refund
from service.payments.providers.provider import Provider
from service.sandbox.processors import Accounts, Processors
from tests.cast import PAYER
from tests.sandbox.world import serving

NOBODY = "http://127.0.0.1:9"  # nobody listens there
BACK = "https://example.org/payments/return"


@dataclass(frozen=True)
class Emulated:
    """`base`: where the emulators are, with their prefix."""

    processors: Processors
    session: aiohttp.ClientSession
    base: str

    def told(self, provider: Provider, name: str = "") -> list[PaymentEvent]:
        """What the callbacks so far say to the provider; those of one name, or all."""
        callbacks = [one for one in self.processors.held if one.processor == provider.name]
        return [provider.parse(one.body).event for one in callbacks if name in ("", one.event)]


@asynccontextmanager
async def emulated(accounts: Accounts) -> AsyncIterator[Emulated]:
    processors, app = Processors(NOBODY, accounts), web.Application()
    processors.hold()
    processors.mount(app)
    async with aiohttp.ClientSession() as session, serving(app) as address:
        yield Emulated(processors, session, f"{address}/sandbox")


def an_order(provider: str, **fields: Any) -> Payment:
    """Ten dollars, ordered now."""
    now = datetime.now(UTC)
    order = {
        "payment_id": uuid4(),
        "user_id": PAYER.user_id,
        "provider": provider,
        "provider_payment_id": None,
        "status": "creating",
        "amount": Decimal("10.00"),
        "currency": "USD",
        "credit_rub": Decimal("900.00"),
        "refunded_amount": Decimal(0),
        "refunded_rub": Decimal(0),
        "pack_id": "small",
        "pay_url": None,
        "test": True,
        "created_at": now,
        "expires_at": now + timedelta(hours=2),
        "settled_at": None,
        "told_at": None,
    }
    return Payment(**(order | fields))


def a_refund(payment: Payment, amount: str = "4.00") -> Refund:
    return Refund(
        refund_id=uuid4(),
        payment_id=payment.payment_id,
        provider=payment.provider,
        provider_refund_id=None,
        kind="refund",
        status="requested",
        amount=Decimal(amount),
        amount_rub=Decimal("360.00"),
        reservation_id=None,
        reason="asked for",
        created_at=datetime.now(UTC),
    )
