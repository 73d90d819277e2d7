"""Gives people what was made for them, or says why it was not. It knows the Bot API and rows that nobody was told of.

Pulled from the rows, so that no crash loses a result: given at least once, and in all but a crash just once.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from service.catalog import Catalog
from service.errors import Unavailable, Upstream
from service.feature import Menu, Rooms
from service.features.generation.bot import telling
from service.features.generation.queue import table
from service.features.generation.queue.table import Undelivered
from service.features.generation.work import Result
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, Job
from service.kernel.log import Log
from service.telegram.client import BotApi
from service.telegram.client.answer import ApiError
from service.telegram.reply import Call

DELIVER = "deliver_results"  # the name of the job, for poking it
EVERY_S = 30.0
BATCH = 5  # results at once, each with its file in memory
DELIVERED_WITHIN_S = 50.0  # all messages of a result, with their waits and repeats
UPLOAD_TIMEOUT_S = 40.0  # one try of a file; a message takes less than a second
CLAIMED_FOR = timedelta(minutes=1)  # for whoever claimed it to deliver
MOST_DELIVERIES = 1_440  # a day of minutes: what could not be given until then never will be
FOR_GOOD = frozenset({400, 403, 413})  # gone, blocked, or nothing that Telegram takes

log = Log("generation")


async def deliver(rooms: Rooms, result: Result) -> dict[str, object] | None:
    """Tell the person; what is to be kept of what was made, with Telegram's id of the file. Raises Upstream.

    {"text"}, or {"name", "media_type", "file_id", "method"} with or without a text; None where nothing was made.
    """
    try:
        async with asyncio.timeout(DELIVERED_WITHIN_S):
            await _clear(rooms, result)
            return await _send(rooms, result)
    except TimeoutError:
        raise Upstream("the result did not go out in time") from None


async def deliver_results(rooms: Rooms) -> Counts:
    """Batch by batch, until nobody waits; whom Telegram does not take just now is told in a minute.

    Raises Unavailable where it takes nobody: it is away, and the others can wait.
    """
    delivered = 0
    while waiting := await _claim(rooms):
        outcomes = await asyncio.gather(*(_deliver_one(rooms, one) for one in waiting), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            delivered += outcome
        if not any(outcomes):
            raise Unavailable("Telegram took no notice.")
    return {"delivered": delivered}


async def _claim(rooms: Rooms) -> list[Undelivered]:
    now = rooms.of(Clock).now()
    async with rooms.of(Database).acquire() as conn:
        return await table.claim_undelivered(conn, now=now, until=now + CLAIMED_FOR, batch=BATCH)


async def _deliver_one(rooms: Rooms, waiting: Undelivered) -> int:
    """How many results that finishes: one, or none where it is to be tried again."""
    kept = None
    try:
        kept = await deliver(rooms, waiting.result)
    except Upstream as error:
        hopeless = isinstance(error, ApiError) and error.status in FOR_GOOD
        log.info("result not delivered", job_id=str(waiting.job_id), reason=error.message, hopeless=hopeless)
        if not hopeless and waiting.deliveries < MOST_DELIVERIES:
            return 0
    async with rooms.of(Database).acquire() as conn:
        await table.mark_delivered(conn, {waiting.job_id: kept}, rooms.of(Clock).now())
    return 1


async def _clear(rooms: Rooms, result: Result) -> None:
    """Take the message about the progress away; that it stays is no reason not to deliver."""
    if result.progress_message_id is None:
        return
    where = {"chat_id": result.chat_id, "message_id": result.progress_message_id}
    try:
        await rooms.of(BotApi).call("deleteMessage", where)
    except Upstream as error:
        log.info("progress not cleared", job_id=str(result.job_id), reason=error.message)


async def _send(rooms: Rooms, result: Result) -> dict[str, object] | None:
    title = telling.title_of(rooms.of(Catalog), result.model_id, result.language)
    answers = [await _call(rooms.of(BotApi), call) for call in telling.calls_of(result, title, rooms.of(Menu))]
    if result.status != "success" or result.output is None or not answers:
        return None
    return telling.kept_of(result.output, answers[0])


async def _call(bot: BotApi, call: Call) -> Any:
    """What is no photo to Telegram (too long and narrow, for instance) is a document."""
    try:
        return await bot.call(call.method, call.params, timeout=UPLOAD_TIMEOUT_S)
    except ApiError as error:
        if call.method != "sendPhoto" or error.status != 400 or error.gone:
            raise
    return await bot.call("sendDocument", telling.as_document(call).params, timeout=UPLOAD_TIMEOUT_S)


JOB = Job(DELIVER, EVERY_S, deliver_results, recovers=True)
