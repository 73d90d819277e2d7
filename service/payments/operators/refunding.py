"""A refund that an operator asks for: the roubles are put aside, the processor is asked, and what it says is settled.

It knows in which order, and what each step may leave behind in a crash; what a refund does to a balance is decided in
service/payments/refunds.py. Whatever else may be spent, the money that is put aside cannot.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import UUID, uuid5

import msgspec

from service.errors import Conflict, Upstream
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.kernel.log import Log
from service.ops.writing.idempotency import LOCKED_FOR, IdempotencyMismatch
from service.payments import callback, orders, refunds, reservations
from service.payments.event import Money, Payment, Refund, RefundStatus, roubles_of
from service.payments.inbox import SQL as PAYMENTS
from service.payments.providers import Providers, strict
from service.payments.providers.api import Refused
from service.payments.reservations import Hold

# What a processor says of our keys, and not of the refund: an operator has to see to the keys first.
ABOUT_OUR_KEYS = frozenset({401, 403})
# Recovery leaves a refund alone for as long as the one who asked for it may be at work.
LEFT_ALONE_FOR: timedelta = LOCKED_FOR
NOTHING = Decimal("0.00")

_lock_payment = PAYMENTS.one("lock_payment", Payment)
_get_refund = refunds.SQL.one("get_refund", Refund)
list_refunds = refunds.SQL.many("list_refunds", Refund)
_request_refund = refunds.SQL.one("request_refund", Refund)
_claim_refund = refunds.SQL.one("claim_refund", Refund)
_fail_refund = refunds.SQL.one("fail_refund", Refund)

log = Log("payments")


class Asked(msgspec.Struct, frozen=True):
    """What an operator asks for; without `amount`, whatever is left of the payment. The same key is the same refund."""

    payment_id: UUID
    key: str
    amount: Decimal | None
    reason: str

    @property
    def refund_id(self) -> UUID:
        return uuid5(self.payment_id, self.key)


class Pursued(msgspec.Struct, frozen=True):
    """How it stands with a refund, and in the processor's words why it failed or is not known."""

    refund: Refund
    reason: str = ""


class Begun(msgspec.Struct, frozen=True):
    """A refund of ours. `is_ours`: to be asked of the processor by whoever begun it now, and by nobody else."""

    payment: Payment
    refund: Refund
    is_ours: bool

    @property
    def pursued(self) -> Pursued:
        return Pursued(self.refund)


async def begin(rooms: Rooms, conn: Connection, asked: Asked) -> Begun:
    """Put the roubles aside and note the refund, on the caller's transaction; begun again, it is the same refund.

    Raises NotFound, Conflict, InsufficientBalance where the person has spent them, Invalid, IdempotencyMismatch.
    """
    payment = await _lock_payment(conn, payment_id=asked.payment_id) or await orders.get(conn, asked.payment_id)
    known = await _get_refund(conn, refund_id=asked.refund_id)
    if known is not None:
        return await _begun_again(rooms, conn, asked, (payment, known))
    if payment.status != "succeeded":
        raise Conflict(f"Only a payment that succeeded can be given back; this one is {payment.status}.")
    rooms.of(Providers).get(payment.provider)
    amount, amount_rub = _shares(payment, await list_refunds(conn, payment_id=payment.payment_id), asked.amount)
    now = rooms.of(Clock).now()
    if amount_rub > 0:
        purpose = f"{payment.provider}: refund of {amount} {payment.currency}"
        await reservations.reserve(conn, Hold(asked.refund_id, payment.user_id, amount_rub, purpose), None)
    requested = await _request_refund(
        conn,
        refund_id=asked.refund_id,
        payment_id=payment.payment_id,
        provider=payment.provider,
        amount=amount,
        reservation_id=asked.refund_id if amount_rub > 0 else None,
        reason=asked.reason,
        now=now,
        check_at=now + LEFT_ALONE_FOR,
    )
    assert requested is not None, "an insert always answers"
    log.info("refund requested", refund_id=str(asked.refund_id), payment_id=str(payment.payment_id))
    return Begun(payment, requested, is_ours=True)


async def _begun_again(rooms: Rooms, conn: Connection, asked: Asked, known: tuple[Payment, Refund]) -> Begun:
    """After a crash, or after the key was forgotten."""
    payment, refund = known
    if asked.amount is not None and asked.amount != refund.amount:
        raise IdempotencyMismatch
    now = rooms.of(Clock).now()
    claimed = await _claim_refund(conn, refund_id=refund.refund_id, now=now, check_at=now + LEFT_ALONE_FOR)
    return Begun(payment, claimed or refund, is_ours=claimed is not None)


def _shares(payment: Payment, known: list[Refund], wanted: Decimal | None) -> tuple[Decimal, Decimal]:
    """How much of the amount goes back, and how many roubles that takes. Raises Conflict, Invalid."""
    taken = payment.refunded_amount + sum((one.amount for one in known if _is_open(one)), NOTHING)
    left = payment.amount - taken
    amount = left if wanted is None else wanted
    if amount <= 0 or amount > left:
        raise Conflict(f"{left} {payment.currency} of this payment can be given back.")
    strict.minor_units(Money(amount, payment.currency))
    return amount, roubles_of(payment, taken + amount) - roubles_of(payment, taken)


def _is_open(refund: Refund) -> bool:
    return refund.status in ("requested", "pending")


async def pursue(rooms: Rooms, refund: Refund, payment: Payment) -> RefundStatus:
    """Ask the processor for a refund that is open, and settle what it says; asked twice, it is given once.

    Not inside a transaction. The status as it is then: unchanged where the processor did not answer. Raises
    Unavailable, NotFound where the processor is not configured any more.
    """
    return (await ask(rooms, refund, payment)).refund.status


async def ask(rooms: Rooms, refund: Refund, payment: Payment) -> Pursued:
    """The same with the reason."""
    try:
        report = await rooms.of(Providers).get(payment.provider).refund(refund, payment)
    except Upstream as error:
        log.warning("refund not given", refund_id=str(refund.refund_id), reason=error.message)
        if not _is_final(error):
            return Pursued(await _as_it_stands(rooms, refund), error.message)
        return Pursued(await _refused(rooms, refund, payment), error.message)
    await callback.settled(rooms, report)
    return Pursued(await _as_it_stands(rooms, refund))


def _is_final(error: Upstream) -> bool:
    """The processor has not given this money back and will not."""
    return error.permanent and not (isinstance(error, Refused) and error.status in ABOUT_OUR_KEYS)


async def _refused(rooms: Rooms, refund: Refund, payment: Payment) -> Refund:
    """The refund as it stands after it was refused: failed, unless the processor lists it as given already."""
    try:
        for report in await rooms.of(Providers).get(payment.provider).look_up(payment):
            await callback.settled(rooms, report)
    except Upstream as error:
        if not error.permanent:  # nobody knows what is listed there: recovery asks again
            return await _as_it_stands(rooms, refund)
    async with rooms.of(Database).transaction() as conn:
        await _lock_payment(conn, payment_id=payment.payment_id)
        failed = await _fail_refund(conn, refund_id=refund.refund_id, now=rooms.of(Clock).now())
        if failed is not None and failed.reservation_id is not None:
            await reservations.release(conn, failed.reservation_id, rooms.of(Clock).now())
    return failed or await _as_it_stands(rooms, refund)


async def _as_it_stands(rooms: Rooms, refund: Refund) -> Refund:
    async with rooms.of(Database).acquire() as conn:
        return await _get_refund(conn, refund_id=refund.refund_id) or refund
