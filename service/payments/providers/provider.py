"""What a payment processor is to us: the same few functions each. It knows no processor by name.

`verify` and `parse` are pure and are called at the door; the others call the processor, never while a transaction is
open. Whatever a processor says comes back as a Report, and has its effect through the same door as a callback.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from service.payments.event import Payment, Refund, Report
from service.text import Language, Text


class Created(msgspec.Struct, frozen=True):
    """A payment that a processor has agreed to: its id, if it has one before it is paid, and where that is done."""

    provider_payment_id: str | None
    pay_url: str


class Provider(Protocol):
    """One payment processor, with its account and keys."""

    name: str
    title: Text
    currencies: frozenset[str]
    live: bool
    asks_back: bool  # a callback is only a hint, to be confirmed

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Whether the callback is the processor's, over the raw bytes. Raises Forged."""

    def parse(self, body: bytes) -> Report:
        """What a callback, or a stored body, says. Raises Invalid where it is no message of the processor."""

    async def confirm(self, report: Report) -> Report:
        """The same on the processor's own word, where a callback is only a hint. Raises Upstream."""

    async def create(self, payment: Payment, *, title: str, language: Language) -> Created:
        """Have the processor expect this payment; asked twice, it is the same one. Raises Upstream."""

    async def look_up(self, payment: Payment) -> list[Report]:
        """What the processor says of the payment now; nothing where it is still being paid. Raises Upstream."""

    async def capture(self, payment: Payment) -> Report:
        """Take what was authorized. Raises Upstream."""

    async def refund(self, refund: Refund, payment: Payment) -> Report:
        """Give money back; asked twice, it is given once. Raises Upstream."""

    def listed(self, since: datetime) -> AsyncIterator[Report]:
        """Payments and refunds that the processor knows of, to find those that nobody told us. Raises Upstream."""
