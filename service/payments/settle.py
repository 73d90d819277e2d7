"""Settlement: the one door through which what processors say reaches balances.

It knows the order of a settlement: inbox, payment, effect, balance, in one transaction of the caller. It must not
call anybody while that is open; what is legal is decided in event.py, and how money moves in ledger.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import uuid5

import msgspec

from service.feature import Rooms
from service.kernel import metrics
from service.kernel.clock import Clock
from service.kernel.database import Connection
from service.kernel.log import Log
from service.payments import inbox, refunds
from service.payments.event import Move, Payment, PaymentEvent, Refusal, Report, is_of_refund, payment_step
from service.payments.inbox import EventStatus, Outcome
from service.payments.ledger import Ledger, Posting

SQL = inbox.SQL
_lock_payments = SQL.many("lock_payments", Payment)
_move_payment = SQL.exec("move_payment")
_lock_each = SQL.each("lock_payments")
_move_each = SQL.each("move_payment")
_hold_for_review = SQL.exec("hold_for_review")
_repeat_payment = SQL.one("repeat_payment", Payment)

log = Log("payments")


class Entangled(Exception):
    """Some of these have to do with each other, or one is not plain: they must be settled one by one."""


class _Case(msgspec.Struct, frozen=True):
    """One settlement under way."""

    rooms: Rooms
    conn: Connection
    now: datetime
    event_id: int

    @property
    def ledger(self) -> Ledger:
        return self.rooms.of(Ledger)

    async def end(self, status: EventStatus, reason: str, payment: Payment | None = None) -> Outcome:
        outcome = Outcome(status, reason, payment.payment_id if payment else None)
        await inbox.finish(self.conn, self.event_id, outcome, self.now)
        if status == "review":
            log.error("payment to review", event_id=self.event_id, payment_id=str(outcome.payment_id), reason=reason)
        return outcome

    async def refuse(self, refusal: Refusal, payment: Payment) -> Outcome:
        return await self.end(refusal.status, refusal.reason, payment)


class Settlement:
    """Takes in what processors say. This one stands in while a table of the money is missing: it only keeps it."""

    async def settle(self, rooms: Rooms, conn: Connection, report: Report) -> Outcome:
        """Have the event its effect, once, on the caller's transaction. Raises UserMissing, Unavailable."""
        now = rooms.of(Clock).now()
        stored = await inbox.store(conn, report, now)
        outcome = Outcome(stored.status, stored.reason, stored.payment_id, repeated=True)
        if not stored.is_done:
            outcome = await self._apply(_Case(rooms, conn, now, stored.id), report.event)
        metrics.PAYMENT_EVENTS.labels(report.event.provider, report.event.change, outcome.status).inc()
        return outcome

    async def settle_together(self, rooms: Rooms, conn: Connection, reports: Sequence[Report]) -> list[Outcome]:
        """Many plain ones at once. Raises Entangled: then nothing must be committed, and each is settled alone."""
        raise Entangled

    async def _apply(self, case: _Case, event: PaymentEvent) -> Outcome:
        return Outcome("waiting", "the tables of the money are missing")


class SettlementInTables(Settlement):
    """Payments, their refunds, and the ledger."""

    async def settle_together(self, rooms: Rooms, conn: Connection, reports: Sequence[Report]) -> list[Outcome]:
        """The statements and decisions of `settle`, each statement once for all: orders of ours, told of for the first
        time, whose payment is as it should be. In the order of keys, so that two of these do not wait for each other.
        """
        now, ledger = rooms.of(Clock).now(), rooms.of(Ledger)
        by_key = sorted(reports, key=lambda report: report.event.delivery_key)
        stored = dict(zip(by_key, await inbox.store_each(conn, by_key, now), strict=True))
        by_order = sorted(reports, key=lambda report: str(report.event.order_id))
        pairs = _each_with_its_own(by_order, await _lock_each(conn, [_meant(report.event) for report in by_order]))
        if any(one.is_done or one.deliveries > 1 for one in stored.values()) or not all(map(_is_due, pairs)):
            raise Entangled
        postings = [_topup(report.event, payment) for report, payment in pairs]
        if None in await ledger.post_each(conn, sorted(postings, key=lambda posting: posting.user_id)):
            raise Entangled
        moves = [_moved(report.event, payment, "succeeded", now, stored[report].id) for report, payment in pairs]
        await _move_each(conn, moves)
        for report in reports:
            metrics.PAYMENT_EVENTS.labels(report.event.provider, report.event.change, "applied").inc()
        payment_of = dict(pairs)
        payments = [payment_of[report] for report in reports]
        return [_paid(payment) for payment in payments]

    async def _apply(self, case: _Case, event: PaymentEvent) -> Outcome:
        if event.change == "nothing":
            return await case.end("ignored", event.reason)
        if event.change == "review":
            return await case.end("review", event.reason)
        payment = await _payment_of(case, event)
        if isinstance(payment, Refusal):
            return await case.end(payment.status, payment.reason)
        if is_of_refund(event):
            step = await refunds.settle(case.conn, case.ledger, event, payment, case.now)
            return (
                await case.end("applied", "", payment) if isinstance(step, Move) else await case.refuse(step, payment)
            )
        step = await _pay(case, event, payment)
        if isinstance(step, Move):
            return _paid(payment) if step.status == "succeeded" else Outcome("applied", "", payment.payment_id)
        if step.status == "review":
            await _hold_for_review(case.conn, payment_id=payment.payment_id)
        return await case.refuse(step, payment)


UNKNOWN = Refusal("waiting", "no payment of ours is known by these names")
AMBIGUOUS = Refusal("review", "its names belong to several payments")


async def _payment_of(case: _Case, event: PaymentEvent) -> Payment | Refusal:
    """The payment that is meant, locked: by the processor's names for it, else by ours."""
    found = await _lock_payments(case.conn, **_meant(event))
    if sum(payment.payment_id != event.order_id for payment in found) > 1:
        return AMBIGUOUS
    payment = found[0] if found else None  # by name, where there is such a one
    if payment is None or (payment.payment_id == event.order_id and payment.provider != event.provider):
        return UNKNOWN
    if event.repeatable and event.change == "paid" and payment.status == "succeeded" and _is_other(event, payment):
        return await _repeat(case, event, payment)
    return payment


def _is_other(event: PaymentEvent, payment: Payment) -> bool:
    """Another payment than the one that settled the order."""
    return payment.provider_payment_id != event.references[0][1]


async def _repeat(case: _Case, event: PaymentEvent, payment: Payment) -> Payment:
    """Somebody paid the same order once more. That is money too: a payment of its own."""
    repeat_id = uuid5(payment.payment_id, event.references[0][1])
    named = {"payment_id": repeat_id, "repeated_id": payment.payment_id, "now": case.now}
    repeated = await _repeat_payment(case.conn, **named)
    assert repeated is not None, "the payment that is repeated is locked"
    return repeated


async def _pay(case: _Case, event: PaymentEvent, payment: Payment) -> Move | Refusal:
    step = payment_step(event, payment)
    if isinstance(step, Refusal):
        return step
    if step.status == "succeeded" and not await _credit(case, event, payment):
        return Refusal("ignored", "this money was credited already")
    await _move_payment(case.conn, **_moved(event, payment, step.status, case.now, case.event_id))
    return step


async def _credit(case: _Case, event: PaymentEvent, payment: Payment) -> bool:
    return await case.ledger.post(case.conn, _topup(event, payment)) is not None


def _topup(event: PaymentEvent, payment: Payment) -> Posting:
    assert event.effect_key is not None, "money that moved has a name"
    return Posting(
        effect_key=event.effect_key,
        user_id=payment.user_id,
        amount_rub=payment.credit_rub,
        type="topup",
        reason=f"{payment.provider}: {payment.money}",
        payment_id=payment.payment_id,
    )


def _paid(payment: Payment) -> Outcome:
    return Outcome("applied", "", payment.payment_id, paid_by=payment.user_id, credit_rub=payment.credit_rub)


def is_plain(event: PaymentEvent) -> bool:
    """An order of ours was paid: what may be settled together with others."""
    return event.change == "paid" and event.order_id is not None and not event.repeatable


def _each_with_its_own(reports: Sequence[Report], found: Sequence[Payment]) -> list[tuple[Report, Payment]]:
    """Raises Entangled unless each means one payment, by our id and by every name."""
    if [payment.payment_id for payment in found] != [report.event.order_id for report in reports]:
        raise Entangled
    return list(zip(reports, found, strict=True))


def _is_due(pair: tuple[Report, Payment]) -> bool:
    report, payment = pair
    return payment.provider == report.event.provider and isinstance(payment_step(report.event, payment), Move)


def _meant(event: PaymentEvent) -> dict[str, object]:
    providers, references = _columns(event)
    return {"payment_id": event.order_id, "providers": providers, "refs": references}


def _moved(event: PaymentEvent, payment: Payment, status: str, now: datetime, event_id: int) -> dict[str, object]:
    providers, references = _columns(event)
    return {
        "payment_id": payment.payment_id,
        "status": status,
        "provider_payment_id": references[0] if providers and providers[0] == payment.provider else None,
        "now": now,
        "providers": providers,
        "refs": references,
        "event_id": event_id,
    }


def _columns(event: PaymentEvent) -> tuple[list[str], list[str]]:
    return [provider for provider, _ in event.references], [reference for _, reference in event.references]
