"""What processors say about money, in our words, and what follows from it. Pure.

It knows events, the states of a payment and of a refund, and which change leads from one to another: this is the one
place where that is decided (docs/money.md draws it). It does no I/O and knows no processor.
"""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal
from uuid import UUID

import msgspec

Change = Literal[
    "authorized",  # the money is put aside at the processor, and waits for us to capture it
    "paid",
    "canceled",
    "expired",
    "refund_pending",
    "refunded",  # money went back to the payer, or a dispute took it
    "returned",  # and came to us again: a refund that failed, a dispute that was won
    "nothing",  # authentic, and of no consequence
    "review",  # authentic, and nothing that we can apply: another shop, test money, an impossible amount
]
PaymentStatus = Literal["creating", "pending", "waiting_for_capture", "succeeded", "canceled", "expired", "review"]
RefundStatus = Literal["requested", "pending", "succeeded", "failed"]
RefundKind = Literal["refund", "dispute"]
# (processor, its id of a payment, checkout session, intent or charge)
Reference = tuple[str, str]

OPEN = frozenset({"creating", "pending", "waiting_for_capture"})
KOPEK = Decimal("0.01")


class Money(msgspec.Struct, frozen=True):
    """An amount in the currency's main unit: Decimal("150.00") RUB, Decimal("100.00") XTR for a hundred Stars."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"


class PaymentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a processor said, whichever way it reached us.

    delivery_key: the same for each delivery of the same thing. name: the processor's own, for people.
    references: every id of the payment that the processor named, the most specific first. order_id: our payment's id,
    where the processor gave it back. user_id: the payer, where the processor knows him as we do.
    effect_key: the processor's id of the money that moved, for `paid`, `refunded` and `returned`.
    refund_id: the processor's id of the refund or dispute; request_id: ours, where the processor gave it back.
    repeatable: another payment of the same order is money again, and not a contradiction.
    """

    provider: str
    delivery_key: str
    name: str
    change: Change
    references: tuple[Reference, ...] = ()
    order_id: UUID | None = None
    user_id: int | None = None
    money: Money | None = None
    effect_key: str | None = None
    refund_id: str | None = None
    refund_kind: RefundKind = "refund"
    request_id: UUID | None = None
    repeatable: bool = False
    reason: str = ""


class Report(msgspec.Struct, frozen=True):
    """An event with the bytes it was read from, which are stored and can be read again."""

    event: PaymentEvent
    body: bytes


class Payment(msgspec.Struct, frozen=True):
    """A row of payments."""

    payment_id: UUID
    user_id: int
    provider: str
    provider_payment_id: str | None
    status: PaymentStatus
    amount: Decimal
    currency: str
    credit_rub: Decimal
    refunded_amount: Decimal
    refunded_rub: Decimal
    pack_id: str
    pay_url: str | None
    test: bool
    created_at: datetime
    expires_at: datetime
    settled_at: datetime | None
    told_at: datetime | None

    @property
    def money(self) -> Money:
        return Money(self.amount, self.currency)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


class Refund(msgspec.Struct, frozen=True):
    """A row of payment_refunds."""

    refund_id: UUID
    payment_id: UUID
    provider: str
    provider_refund_id: str | None
    kind: RefundKind
    status: RefundStatus
    amount: Decimal
    amount_rub: Decimal
    reservation_id: UUID | None
    reason: str
    created_at: datetime


class Move(msgspec.Struct, frozen=True):
    """The event leads the payment or the refund to this status; `status` equal to the present one changes nothing."""

    status: str


class Refusal(msgspec.Struct, frozen=True):
    """The event is not applied: `ignored` for good, `waiting` until something else arrives, or for `review`."""

    status: Literal["ignored", "waiting", "review"]
    reason: str


# What a payment may become. Money that did arrive counts, whatever was thought before; nothing undoes a credit.
PAYMENT_MOVES: dict[str, frozenset[str]] = {
    "creating": frozenset({"pending", "waiting_for_capture", "succeeded", "canceled", "expired", "review"}),
    "pending": frozenset({"waiting_for_capture", "succeeded", "canceled", "expired", "review"}),
    "waiting_for_capture": frozenset({"succeeded", "canceled", "expired", "review"}),
    "canceled": frozenset({"succeeded", "review"}),
    "expired": frozenset({"succeeded", "canceled", "review"}),
    "review": frozenset({"succeeded", "canceled"}),
    "succeeded": frozenset(),
}
# What a refund may become. `failed` is the end: whatever is told later of a refund that failed is stale.
REFUND_MOVES: dict[str, frozenset[str]] = {
    "": frozenset({"requested", "pending", "succeeded", "failed"}),
    "requested": frozenset({"pending", "succeeded", "failed"}),
    "pending": frozenset({"succeeded", "failed"}),
    "succeeded": frozenset({"failed"}),
    "failed": frozenset(),
}
_PAYMENT_STATUS_OF = {
    "authorized": "waiting_for_capture",
    "paid": "succeeded",
    "canceled": "canceled",
    "expired": "expired",
}
_REFUND_STATUS_OF = {"refund_pending": "pending", "refunded": "succeeded", "returned": "failed"}


def is_of_refund(event: PaymentEvent) -> bool:
    return event.change in _REFUND_STATUS_OF


def payment_step(event: PaymentEvent, payment: Payment) -> Move | Refusal:
    """What an event about a payment makes of it."""
    status = _PAYMENT_STATUS_OF[event.change]
    if status not in PAYMENT_MOVES[payment.status]:
        return Refusal("ignored", f"the payment is {payment.status} already")
    if status in ("canceled", "expired"):
        return Move(status)
    if event.user_id is not None and event.user_id != payment.user_id:
        return Refusal("review", "paid by somebody else than who ordered it")
    if event.money != payment.money:
        return Refusal("review", f"{event.money} instead of {payment.money}")
    return Move(status)


def refund_step(event: PaymentEvent, payment: Payment, refund: Refund | None) -> Move | Refusal:
    """What an event about a refund makes of it; None stands for a refund that was not heard of yet."""
    status = _REFUND_STATUS_OF[event.change]
    if payment.status != "succeeded":
        return Refusal("waiting", f"the payment is {payment.status}, not succeeded")
    if status not in REFUND_MOVES[refund.status if refund else ""]:
        return Refusal("ignored", f"the refund is {refund.status if refund else 'unknown'} already")
    if event.money is None or event.money.currency != payment.currency or event.money.amount <= 0:
        return Refusal("review", f"{event.money} cannot be a part of {payment.money}")
    if refund is not None and event.money.amount != refund.amount:
        return Refusal("review", f"{event.money} instead of {refund.amount} {payment.currency}")
    if status == "succeeded" and payment.refunded_amount + event.money.amount > payment.amount:
        return Refusal("review", f"{event.money} is more than is left of {payment.money}")
    return Move(status)


def roubles_of(payment: Payment, refunded_amount: Decimal) -> Decimal:
    """How much of the credit is taken back once that much of the amount is.

    A function of the sum, so that the parts add up to the whole credit in whichever order they come.
    """
    return (payment.credit_rub * refunded_amount / payment.amount).quantize(KOPEK, ROUND_HALF_UP)
