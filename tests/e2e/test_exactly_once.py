"""An update has its effect once and one answer, however often, wherever and across whichever deaths it is handled."""

from __future__ import annotations

import asyncio
import math
import signal

import aiohttp
import asyncpg
import pytest

from tests.cast import PAYER
from tests.e2e.conftest import Start
from tests.e2e.counting import CRASH_POINTS, TABLE
from tests.e2e.process import Answer
from tests.postgres import Cluster
from tests.proxy import Proxy
from tests.serving import message

HOW_OFTEN = "SELECT count(*) FROM counted WHERE update_id = $1"


def said(answer: Answer) -> tuple[int, bytes]:
    return answer.status, answer.body


async def test_fifty_copies_at_once_through_two_processes_have_one_effect_and_one_answer(
    start: Start, table: asyncpg.Connection, database_url: str
) -> None:
    first, second = await asyncio.gather(start(database_url), start(database_url))
    update = message(PAYER, "/count")
    answers = await asyncio.gather(*((first, second)[copy % 2].post(update) for copy in range(50)))
    assert {said(answer) for answer in answers} == {said(answers[0])}
    assert (answers[0].status, answers[0].text) == (200, "counted 1")
    await asyncio.gather(first.stop(), second.stop())
    third = await start(database_url)
    assert said(await third.post(update)) == said(answers[0]), "the memory of a process is not what it rests on"
    assert await table.fetchval("SELECT count(*) FROM counted") == 1
    assert (await third.says(PAYER, "/count")).text == "counted 2", "another update is another effect"


async def test_killed_at_any_point_the_redelivery_has_one_effect_and_the_same_answer(
    start: Start, table: asyncpg.Connection, database_url: str
) -> None:
    survivor = await start(database_url)
    dying = await asyncio.gather(*(start(database_url, CRASH_AT=point) for point in CRASH_POINTS))
    for point, process in zip(CRASH_POINTS, dying, strict=True):
        update = message(PAYER, "/count")
        with pytest.raises(aiohttp.ClientError):
            await process.post(update)
        assert await process.ended() == -signal.SIGKILL, point
        effects = await table.fetchval(HOW_OFTEN, update["update_id"])
        assert effects == (point == "after commit"), point
        answer = await survivor.post(update)
        assert answer.status == 200
        number = await table.fetchval("SELECT number FROM counted WHERE update_id = $1", update["update_id"])
        assert answer.text == f"counted {number}", point
        assert said(await survivor.post(update)) == said(answer)
        assert await table.fetchval(HOW_OFTEN, update["update_id"]) == 1, point


@pytest.mark.parametrize(
    ("cuts", "told"), [(1, 200), (math.inf, 503)], ids=["one reply is lost", "every reply is lost"]
)
async def test_a_lost_reply_to_commit_is_no_lie_and_no_second_effect(
    start: Start, own_cluster: Cluster, cuts: float, told: int
) -> None:
    async with Proxy(own_cluster.port) as proxy:
        process = await start(proxy.dsn(), MIGRATE_ON_START="on")
        table = await asyncpg.connect(own_cluster.dsn())
        await table.execute(TABLE)
        await process.says(PAYER, "/start")  # from here on the only thing to commit is the update's effect
        proxy.cut_after, proxy.cuts = b"COMMIT", cuts
        update = message(PAYER, "/count")
        first = await process.post(update)
        assert first.status == told
        assert await table.fetchval(HOW_OFTEN, update["update_id"]) == 1, "the server had committed"
        proxy.cut_after = None
        again = await process.post(update)
        assert (again.status, again.text) == (200, "counted 1")
        assert told == 503 or said(again) == said(first)
        fresh = await start(own_cluster.dsn())
        assert said(await fresh.post(update)) == said(again)
        assert await table.fetchval(HOW_OFTEN, update["update_id"]) == 1
        await table.close()
