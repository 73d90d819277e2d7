"""The database goes away under traffic, in every way it can; free work goes on, money waits, and it heals alone."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import pytest

from tests.cast import PAYER, STRANGER, Person
from tests.e2e.conftest import Start
from tests.e2e.process import SERVICE, Process
from tests.e2e.traffic import Told, Traffic, traffic
from tests.postgres import Cluster
from tests.serving import message, update_ids
from tests.waiting import until

SORRY = "⚠️ Database temporarily unavailable"
DOOR_TIMEOUT_S = 5.0
# The prober's word, at most: from then on it is known that the database is away.
NOTICED_WITHIN_S = 3.0
BACK_WITHIN_S = 2.0
REFUSED_WITHIN_S = 0.05
# What a machine that others use too may take beyond what is promised.
SLACK_S = 1.0
OBSERVED_S = 1.5


def checkout(person: Person) -> dict[str, Any]:
    query = {"id": "q", "from": person.wire, "currency": "XTR", "total_amount": 1, "invoice_payload": "p"}
    return {"update_id": next(update_ids), "pre_checkout_query": query}


@pytest.fixture
async def process(own_cluster: Cluster, start: Start) -> Process:
    return await start(own_cluster.dsn(), SERVICE, MIGRATE_ON_START="on", DOOR_TIMEOUT=str(DOOR_TIMEOUT_S))


async def greeted(process: Process) -> bool:
    return (await process.says(PAYER, "/start")).text.startswith("Hello")


async def refuses_what_needs_the_database(process: Process) -> None:
    """And nothing else."""
    assert (await process.get("/health/live"))[0] == 200
    assert (await process.get("/health/ready"))[0] == 503
    status, health = await process.get("/health")
    assert (status, health["status"], health["database"]["reachable"]) == (503, "unhealthy", False)
    for person in (PAYER, STRANGER):
        assert (await process.says(person, "/start")).text == SORRY
        assert "/language" in (await process.says(person, "/help")).text, "works without"
        money = await process.post(message(person, "", successful_payment={"currency": "XTR", "total_amount": 20}))
        assert (money.status, int(money.headers["Retry-After"]) > 0) == (503, True)
        asked = await process.post(checkout(person))
        assert (asked.status, asked.call["method"], asked.call["ok"]) == (200, "answerPreCheckoutQuery", False)


def are_quick(told: list[Told]) -> bool:
    """Apologies all of them, and most of them at once."""
    assert len(told) > 10
    assert {one.answer and (one.answer.status, one.answer.text) for one in told} == {(200, SORRY)}
    return statistics.median(one.answer.seconds for one in told if one.answer) < REFUSED_WITHIN_S


async def comes_back(process: Process, sent: Traffic) -> None:
    """Within two seconds, and for everybody."""
    assert await until(lambda: greeted(process), BACK_WITHIN_S + SLACK_S) < BACK_WITHIN_S
    assert await process.is_ready()
    back_at = time.monotonic()
    await sent.more(50)
    assert all(told.answer and told.answer.text.startswith("Hello") for told in sent.since(back_at))


def longest(sent: Traffic) -> float:
    """Seconds of the slowest answer; everybody had one."""
    assert {told.answer and told.answer.status for told in sent.told} == {200}
    return max(told.answer.seconds for told in sent.told if told.answer)


@pytest.mark.parametrize("immediate", [False, True], ids=["fast", "immediate"])
async def test_stopped_under_traffic(process: Process, own_cluster: Cluster, immediate: bool) -> None:
    async with traffic([process], "/start") as sent:
        await sent.more(50)
        await asyncio.to_thread(own_cluster.stop, immediate=immediate)
        await until(lambda: process.log(msg="database away"), NOTICED_WITHIN_S)
        noticed_at = time.monotonic()
        await refuses_what_needs_the_database(process)
        await asyncio.sleep(OBSERVED_S)
        assert are_quick(sent.since(noticed_at))
        await asyncio.to_thread(own_cluster.start)
        await comes_back(process, sent)
    assert longest(sent) < DOOR_TIMEOUT_S
    assert len(process.log(msg="serving")) == 1


async def test_frozen_under_traffic(process: Process, own_cluster: Cluster) -> None:
    async with traffic([process], "/start", clients=8) as sent:
        await sent.more(50)
        frozen_at = time.monotonic()
        await asyncio.to_thread(own_cluster.freeze)
        await until(lambda: process.log(msg="database away"), NOTICED_WITHIN_S + SLACK_S)
        noticed_at = time.monotonic()
        assert noticed_at - frozen_at < NOTICED_WITHIN_S
        async with traffic([process], "/start") as others:
            await refuses_what_needs_the_database(process)
            await asyncio.sleep(OBSERVED_S)
        assert are_quick(others.told)
        await sent.more(8)  # whoever hung has been answered
        await asyncio.to_thread(own_cluster.thaw)
        await comes_back(process, sent)
    assert longest(sent) < DOOR_TIMEOUT_S + SLACK_S
