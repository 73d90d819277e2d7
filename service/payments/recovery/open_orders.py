"""Follows orders until their end is known: callbacks get lost, and so do answers.

It knows when a processor is asked about an order, and for how long; what follows from its answer is settle's alone.
No transaction is open while a processor is called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

from service.errors import Unavailable, Upstream
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts
from service.kernel.log import Log
from service.payments import callback, orders
from service.payments.event import Payment, Report
from service.payments.inbox import SQL
from service.payments.providers import Providers
from service.payments.recovery.asking import Asking, Due, work_through
from service.users.people import People

EVERY_S = 60.0
# Processors forget our key after a day: asked again, they would make another payment.
KEY_LIVES = timedelta(hours=24)
# Somebody who pays at the last moment is told of a little later.
GRACE = timedelta(hours=1)
# Whatever happens to an order, its processor has told by then; find_missed_payments hears of it all the same.
PATIENCE = timedelta(hours=72)

DUE = Due(
    SQL.many("claim_orders", Payment),
    # After the first question, which orders.py sets; then twice as long each time.
    first=timedelta(minutes=5),
    longest=timedelta(hours=1),
    # Fifty questions a run, far below what processors allow; few at once, because a claim that is not used is put off.
    batch=10,
    rounds=5,
)
_expire_order = SQL.exec("expire_order")
_leave_order = SQL.exec("leave_order")

log = Log("payments")


async def settle_open_orders(rooms: Rooms) -> Counts:
    """Make those that were never made, ask about those that are being paid, take what was put aside for us."""
    return await work_through(rooms, DUE, _tried)


async def _tried(rooms: Rooms, asking: Asking, payment: Payment) -> str:
    """What became of it, in a word. Raises Unavailable: then it is the fault of no order."""
    result = "unanswered"
    try:
        if asking.may_ask(payment.provider):
            result = await STEPS[payment.status](rooms, payment)
    except Unavailable:
        raise
    except Upstream as error:
        asking.failed(payment.provider, error)
    except Exception:  # whatever is wrong with one order must not hold up the others
        log.exception("order not followed", payment_id=str(payment.payment_id), provider=payment.provider)
        result = "failed"
    if result in UNSETTLED and rooms.of(Clock).now() - payment.created_at >= PATIENCE:
        return await _left(rooms, payment)
    return result


async def _make(rooms: Rooms, payment: Payment) -> str:
    """The processor's answer was lost, or never came."""
    if rooms.of(Clock).now() - payment.created_at >= KEY_LIVES:
        return await _expired(rooms, payment)
    try:
        await orders.agree(rooms, payment, await rooms.of(People).language_of(payment.user_id))
    except Upstream as error:
        if not error.permanent:
            raise
        async with rooms.of(Database).acquire() as conn:
            await orders.give_up(conn, payment.payment_id)
        return "canceled"
    return "made"


async def _ask(rooms: Rooms, payment: Payment) -> str:
    """It expires only on the word of the processor, which knows of nothing that was paid."""
    reports = await rooms.of(Providers).get(payment.provider).look_up(payment)
    if not reports and rooms.of(Clock).now() >= payment.expires_at + GRACE:
        return await _expired(rooms, payment)
    return await _settled(rooms, reports)


async def _capture(rooms: Rooms, payment: Payment) -> str:
    """What cannot be captured has been already, or was given back: the processor knows which."""
    provider = rooms.of(Providers).get(payment.provider)
    try:
        reports = [await provider.capture(payment)]
    except Upstream as error:
        if not error.permanent:
            raise
        reports = await provider.look_up(payment)
    return await _settled(rooms, reports)


STEPS: Mapping[str, Callable[[Rooms, Payment], Awaitable[str]]] = {
    "creating": _make,
    "pending": _ask,
    "waiting_for_capture": _capture,
}
UNSETTLED = frozenset({"unanswered", "failed", "asked"})


async def _settled(rooms: Rooms, reports: Sequence[Report]) -> str:
    outcomes = [await callback.settled(rooms, report) for report in reports]
    return "settled" if any(not one.repeated and one.status == "applied" for one in outcomes) else "asked"


async def _expired(rooms: Rooms, payment: Payment) -> str:
    async with rooms.of(Database).acquire() as conn:
        await _expire_order(conn, payment_id=payment.payment_id)
    return "expired"


async def _left(rooms: Rooms, payment: Payment) -> str:
    async with rooms.of(Database).acquire() as conn:
        await _leave_order(conn, payment_id=payment.payment_id)
    log.error("order left open", payment_id=str(payment.payment_id), provider=payment.provider, status=payment.status)
    return "left"
