"""Killed after each step of whatever moves work, then asked again and recovered: it is made, charged for and told once.

Which steps there are nobody says here: a process dies one step later than the last, until one of them gets to the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from service.kernel.clock import Clock
from service.kernel.database import Database
from service.payments import wallet
from service.telegram.webhook import PATH, SECRET_HEADER
from tests.cast import PAYER
from tests.e2e.factory import LATER, Telegram
from tests.e2e.process import PRODUCTION, ROOT
from tests.e2e.test_money import verified
from tests.e2e.test_money_crashes import KILLED, STEPS_MOST, Mortal, Nursery, strides
from tests.features.generation.queue.workshop import PAID, PRICE, Workshop, order
from tests.payments.money import BROKEN, balance_of, credit
from tests.serving import SECRET, message, pressed
from tests.waiting import until

CATALOG = """
[[categories]]
id = "all"
title = { en = "All", ru = "Все" }
[[models]]
id = "paid"
title = { en = "Card", ru = "Открытка" }
category = "all"
price_rub = 3
provider = "local"
params = { kind = "card" }
"""
RICH = 1_000
# Nobody is at these, and nobody will be.
ASIDE = "UPDATE generation_jobs SET status = 'waiting', due_at = now() + interval '1 day' WHERE status = 'queued'"


class Desk:
    """Where the payer orders, and what must hold of it."""

    def __init__(self, nursery: Nursery, shop: Workshop, raw: Any, telegram: Telegram) -> None:
        self.nursery, self.shop, self.raw, self.telegram = nursery, shop, raw, telegram

    async def ordered(self) -> UUID:
        wanted = order("Many happy returns", what=PAID)
        await self.shop.place(wanted)
        return wanted.job_id

    async def begin(self, crash_in: str, step: int) -> Mortal:
        return await self.nursery.begin(crash_in, step, "serve")

    async def dies_or(self, mortal: Mortal, job_id: UUID) -> bool:
        """Whether it died before the job was delivered; it is dead in either case."""

        async def is_delivered() -> bool:
            query = "SELECT delivered_at IS NOT NULL FROM generation_jobs WHERE job_id = $1"
            return bool(await self.raw.fetchval(query, job_id))

        async def is_over() -> bool:
            return is_dead(mortal.number) or await is_delivered()

        await until(is_over, 30)
        died = is_dead(mortal.number)
        await self.end(mortal)
        return died

    async def end(self, mortal: Mortal) -> None:
        if not is_dead(mortal.number):
            os.kill(mortal.number, signal.SIGKILL)
        assert await mortal.ended() == KILLED, mortal.output.read_text()
        await self.raw.execute("DELETE FROM instances")  # as if it had been dead for a while

    async def mended(self) -> None:
        """By a process that dies of nothing: everything is at its end."""
        assert await self.nursery.ran("", 0, "recover") == 0
        healthy = await self.begin("", 0)

        async def is_done() -> bool:
            return not await self.raw.fetchval("SELECT count(*) FROM generation_jobs WHERE finished_at IS NULL")

        async def is_told() -> bool:
            return not await self.raw.fetchval("SELECT count(*) FROM generation_jobs WHERE delivered_at IS NULL")

        await until(is_done, 30)
        await self.end(healthy)
        for _ in range(5):
            if not await is_told():
                await self.raw.execute(LATER)
                assert await self.nursery.ran("", 0, "recover") == 0
        assert await is_told()

    async def stands(self, made: int) -> None:
        """So many were made and charged for, and the rest is on the balance."""
        rows = await self.raw.fetch("SELECT status, count(*) FROM generation_jobs GROUP BY status")
        assert {status: count for status, count in rows if status == "success"} == ({"success": made} if made else {})
        assert await self.raw.fetch(BROKEN) == []
        assert await self.raw.fetchval("SELECT count(*) FROM payment_reservations WHERE status = 'held'") == 0
        assert await balance_of(self.raw) == RICH - made * PRICE


def is_dead(number: int) -> bool:
    """Also where nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, db: Database, raw: Any) -> AsyncIterator[Desk]:
    catalog, telegram = tmp_path / "catalog.toml", Telegram()
    catalog.write_text(CATALOG)
    async with telegram.open() as base:
        environ = {**PRODUCTION, "DATABASE_URL": database_url, "CATALOG": str(catalog), "TELEGRAM_API_BASE": base}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.e2e.mortal"),
            cwd=ROOT,
            env=environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        nursery = Nursery(process, tmp_path, environ)
        shop = Workshop(db, Clock())
        await credit(shop.rooms, str(RICH))
        yield Desk(nursery, shop, raw, telegram)
        for number in nursery.alive:
            os.kill(number, signal.SIGKILL)
        process.kill()
        await process.wait()


async def delivered(base: str, update: dict[str, Any]) -> int:
    """The status; 0 where there was no answer."""
    try:
        async with aiohttp.request("POST", base + PATH, json=update, headers={SECRET_HEADER: SECRET}) as response:
            return response.status
    except aiohttp.ClientError:
        return 0


async def test_killed_at_any_step_of_an_order(desk: Desk, database_url: str) -> None:
    """Ordered again by the same update: one job, and the price is put aside once."""
    for turn, step in strides():
        update = message(PAYER, "/generate paid Many happy returns")
        mortal = await desk.begin(PATH, step)
        died = not await delivered(await mortal.base(), update)
        await desk.end(mortal)
        assert await desk.raw.fetch(BROKEN) == [], step
        again = await desk.begin("", 0)
        for _ in range(2):
            assert await delivered(await again.base(), update) == 200
        await desk.end(again)
        assert await desk.raw.fetchval("SELECT count(*) FROM generation_jobs") == turn
        await desk.mended()
        await desk.stands(turn)
        if not died:
            break
    assert 8 < step < STEPS_MOST - 1
    await verified(database_url)


@pytest.mark.parametrize("what", ["_claim_surely", "_carry_out"])
async def test_killed_at_any_step_of_the_work(desk: Desk, database_url: str, what: str) -> None:
    """Whoever comes next goes on: it is made and charged for once, and told."""
    for turn, step in strides():
        job_id = await desk.ordered()
        died = await desk.dies_or(await desk.begin(what, step), job_id)
        assert await desk.raw.fetch(BROKEN) == [], step
        await desk.mended()
        await desk.stands(turn)
        if not died:
            break
    assert (1 if what == "_claim_surely" else 5) < step < STEPS_MOST - 1
    await verified(database_url)


async def test_killed_at_any_step_of_calling_off(desk: Desk, database_url: str) -> None:
    for turn, step in strides():
        job_id = await desk.ordered()
        await desk.raw.execute(ASIDE)
        update = pressed(PAYER, f"cancel:{job_id}")
        mortal = await desk.begin(PATH, step)
        died = not await delivered(await mortal.base(), update)
        await desk.end(mortal)
        assert await desk.raw.fetch(BROKEN) == [], step
        again = await desk.begin("", 0)
        for _ in range(2):
            assert await delivered(await again.base(), update) == 200
        await desk.end(again)
        await desk.stands(0)
        assert await desk.raw.fetchval("SELECT count(*) FROM generation_jobs WHERE status = 'cancelled'") == turn
        if not died:
            break
    assert 5 < step < STEPS_MOST - 1
    await verified(database_url)


async def test_killed_at_any_step_of_a_rescue(desk: Desk, database_url: str) -> None:
    """Two that are due again, and one that was begun too often: its money comes back with its end."""
    for turn, step in strides():
        for _ in range(3):
            await desk.ordered()
        await desk.raw.execute(
            "UPDATE generation_jobs SET status = 'running', lease = 1, attempts = 1, instance_id = gen_random_uuid(),"
            " deadline_at = now() + interval '1 hour' WHERE status = 'queued'"
        )
        await desk.raw.execute(
            "UPDATE generation_jobs SET attempts = 3 WHERE job_id ="
            " (SELECT job_id FROM generation_jobs WHERE status = 'running' LIMIT 1)"
        )
        died = await desk.nursery.ran("rescue_jobs", step, "recover") == KILLED
        assert await desk.raw.fetch(BROKEN) == [], step
        await desk.mended()
        await desk.stands(2 * turn)
        assert await desk.raw.fetchval("SELECT count(*) FROM generation_jobs WHERE status = 'failed'") == turn
        if not died:
            break
    assert 3 < step < STEPS_MOST - 1
    await verified(database_url)


async def test_killed_at_any_step_of_a_delivery(desk: Desk, database_url: str) -> None:
    """Told at least once; and once, where it did not die between the telling and the note of it."""
    for turn, step in strides():
        job_id = await desk.ordered()
        ended = "'success', finished_at = now(), due_at = now(), outputs = jsonb_build_object('text', $1::text)"
        await desk.raw.execute(f"UPDATE generation_jobs SET status = {ended} WHERE status = 'queued'", f"made {job_id}")
        async with desk.shop.rooms.of(Database).transaction() as conn:
            await wallet.capture(desk.shop.rooms, conn, job_id, PRICE, "made")
        died = await desk.nursery.ran("deliver_results", step, "recover") == KILLED
        for _ in range(2):
            await desk.raw.execute(LATER)
            assert await desk.nursery.ran("", 0, "recover") == 0
        assert desk.telegram.made[str(job_id)] in ((1, 2) if died else (1,))
        await desk.stands(turn)
        if not died:
            break
    assert 2 < step < STEPS_MOST - 1
    assert sum(count > 1 for count in desk.telegram.made.values()) <= 2, "the call, and the statement before its note"
    await verified(database_url)
