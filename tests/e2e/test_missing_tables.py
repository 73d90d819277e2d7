"""An optional table that goes takes exactly one thing with it, says so once, and brings it back when it comes."""

from __future__ import annotations

import asyncio

import asyncpg

from tests.cast import PAYER
from tests.e2e.conftest import Start
from tests.e2e.process import ROOT, Process
from tests.e2e.traffic import traffic
from tests.serving import message
from tests.waiting import until

MIGRATION = (ROOT / "migrations" / "0002_updates.sql").read_text()
DEFAULT_INTERVAL_S = 15.0
# What a look at the tables, a request for /health and a busy machine may take beyond the interval.
SLACK_S = 2.0
INBOX = ("processed_updates", "failed_updates")


def switched(process: Process, state: str) -> list[str]:
    """The features that the log says were switched, one for each line."""
    return sorted(line["feature"] for line in process.log(room="features", state=state))


async def states(process: Process) -> dict[str, str]:
    return {name: (await process.feature(name))["state"] for name in INBOX}


async def all_are(state: str, *processes: Process) -> bool:
    found = await asyncio.gather(*(states(process) for process in processes))
    return all(set(one.values()) == {state} for one in found)


async def test_tables_dropped_under_traffic_cost_nobody_an_answer(
    start: Start, table: asyncpg.Connection, database_url: str
) -> None:
    processes = await asyncio.gather(start(database_url), start(database_url))
    async with traffic(processes, "/start", "/language", "/count", clients=6) as sent:
        await sent.more(100)
        for _ in range(2):
            await table.execute("DROP TABLE processed_updates")
            await table.execute("DROP TABLE failed_updates")
            await until(lambda: all_are("off", *processes), 1 + SLACK_S)
            await sent.more(100)
            await table.execute(MIGRATION)
            await until(lambda: all_are("on", *processes), 1 + SLACK_S)
        await sent.more(100)
    assert {told.answer and told.answer.status for told in sent.told} == {200}
    beginnings = {"/start": "Hello", "/language": "I speak ", "/count": "counted "}
    assert [told.answer.text for told in sent.told if not told.answer.text.startswith(beginnings[told.text])] == []
    counted = [told.update["update_id"] for told in sent.told if told.text == "/count"]
    rows = await table.fetch("SELECT update_id FROM counted ORDER BY update_id")
    assert [row["update_id"] for row in rows] == sorted(counted)
    for process in processes:
        assert switched(process, "off") == sorted(INBOX * 2), "one line for each feature and transition"
        assert switched(process, "on") == sorted(INBOX * 2)
        lines = process.log(room="features", state="off")
        assert {(line["level"], line["msg"]) for line in lines} == {
            ("WARNING", f"{name} table missing") for name in INBOX
        }


async def test_health_names_what_is_off_and_nothing_else(
    start: Start, table: asyncpg.Connection, database_url: str
) -> None:
    """With the default interval: what a request meets is noticed at once, what comes back by the next look."""
    process = await start(database_url, PROBE_INTERVAL="15")
    await table.execute("DROP TABLE processed_updates")
    assert (await process.says(PAYER, "/count")).text == "counted 1", "the request that finds out is answered too"
    status, health = await process.get("/health")
    assert (status, health["status"]) == (200, "degraded")
    off = {name: feature for name, feature in health["features"].items() if feature["missing"]}
    reason = "processed_updates table missing"
    assert off == {"processed_updates": {"state": "off", "reason": reason, "missing": ["processed_updates"]}}
    assert await process.is_ready()
    update = message(PAYER, "/count")
    first = await process.post(update)
    assert (await process.post(update)).body == first.body, "duplicates are known from memory"
    await table.execute(MIGRATION)
    await until(lambda: all_are("on", process), DEFAULT_INTERVAL_S + SLACK_S)
    assert (await process.get("/health"))[1]["status"] == "healthy"
    assert len(process.log(room="features", level="WARNING")) == 1
