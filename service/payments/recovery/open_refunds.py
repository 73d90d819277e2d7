"""Follows refunds until their end is known.

It knows when a processor is asked about one, and for how long; how a refund is asked for, and what becomes of the
money that is put aside for it, it does not know.
"""

from __future__ import annotations

from datetime import timedelta

from service.errors import Unavailable, Upstream
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts
from service.kernel.log import Log
from service.payments import callback, orders, refunds
from service.payments.event import Refund
from service.payments.operators.refunding import pursue
from service.payments.providers import Providers
from service.payments.recovery.asking import Asking, Due, work_through

EVERY_S = 60.0
# Banks take days, and then the processor tells by itself; it is asked only for as long as an answer may be lost.
PATIENCE = timedelta(hours=72)

DUE = Due(
    refunds.SQL.many("claim_refunds", Refund),
    first=timedelta(minutes=5),
    longest=timedelta(hours=1),
    batch=10,
    rounds=2,
)
_leave_refund = refunds.SQL.exec("leave_refund")

log = Log("payments")


async def pursue_refunds(rooms: Rooms) -> Counts:
    """Ask again for those that were not answered, and about those that are under way."""
    return await work_through(rooms, DUE, _tried)


async def _tried(rooms: Rooms, asking: Asking, refund: Refund) -> str:
    """What became of it, in a word. Raises Unavailable: then it is the fault of no refund."""
    result = "unanswered"
    try:
        if asking.may_ask(refund.provider):
            result = await (_ask_for(rooms, refund) if refund.provider_refund_id is None else _ask_about(rooms, refund))
            if result == "unanswered":
                asking.failed(refund.provider, Upstream("no answer about a refund"))
    except Unavailable:
        raise
    except Upstream as error:
        asking.failed(refund.provider, error)
    except Exception:  # whatever is wrong with one refund must not hold up the others
        log.exception("refund not followed", refund_id=str(refund.refund_id), provider=refund.provider)
        result = "failed"
    if result in ENDED or rooms.of(Clock).now() - refund.created_at < PATIENCE:
        return result
    return await _left(rooms, refund)


async def _ask_for(rooms: Rooms, refund: Refund) -> str:
    """The processor never named it: its answer was lost, or it never heard of it."""
    async with rooms.of(Database).acquire() as conn:
        payment = await orders.get(conn, refund.payment_id)
    status = await pursue(rooms, refund, payment)
    return {"requested": "unanswered", "pending": "asked", "succeeded": "settled"}.get(status, "refused")


async def _ask_about(rooms: Rooms, refund: Refund) -> str:
    """It is known there. It may not be one of ours, so it must not be asked for, or it would be given twice."""
    async with rooms.of(Database).acquire() as conn:
        payment = await orders.get(conn, refund.payment_id)
    reports = await rooms.of(Providers).get(refund.provider).look_up(payment)
    outcomes = [await callback.settled(rooms, report) for report in reports]
    return "settled" if any(not one.repeated and one.status == "applied" for one in outcomes) else "asked"


ENDED = frozenset({"settled", "refused"})


async def _left(rooms: Rooms, refund: Refund) -> str:
    async with rooms.of(Database).acquire() as conn:
        await _leave_refund(conn, refund_id=refund.refund_id)
    log.error("refund left open", refund_id=str(refund.refund_id), provider=refund.provider, status=refund.status)
    return "left"
