"""Two processes on one database are one bot."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from tests.cast import PAYER
from tests.e2e.conftest import Start
from tests.e2e.process import Process
from tests.serving import pressed

TOLD_WITHIN_S = 2.0
# Slower than a person is told not to hurry.
ASK_EVERY_S = 0.5


async def soon(true: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it comes true within two seconds, asked as a person asks."""
    for _ in range(int(TOLD_WITHIN_S / ASK_EVERY_S)):
        if await true():
            return True
        await asyncio.sleep(ASK_EVERY_S)
    return await true()


async def speaks(process: Process, sentence: str) -> bool:
    return (await process.says(PAYER, "/menu")).text == sentence


async def test_a_language_chosen_through_one_is_spoken_by_the_other(start: Start, database_url: str) -> None:
    first, second = await asyncio.gather(start(database_url), start(database_url))
    for process in (first, second):
        assert await speaks(process, "What would you like?")
    assert (await first.post(pressed(PAYER, "language:ru"))).text == "Теперь по-русски."
    assert await speaks(first, "Что вам нужно?"), "who changed it knows at once"
    assert await soon(lambda: speaks(second, "Что вам нужно?"))


@pytest.mark.parametrize("pooler", ["none", "pgbouncer"], ids=["told", "not told"])
async def test_a_row_deleted_by_hand_is_made_again_by_the_next_message(
    start: Start, table: asyncpg.Connection, database_url: str, pooler: str
) -> None:
    """Also where no notification comes, and the process believes in a row that is not there."""
    processes = await asyncio.gather(*(start(database_url, DB_POOLER=pooler) for _ in range(2)))
    for text, heard in (("/language", "I speak "), ("/count", "counted ")):
        for process in processes:
            await process.says(PAYER, "/start")
        await table.execute("DELETE FROM users WHERE user_id = $1", PAYER.user_id)
        for process in processes:
            answer = await process.says(PAYER, text)
            assert (answer.status, answer.text[: len(heard)]) == (200, heard)
    answer = await processes[0].post(pressed(PAYER, "language:en"))
    assert answer.text == "From now on in English."
    assert await table.fetchval("SELECT language FROM users WHERE user_id = $1", PAYER.user_id) == "en"
