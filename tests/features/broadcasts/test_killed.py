"""Thousands of people, a Telegram that asks for silence, people who blocked the bot, and a sender that is killed twice.

CHAOS=long makes it a hundred thousand.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from service.sandbox import Sandbox
from tests.features.broadcasts import town
from tests.features.broadcasts.sender import BATCH
from tests.serving import telegram
from tests.waiting import until

LONG = os.environ.get("CHAOS") == "long"
PEOPLE = 100_000 if LONG else 2_000
WITHIN_S = 1_200 if LONG else 120
KILLED_AT = (PEOPLE // 3, 2 * PEOPLE // 3)
BLOCKED_EVERY = 50
FLOOD_EVERY_S = 2.0
TEXT = "News!"
ROOT = Path(__file__).parents[3]
BEGIN = """
INSERT INTO broadcasts (broadcast_id, text, segment, next_at, created_at)
VALUES (gen_random_uuid(), $1, '{"active": true}', now(), now())
"""


@asynccontextmanager
async def sender(database_url: str, base: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that serves broadcasts until it is killed: in the end it is."""
    command = (sys.executable, "-m", "tests.features.broadcasts.sender", database_url, base)
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


async def moody(sandbox: Sandbox) -> None:
    """Telegram asks for a second of silence now and then, once for longer than anybody waits."""
    sandbox.faults.flood("sendMessage", retry_after=6)
    while True:
        await asyncio.sleep(FLOOD_EVERY_S)
        sandbox.faults.flood("sendMessage", retry_after=1)


@pytest.mark.timeout(2 * WITHIN_S + 120)
async def test_each_person_once(database_url: str, raw: Any) -> None:
    await town.settle(raw, PEOPLE)
    await raw.execute("ANALYZE users")
    async with telegram(users=town.people(PEOPLE)) as (sandbox, base):
        town.meet(sandbox)
        gone = town.block(sandbox, BLOCKED_EVERY)
        await raw.execute(BEGIN, TEXT)
        mood = asyncio.create_task(moody(sandbox))
        for most in KILLED_AT:
            async with sender(database_url, base) as process:
                await until(partial(is_served, raw, most), within=WITHIN_S)
                process.send_signal(signal.SIGKILL)
        async with sender(database_url, base):
            await until(lambda: is_done(raw), within=WITHIN_S)
        mood.cancel()
        rows = await raw.fetch("SELECT user_id, status FROM broadcast_recipients")
        read = town.read(sandbox, TEXT)
    of = {status: {row["user_id"] for row in rows if row["status"] == status} for status in town.STATES}
    assert {row["user_id"] for row in rows} == set(town.ids(PEOPLE))
    assert max(read.values()) == 1, "nobody twice"
    assert of["sent"] <= set(read), "who is said to have it has it"
    assert set(read) <= of["sent"] | of["unknown"], "and who has it is said to have it, or nobody knows"
    assert of["blocked"] == gone - of["unknown"]
    assert len(of["unknown"]) <= len(KILLED_AT) * BATCH
    assert not of["queued"] | of["sending"] | of["failed"]
    inactive = {row["user_id"] for row in await raw.fetch("SELECT user_id FROM users WHERE NOT is_active")}
    assert of["blocked"] <= inactive <= gone


async def is_served(raw: Any, most: int) -> bool:
    """Whether so many have been taken up."""
    return bool(await raw.fetchval("SELECT count(*) >= $1 FROM broadcast_recipients WHERE status <> 'queued'", most))


async def is_done(raw: Any) -> bool:
    return bool(await raw.fetchval("SELECT status = 'done' FROM broadcasts"))
