"""Rewards whoever brought somebody who pays. It knows referrals and top-ups; how money moves is the wallet's.

Pulled from the rows: whoever is not rewarded and whose friend has paid is found again, however often a process died
meanwhile. A reward has the friend as its key, so that not even a table that lost its rows is paid for twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import ROUND_DOWN, Decimal

from service.catalog import Catalog
from service.config import Config
from service.errors import Unavailable
from service.feature import Rooms
from service.features.referrals import repo
from service.features.referrals.notices import TELLING
from service.features.referrals.repo import Looked
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job, JobLoop
from service.kernel.log import Log
from service.payments import wallet

PROMPT, THOROUGH = "reward_referrers", "catch_up_rewards"
PROMPT_EVERY_S = 30.0
THOROUGH_EVERY_S = 600.0
# How old an order may be that the prompt job looks at: people pay within minutes. The thorough one finds the others.
LATELY = timedelta(hours=1)
ORDERS_MOST = 5_000  # more in an hour are left to the thorough job; so many take some 30 ms
BATCH = 1_000  # referrals looked at by one statement, some milliseconds
KOPEK = Decimal("0.01")

log = Log("referrals")


async def reward_referrers(rooms: Rooms) -> Counts:
    """Whose friends paid what they ordered lately: all that there is, but for a crash or a table that was away."""
    since, tests = rooms.of(Clock).now() - LATELY, _counts_tests(rooms)
    async with rooms.of(Database).acquire() as conn:
        due = await repo.list_due_lately(conn, since=since, counts_tests=tests, most=ORDERS_MOST)
    return {"rewarded": await _reward_each(rooms, due)}


async def catch_up_rewards(rooms: Rooms) -> Counts:
    """Whoever is not rewarded yet, one batch after another."""
    rewarded, looked = 0, await _look_through(rooms, 0)
    while looked.last_id is not None:
        rewarded += await _reward_each(rooms, looked.due)
        looked = await _look_through(rooms, looked.last_id)
    return {"rewarded": rewarded}


def share_of(kept_rub: Decimal, percent: Decimal) -> Decimal:
    """In whole kopeks, and not one too many."""
    return (kept_rub * percent / 100).quantize(KOPEK, ROUND_DOWN)


async def reward(rooms: Rooms, referral_id: int) -> bool:
    """Decide one reward, and give it, in one transaction; whether money was given just now.

    Nothing is given where somebody else does it at this moment, where the friend has not paid or has it all back, and
    where the share is less than a kopek; in the last case that is the decision.
    """
    now = rooms.of(Clock).now()
    async with rooms.of(Database).transaction() as conn:
        due = await repo.claim_unrewarded(conn, referral_id=referral_id, counts_tests=_counts_tests(rooms))
        if due is None:
            return False
        share = share_of(due.kept_rub, rooms.of(Catalog).referral_percent)
        is_given = share > 0 and await wallet.reward(rooms, conn, str(due.referred_id), due.referrer_id, share)
        tell_at = now if is_given else None
        await repo.mark_rewarded(conn, referral_id=due.id, reward_rub=share, now=now, tell_at=tell_at)
    return is_given


async def _reward_each(rooms: Rooms, referral_ids: Iterable[int]) -> int:
    rewarded = 0
    for referral_id in referral_ids:
        try:
            rewarded += await reward(rooms, referral_id)
        except Unavailable:
            raise
        except Exception:  # whatever is wrong with one must not hold up the others
            log.exception("reward not given", referral_id=referral_id)
    if rewarded:
        rooms.of(JobLoop).poke(TELLING)
    return rewarded


async def _look_through(rooms: Rooms, after_id: int) -> Looked:
    tests = _counts_tests(rooms)
    async with rooms.of(Database).acquire() as conn:
        looked = await repo.look_through(conn, after_id=after_id, counts_tests=tests, batch=BATCH)
    assert looked is not None, "the query always answers"
    return looked


def _counts_tests(rooms: Rooms) -> bool:
    """Money of a processor's test mode is money in development alone."""
    return rooms.of(Config).development


JOBS = (
    Job(PROMPT, PROMPT_EVERY_S, reward_referrers),
    Job(THOROUGH, THOROUGH_EVERY_S, catch_up_rewards, recovers=True, beside_doors=True),
)
