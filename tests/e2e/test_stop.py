"""SIGTERM under load loses nothing: what was answered has its effect, what was not has it when it comes again."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import aiohttp
import asyncpg
import pytest

from tests.cast import CAST
from tests.e2e.conftest import Start
from tests.e2e.process import SERVICE, Process
from tests.e2e.traffic import Told, passers_by, traffic
from tests.postgres import Cluster, free_port
from tests.serving import telegram
from tests.waiting import until

# With nothing to wait for; a platform gives 30 s.
AT_ONCE_S = 5.0
# What is under way has two seconds and a last word, the pool five to close.
STOPS_WITHIN_S = 15.0


async def is_not_ready(process: Process) -> bool:
    """As a balancer sees it."""
    try:
        return not await process.is_ready()
    except aiohttp.ClientError:
        return True


async def effects(table: asyncpg.Connection) -> Counter[int]:
    return Counter(row["update_id"] for row in await table.fetch("SELECT update_id FROM counted"))


async def redelivered(told: list[Told], process: Process) -> None:
    """As Telegram does: to whoever is there, until it is taken."""
    for one in told:
        answer = await process.post(one.update)
        assert (answer.status, answer.text[:8]) == (200, "counted ")


async def test_under_load_nothing_is_lost_and_nothing_happens_twice(
    start: Start, table: asyncpg.Connection, database_url: str
) -> None:
    leaving, staying = await asyncio.gather(start(database_url), start(database_url))
    async with traffic([leaving], "/count", clients=8, pause_s=0) as sent:
        await sent.more(200)
        leaving.terminate()
        assert await leaving.ended(AT_ONCE_S) == 0
    answered = [told for told in sent.told if told.answer]
    assert {told.answer.status for told in answered if told.answer} == {200}
    counted = await effects(table)
    assert all(counted[told.update["update_id"]] == 1 for told in answered), "no answer without its effect"
    await redelivered([told for told in sent.told if not told.answer], staying)
    counted = await effects(table)
    assert set(counted.values()) == {1}
    assert set(counted) == {told.update["update_id"] for told in sent.told}


async def test_what_is_under_way_is_finished_and_more_sigterms_change_nothing(
    start: Start, table: asyncpg.Connection, database_url: str
) -> None:
    process = await start(database_url)
    await asyncio.gather(*(process.says(person, "/start") for person in CAST))
    async with table.transaction():
        await table.execute("LOCK TABLE counted IN EXCLUSIVE MODE")
        under_way = [asyncio.create_task(process.says(next(passers_by), "/count")) for _ in range(8)]
        await until(lambda: everybody_waits(database_url))
        process.terminate()
        await until(lambda: process.log(msg="stopping"))
        assert await is_not_ready(process)
        for _ in range(2):
            process.terminate()
        assert not any(request.done() for request in under_way)
        assert process.alive
    answers = await asyncio.gather(*under_way)
    assert [(answer.status, answer.text[:8]) for answer in answers] == [(200, "counted ")] * 8
    assert len(await effects(table)) == 8
    assert await process.ended(AT_ONCE_S) == 0
    assert len(process.log(msg="stopping")) == len(process.log(msg="stopped")) == 1


async def test_a_frozen_database_does_not_hold_up_the_end(start: Start, own_cluster: Cluster) -> None:
    process = await start(own_cluster.dsn(), SERVICE, MIGRATE_ON_START="on", DOOR_TIMEOUT="2")
    async with traffic([process], "/start") as sent:
        await sent.more(20)
        await asyncio.to_thread(own_cluster.freeze)
        process.terminate()
        assert await process.ended(STOPS_WITHIN_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_without_a_database_it_stops_at_once(start: Start, number: signal.Signals) -> None:
    process = await start("postgresql://127.0.0.1:9/nowhere", SERVICE, ready=False)
    process.send(number)
    assert await process.ended(AT_ONCE_S) == 0


async def everybody_waits(database_url: str) -> bool:
    """Whether eight statements wait for the lock."""
    connection = await asyncpg.connect(database_url)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    try:
        return bool(await connection.fetchval(waiting) == 8)
    finally:
        await connection.close()


async def test_the_webhook_stays_set_and_what_waits_comes_to_the_next_process(start: Start, database_url: str) -> None:
    async with telegram() as (sandbox, api):
        port = str(free_port())
        settings = {"PORT": port, "PUBLIC_URL": f"http://127.0.0.1:{port}", "TELEGRAM_API_BASE": api}
        process = await start(database_url, **settings)
        await sandbox.wait_for(lambda call: call.method == "setWebhook")
        payer = sandbox.person("payer")
        await payer.says("/start")
        await payer.hears("Hello")
        await process.stop()
        await payer.says("/menu")
        assert len(sandbox.updates) == 1, "Telegram keeps it"
        await start(database_url, **settings)
        await payer.hears("What would you like?")
        await sandbox.settled()
        assert len(sandbox.calls.of("getWebhookInfo")) == 2, "the second process has looked"
        assert len(sandbox.calls.of("setWebhook")) == 1
        assert sandbox.calls.of("deleteWebhook") == []
