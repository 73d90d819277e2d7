"""Tells people that their money arrived. It knows payments that nobody was told of, and settles none.

Pulled from the rows, so that no crash loses a notice: told at least once, and in all but a crash just once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import msgspec

from service.errors import Upstream
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job
from service.kernel.log import Log
from service.payments import ledger
from service.payments.bot import amounts, texts
from service.payments.inbox import SQL
from service.telegram import reply
from service.telegram.client import BotApi
from service.telegram.client.answer import ApiError
from service.users.people import People

EVERY_S = 30.0
BATCH = 20  # notices at once; Telegram takes 30 messages a second
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
    """Batch by batch, until nobody is left; whom Telegram does not take just now is told in a minute."""
    told = 0
    while arrivals := await _claim(rooms):
        done = await asyncio.gather(*(_tell(rooms, arrival) for arrival in arrivals))
        finished = [arrival.payment_id for arrival, is_done in zip(arrivals, done, strict=True) if is_done]
        async with rooms.of(Database).acquire() as conn:
            told += await _mark_told(conn, payment_ids=finished, now=rooms.of(Clock).now())
    return {"told": told}


async def _claim(rooms: Rooms) -> list[Arrival]:
    now = rooms.of(Clock).now()
    async with rooms.of(Database).acquire() as conn:
        return await _claim_untold(conn, now=now, until=now + CLAIMED_FOR, batch=BATCH)


async def _tell(rooms: Rooms, arrival: Arrival) -> bool:
    """Whether that is done, one way or the other."""
    if arrival.settled_at is None or arrival.settled_at < rooms.of(Clock).now() - NEWS_FOR:
        return True
    language = await rooms.of(People).language_of(arrival.user_id)
    text = texts.ARRIVED.in_(language, **await _amounts(rooms, arrival))
    try:
        await rooms.of(BotApi).send(reply.send(arrival.user_id, text).calls[0])
    except Upstream as error:
        log.info("payer not told", payment_id=str(arrival.payment_id), reason=error.message)
        return isinstance(error, ApiError) and error.status in FOR_GOOD
    return True


async def _amounts(rooms: Rooms, arrival: Arrival) -> Mapping[str, str]:
    async with rooms.of(Database).acquire() as conn:
        balance = await ledger.get_balance(conn, arrival.user_id)
    return {"roubles": amounts.roubles(arrival.credit_rub), "balance": amounts.roubles(balance.balance_rub)}


JOB = Job("tell_payers", EVERY_S, tell_payers)
