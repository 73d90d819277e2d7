"""What operators may ask for, read strictly. Pure: a word too much or an amount that is a number is refused.

It knows the bodies, headers and ids of the operators' writes; it does nothing about them.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec

from service.errors import Invalid, NotFound
from service.ops.writing.idempotency import Write
from service.payments.providers import strict

# All of it: 1 to 255 printable characters of ASCII.
KEY = re.compile(r"[\x20-\x7e]{1,255}")
AMOUNT = re.compile(r"-?(0|[1-9][0-9]{0,11})\.[0-9]{2}")
ID_MAX = 2**63 - 1

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Adjustment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Move a balance by hand: "150.00" or "-20.00" roubles."""

    amount_rub: str
    reason: Reason

    @property
    def by_rub(self) -> Decimal:
        """Raises Invalid."""
        return amount(self.amount_rub)


class RefundRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give back so much of a payment, in its currency; without an amount, whatever is left of it."""

    reason: Reason
    amount: str | None = None

    @property
    def part(self) -> Decimal | None:
        """Raises Invalid."""
        if self.amount is None:
            return None
        part = amount(self.amount)
        if part < 0:
            raise Invalid("`amount` must be positive.")
        return part


class Closing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event needs no more of us."""

    reason: Reason


B = TypeVar("B", Adjustment, RefundRequest, Closing)


def body(raw: bytes, kind: type[B]) -> B:
    """What the body asks for. Raises Invalid for anything but that."""
    try:
        asked = msgspec.convert(strict.read(raw), kind)
    except msgspec.ValidationError as error:
        raise Invalid(f"The body is not as it must be: {error}.") from None
    if not asked.reason.isprintable() or not asked.reason.strip():
        raise Invalid("`reason` must be one line of text.")
    return asked


def amount(text: str) -> Decimal:
    """Exactly two decimals, at most twelve digits before them, and not nothing. Raises Invalid."""
    if not AMOUNT.fullmatch(text) or not Decimal(text):
        raise Invalid('An amount is written like "150.00" or "-20.00", and is not zero.')
    return Decimal(text)


def write(scope: str, key: str | None, asked: msgspec.Struct) -> Write:
    """Raises Invalid without a fitting Idempotency-Key."""
    if key is None or not KEY.fullmatch(key):
        raise Invalid("Send an `Idempotency-Key` of 1 to 255 printable ASCII characters.")
    return Write(scope, key, hashlib.sha256(msgspec.json.encode(asked)).digest())


def user_id(text: str) -> int:
    """Raises NotFound for what can be nobody's id."""
    return _number(text, "There is no such user.")


def event_id(text: str) -> int:
    """Raises NotFound for what can be no event's id."""
    return _number(text, "There is no such event.")


def payment_id(text: str) -> UUID:
    """Raises NotFound for what can be no payment's id."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is no such payment.") from None


def _number(text: str, otherwise: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19 and int(text) <= ID_MAX):
        raise NotFound(otherwise)
    return int(text)
