"""What becomes of money that goes back: refunds by operators and processors, and disputes.

It knows how much of a credit a refund takes away, and gives it again where the refund fails; it knows no processor
and asks nobody. The caller has locked the payment.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import uuid5

from service.kernel import queries
from service.kernel.database import Connection
from service.payments import reservations
from service.payments.event import Move, Payment, PaymentEvent, Refund, Refusal, refund_step, roubles_of
from service.payments.inbox import SQL as PAYMENTS
from service.payments.ledger import Ledger, Posting, Spending

SQL = queries.room("payment_refunds")
_find_refund = SQL.one("find_refund", Refund)
_record_refund = SQL.exec("record_refund")
_note_refund = PAYMENTS.exec("note_refund")
_reopen_reviews = PAYMENTS.exec("reopen_reviews")

NOTHING = Decimal("0.00")


async def settle(
    conn: Connection, ledger: Ledger, event: PaymentEvent, payment: Payment, now: datetime
) -> Move | Refusal:
    """Have news of a refund their effect, on the transaction that holds the payment."""
    refund = await _refund_of(conn, event, payment)
    step = refund_step(event, payment, refund)
    if isinstance(step, Refusal):
        return step
    known = refund or _heard_of(event, payment, now)
    amount_rub = known.amount_rub
    if step.status == "succeeded":
        amount_rub = await _take_back(conn, ledger, event, (payment, known), now)
    elif step.status == "failed":
        await _give_again(conn, ledger, event, (payment, known), now)
    await _record_refund(
        conn,
        refund_id=known.refund_id,
        payment_id=payment.payment_id,
        provider=event.provider,
        provider_refund_id=event.refund_id,
        kind=known.kind,
        status=step.status,
        amount=known.amount,
        amount_rub=amount_rub,
    )
    return step


async def _refund_of(conn: Connection, event: PaymentEvent, payment: Payment) -> Refund | None:
    return await _find_refund(
        conn,
        payment_id=payment.payment_id,
        provider_refund_id=event.refund_id,
        refund_id=event.request_id,
        amount=event.money.amount if event.money and event.refund_kind == "refund" else None,
    )


def _heard_of(event: PaymentEvent, payment: Payment, now: datetime) -> Refund:
    """A refund that somebody else began: the processor, or an operator at the processor's own pages."""
    assert event.money is not None, "refund_step has seen to it"
    assert event.refund_id is not None, "a refund has a name"
    return Refund(
        refund_id=uuid5(payment.payment_id, event.refund_id),
        payment_id=payment.payment_id,
        provider=event.provider,
        provider_refund_id=event.refund_id,
        kind=event.refund_kind,
        status="requested",
        amount=event.money.amount,
        amount_rub=NOTHING,
        reservation_id=None,
        reason="",
        created_at=now,
    )


async def _take_back(
    conn: Connection, ledger: Ledger, event: PaymentEvent, of: tuple[Payment, Refund], now: datetime
) -> Decimal:
    """Book what the balance loses, and tell how much that is.

    It is what the sum of all refunds calls for, less what was taken already: whatever the order, the parts add up.
    An operator's refund has put the money aside beforehand; anybody else's may leave a debt.
    """
    payment, refund = of
    due_rub = roubles_of(payment, payment.refunded_amount + refund.amount) - payment.refunded_rub
    if refund.reservation_id is not None:
        due_rub = await _spend_reserved(conn, ledger, event, (payment, refund, due_rub), now)
    elif due_rub > 0:
        await ledger.post(conn, _posting(event, payment, refund, -due_rub))
    await _note_refund(conn, payment_id=payment.payment_id, amount=refund.amount, amount_rub=due_rub)
    return due_rub


async def _spend_reserved(
    conn: Connection, ledger: Ledger, event: PaymentEvent, of: tuple[Payment, Refund, Decimal], now: datetime
) -> Decimal:
    """What was put aside is what is spent, but for a kopek of rounding that goes back."""
    payment, refund, due_rub = of
    assert refund.reservation_id is not None, "the caller has seen to it"
    assert event.effect_key is not None, "money that moved has a name"
    held = await reservations.get(conn, refund.reservation_id)
    spent_rub = min(due_rub, held.amount_rub)
    if spent_rub <= 0:
        await reservations.release(conn, held.reservation_id, now)
        return NOTHING
    spending = Spending(
        reservation_id=held.reservation_id,
        amount_rub=spent_rub,
        effect_key=event.effect_key,
        type="chargeback",
        reason=_reason(event, payment, refund),
        payment_id=payment.payment_id,
        refund_id=refund.refund_id,
    )
    await reservations.capture(conn, ledger, spending, now)
    return spent_rub


async def _give_again(
    conn: Connection, ledger: Ledger, event: PaymentEvent, of: tuple[Payment, Refund], now: datetime
) -> None:
    """The refund failed, or the dispute was won: what the balance lost, if it did yet, it has again.

    To the kopek that is what the other refunds do not call for, and not what this one took in its turn: rounding
    must not depend on the order in which the processor told of them.
    """
    payment, refund = of
    if refund.status != "succeeded":
        if refund.reservation_id is not None:
            await reservations.release(conn, refund.reservation_id, now)
        return
    left_rub = roubles_of(payment, payment.refunded_amount - refund.amount)
    returned_rub = max(payment.refunded_rub - left_rub, NOTHING)
    if returned_rub > 0:
        await ledger.post(conn, _posting(event, payment, refund, returned_rub))
    await _note_refund(conn, payment_id=payment.payment_id, amount=-refund.amount, amount_rub=-returned_rub)
    await _reopen_reviews(conn, payment_id=payment.payment_id, now=now)


def _posting(event: PaymentEvent, payment: Payment, refund: Refund, amount_rub: Decimal) -> Posting:
    assert event.effect_key is not None, "money that moved has a name"
    returned = amount_rub > 0
    return Posting(
        effect_key=f"{event.effect_key}:returned" if returned else event.effect_key,
        user_id=payment.user_id,
        amount_rub=amount_rub,
        type="adjustment" if returned else "chargeback",
        reason=_reason(event, payment, refund),
        payment_id=payment.payment_id,
        refund_id=refund.refund_id,
        may_owe=True,
    )


def _reason(event: PaymentEvent, payment: Payment, refund: Refund) -> str:
    """For people: `stripe: dispute of 5.00 USD, returned`."""
    outcome = ", returned" if event.change == "returned" else ""
    return f"{payment.provider}: {refund.kind} of {refund.amount} {payment.currency}{outcome}"
