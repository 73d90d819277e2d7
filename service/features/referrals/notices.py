"""Tells people of their rewards. It knows rewards that nobody was told of, and gives none.

Pulled from the rows, so that no crash loses a notice: told at least once, and in all but a crash just once.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from service.catalog import amounts
from service.errors import Unavailable, Upstream
from service.feature import Rooms
from service.features.referrals import repo, texts
from service.features.referrals.repo import Untold
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job
from service.kernel.log import Log
from service.telegram import reply
from service.telegram.client import BotApi
from service.telegram.client.answer import ApiError
from service.users.people import People

TELLING = "tell_referrers"
EVERY_S = 30.0
BATCH = 5  # notices at once, each with a connection for a moment; Telegram takes 30 messages a second
# For whoever claimed them to tell; a bot's call with all its repeats takes 30 s at most.
CLAIMED_FOR = timedelta(minutes=1)
FOR_GOOD = frozenset({400, 403})  # blocked, deactivated, never started: BotApi notes that

log = Log("referrals")


async def tell_referrers(rooms: Rooms) -> Counts:
    """Batch by batch, until nobody is left; whom Telegram does not take just now is told in a minute.

    Raises Unavailable where it takes nobody: it is away, and the others can wait.
    """
    told = 0
    while rewards := await _claim(rooms):
        outcomes = await asyncio.gather(*(_tell(rooms, reward) for reward in rewards), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            told += outcome
        if not any(outcomes):
            raise Unavailable("Telegram took no notice.")
    return {"told": told}


async def _claim(rooms: Rooms) -> list[Untold]:
    now = rooms.of(Clock).now()
    async with rooms.of(Database).acquire() as conn:
        return await repo.claim_untold(conn, now=now, until=now + CLAIMED_FOR, batch=BATCH)


async def _tell(rooms: Rooms, reward: Untold) -> int:
    """How many notices that finishes: one, or none where it is to be tried again."""
    if not await _is_sent(rooms, reward):
        return 0
    async with rooms.of(Database).acquire() as conn:
        return await repo.mark_told(conn, referral_id=reward.id)


async def _is_sent(rooms: Rooms, reward: Untold) -> bool:
    """Whether Telegram has it, or never will."""
    language = await rooms.of(People).language_of(reward.referrer_id)
    text = texts.REWARDED.in_(language, roubles=amounts.roubles(reward.reward_rub))
    try:
        await rooms.of(BotApi).send(reply.send(reward.referrer_id, text).calls[0])
    except Upstream as error:
        log.info("referrer not told", referral_id=reward.id, reason=error.message)
        return isinstance(error, ApiError) and error.status in FOR_GOOD
    return True


JOB = Job(TELLING, EVERY_S, tell_referrers)
