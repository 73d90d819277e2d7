"""Serves broadcasts: finds recipients in batches, and writes to them in batches, at one pace for all instances.

It knows claims, the pace and what Telegram's answers mean for a recipient; what is written, and to whom, operators
said. A person is claimed and the claim committed before he is written to. A claim whose process died is `unknown` and
is not taken up again: Telegram has no key by which a second message could be known for a repeat, and an announcement
missed by a few is a smaller harm than one that many read twice (docs/operations.md#broadcasts).
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from service.errors import Unavailable, Upstream
from service.feature import Rooms
from service.features.broadcasts import repo
from service.features.broadcasts.repo import Open, Outcome
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job, JobLoop
from service.kernel.log import Log
from service.telegram import reply
from service.telegram.client import BotApi
from service.telegram.client.answer import ApiError, NoAnswer

SENDING = "send_broadcasts"
EVERY_S = 5.0  # without a poke: what another instance was asked for, and what a crash left
LOOKED_AT = 1_000  # people by one statement, some 10 ms: no statement is long enough to hold up a vacuum
BATCH = 25  # messages in each PACE, of Telegram's 30 a second: the rest are answers to people
PACE = timedelta(seconds=1)
WAITS_S = 1.0  # for the time of the next batch; a run is no longer, so that a stop need not wait
# How long a recipient's call may wait for its turn, in seconds; then he is queued again, and nobody is asleep here.
PATIENCE_S = 5.0
# Where Telegram is away, or does not know us.
REST = timedelta(seconds=10)
# Longer than any call takes with its patience: whoever claimed before that is gone.
GONE_AFTER = timedelta(minutes=2)
GIVEN_UP = 1_000

log = Log("broadcasts")


class Served(NamedTuple):
    """What became of one recipient. `rest`: how long Telegram wants to hear nothing."""

    user_id: int
    outcome: Outcome
    error: str | None = None
    rest: timedelta | None = None


async def send_broadcasts(rooms: Rooms) -> Counts:
    """One step of the oldest broadcast that is under way, and then the next one, as long as there is any."""
    async with rooms.of(Database).acquire() as conn:
        open_ = await repo.find_open(conn)
    if open_ is None:
        return {}
    try:
        counts = await (_gather(rooms, open_) if open_.status == "gathering" else _send(rooms, open_))
    finally:
        rooms.of(JobLoop).poke(SENDING)
    return counts


async def give_up_lost(rooms: Rooms) -> Counts:
    """Claims of processes that died."""
    before = rooms.of(Clock).now() - GONE_AFTER
    async with rooms.of(Database).acquire() as conn:
        lost = await repo.give_up(conn, before=before, batch=GIVEN_UP)
    if lost:
        log.warning("nobody knows whether these were written to", recipients=lost)
    return {"unknown": lost}


async def _gather(rooms: Rooms, open_: Open) -> Counts:
    """All batches, each a transaction of its own. Another instance that is at one is waited for."""
    looked = 0
    while True:
        async with rooms.of(Database).acquire() as conn:
            now = rooms.of(Clock).now()
            batch = await repo.gather(conn, broadcast_id=open_.broadcast_id, batch=LOOKED_AT, now=now)
        looked += batch or 0
        if batch is None or batch < LOOKED_AT:
            return {"looked_at": looked}


async def _send(rooms: Rooms, open_: Open) -> Counts:
    """One batch, when its time has come. Raises Unavailable where nobody could be written to."""
    clock = rooms.of(Clock)
    early_s = (open_.next_at - clock.now()).total_seconds()
    if early_s > 0:
        await asyncio.sleep(min(early_s, WAITS_S))
        return {}
    now = clock.now()
    async with rooms.of(Database).acquire() as conn:
        claimed = await repo.claim(
            conn, broadcast_id=open_.broadcast_id, batch=BATCH, now=now, next_at=max(now, open_.next_at) + PACE
        )
        if not claimed:
            await repo.finish(conn, broadcast_id=open_.broadcast_id, now=now)
            return {}
    bot = replace(rooms.of(BotApi), patience=PATIENCE_S)
    served = await asyncio.gather(*(_serve(bot, open_, one.user_id) for one in claimed))
    await _settle(rooms, open_, now, served)
    if all(one.outcome == "queued" for one in served):
        raise Unavailable("Telegram took nothing.")
    return {"sent": sum(one.outcome == "sent" for one in served)}


async def _settle(rooms: Rooms, open_: Open, claimed_at: datetime, served: list[Served]) -> None:
    rests = [one.rest for one in served if one.rest is not None]
    async with rooms.of(Database).acquire() as conn:
        await repo.settle(
            conn,
            broadcast_id=open_.broadcast_id,
            claimed_at=claimed_at,
            user_ids=[one.user_id for one in served],
            statuses=[one.outcome for one in served],
            errors=[one.error for one in served],
        )
        if rests:
            until = rooms.of(Clock).now() + max(rests)
            await repo.put_off(conn, broadcast_id=open_.broadcast_id, until=until)


async def _serve(bot: BotApi, open_: Open, user_id: int) -> Served:
    try:
        await bot.send(message(open_, user_id).calls[0])
    except Upstream as error:
        return judged(user_id, error)
    return Served(user_id, "sent")


def message(open_: Open, user_id: int) -> reply.Reply:
    """What a recipient reads."""
    if open_.button_text is None or open_.button_url is None:
        return reply.send(user_id, open_.text)
    markup = reply.inline_keyboard([[reply.Link(open_.button_text, open_.button_url)]])
    return reply.send(user_id, open_.text, reply_markup=markup)


def judged(user_id: int, error: Upstream) -> Served:
    """What a refusal means for the recipient. Queued again is who was surely not written to, for a passing reason."""
    if error.retry_after is not None:
        return Served(user_id, "queued", None, timedelta(seconds=error.retry_after))
    if isinstance(error, ApiError | NoAnswer) and error.ambiguous:
        return Served(user_id, "unknown", error.message)
    if isinstance(error, ApiError) and error.gone:
        return Served(user_id, "blocked", error.message)
    if isinstance(error, ApiError) and error.status in (400, 403):
        return Served(user_id, "failed", error.message)
    return Served(user_id, "queued", None, REST)


JOBS = (
    Job(SENDING, EVERY_S, send_broadcasts),
    Job("give_up_broadcasts", GONE_AFTER.total_seconds(), give_up_lost, recovers=True),
)
