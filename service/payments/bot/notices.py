"""Tells people that their money arrived. It knows payments that nobody was told of, and settles none.

Pulled from the rows, so that no crash loses a notice: told at least once, and in all but a crash just once.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec

from service.catalog import amounts
from service.errors import Unavailable, Upstream
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job
from service.kernel.log import Log
from service.payments import ledger
from service.payments.bot import texts
from service.payments.inbox import SQL
from service.telegram import reply
from service.telegram.client import BotApi
from service.telegram.client.answer import ApiError
from service.users.people import People

EVERY_S = 30.0
BATCH = 5  # notices at once, each with a connection for a moment; Telegram takes 30 messages a second
# For whoever claimed them to tell; a bot's call with all its repeats takes 30 s at most.
CLAIMED_FOR = timedelta(minutes=1)
NEWS_FOR = timedelta(days=3)  # after which it is none, and would only surprise
FOR_GOOD = frozenset({400, 403})  # blocked, deactivated, never started: BotApi notes that

log = Log("payments")


class Arrival(msgspec.Struct, frozen=True):
    """A payment that succeeded, and of which its payer is to be told."""

    payment_id: UUID
    user_id: int
    credit_rub: Decimal
    settled_at: datetime | None


_claim_untold = SQL.many("claim_untold", Arrival)
_mark_told = SQL.exec("mark_told")


async def tell_payers(rooms: Rooms) -> Counts:
    """Batch by batch, until nobody is left; whom Telegram does not take just now is told in a minute.

    Raises Unavailable where it takes nobody: it is away, and the others can wait.
    """
    told = 0
    while arrivals := await _claim(rooms):
        outcomes = await asyncio.gather(*(_tell(rooms, arrival) for arrival in arrivals), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            told += outcome
        if not any(outcomes):
            raise Unavailable("Telegram took no notice.")
    return {"told": told}


async def _claim(rooms: Rooms) -> list[Arrival]:
    now = rooms.of(Clock).now()
    async with rooms.of(Database).acquire() as conn:
        return await _claim_untold(conn, now=now, until=now + CLAIMED_FOR, batch=BATCH)


async def _tell(rooms: Rooms, arrival: Arrival) -> int:
    """How many notices that finishes: one, or none where it is to be tried again."""
    now = rooms.of(Clock).now()
    is_news = arrival.settled_at is not None and arrival.settled_at >= now - NEWS_FOR
    if is_news and not await _is_sent(rooms, arrival):
        return 0
    async with rooms.of(Database).acquire() as conn:
        return await _mark_told(conn, payment_id=arrival.payment_id, now=now)


async def _is_sent(rooms: Rooms, arrival: Arrival) -> bool:
    """Whether Telegram has it, or never will."""
    async with rooms.of(Database).acquire() as conn:
        balance = await ledger.get_balance(conn, arrival.user_id)
    language = await rooms.of(People).language_of(arrival.user_id)
    told = {"roubles": amounts.roubles(arrival.credit_rub), "balance": amounts.roubles(balance.balance_rub)}
    notice = reply.send(arrival.user_id, texts.ARRIVED.in_(language, **told))
    try:
        await rooms.of(BotApi).send(notice.calls[0])
    except Upstream as error:
        log.info("payer not told", payment_id=str(arrival.payment_id), reason=error.message)
        return isinstance(error, ApiError) and error.status in FOR_GOOD
    return True


JOB = Job("tell_payers", EVERY_S, tell_payers)
