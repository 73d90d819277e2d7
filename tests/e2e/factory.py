"""Processes that make what people order, people who order, and a stand-in of Telegram that counts what it is told.

It knows how work is ordered and what must hold of it in the end; it knows nothing of what is done to the processes.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import asyncpg
from aiohttp import web

from service.features.generation.bot import texts
from service.features.generation.bot.generate import ORDERS
from service.kernel.clock import Clock
from service.kernel.database import Database, DatabaseSettings
from tests.cast import Person
from tests.e2e.process import PRODUCTION, ROOT, START_WITHIN_S, Process, running
from tests.e2e.test_money import verified
from tests.e2e.traffic import answered
from tests.e2e.working import CATALOG, MODULE
from tests.payments.money import BROKEN, credit, rooms_for
from tests.serving import ADMIN_TOKEN, SECRET, TOKEN, listening, message
from tests.waiting import until

ACCEPTED = texts.ACCEPTED.en.partition("{")[0]
RICH = "3000.00"
AGAIN_S = 0.6  # a person may be handled twice a second
LIVES_S = 2  # JOB_HEARTBEAT_TTL
OPEN = "SELECT count(*) FROM generation_jobs WHERE finished_at IS NULL"
# As if what recovery has to tell later were to be told now.
LATER = "UPDATE generation_jobs SET due_at = now() WHERE finished_at IS NOT NULL AND delivered_at IS NULL"


class Telegram:
    """Takes every call, and keeps what was said of jobs."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self._numbers = itertools.count(1)

    async def call(self, request: web.Request) -> web.Response:
        body = await request.read()
        told = json.loads(body) if body and request.content_type == "application/json" else {}
        text = str(told.get("text", ""))
        if text.startswith("made "):
            self.made[text.split()[1]] += 1
        result = {"message_id": next(self._numbers), "username": "bot"}
        return web.json_response({"ok": True, "result": result})

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.call)
        async with listening(app) as base:
            yield base


@dataclass
class Factory:
    """Processes on one database; those in `processes` have doors, those in `workers` have none."""

    url: str
    folder: Path
    stack: AsyncExitStack
    environ: dict[str, str]
    telegram: Telegram = field(default_factory=Telegram)
    processes: list[Process] = field(default_factory=list)
    workers: list[Process] = field(default_factory=list)
    everybody: list[Process] = field(default_factory=list)
    kept: set[UUID] = field(default_factory=set)
    here: set[UUID] = field(default_factory=set)
    refused: int = 0
    longest_s: float = 0.0
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    async def serve(self, **settings: str) -> Process:
        process = await (await self._begin("run", settings)).listens()
        await until(process.is_ready, START_WITHIN_S)
        self.processes.append(process)
        return process

    async def work(self, **settings: str) -> Process:
        process = await self._begin("work", settings)
        await until(lambda: not process.alive or process.log(msg="working"), START_WITHIN_S)
        assert process.alive
        self.workers.append(process)
        return process

    async def _begin(self, command: str, settings: dict[str, str]) -> Process:
        output = self.folder / f"{command}-{next(self._numbers)}.log"
        begun = running((MODULE, command), output, self.environ | settings, ROOT)
        process = await self.stack.enter_async_context(begun)
        self.everybody.append(process)
        return process

    async def order(self, number: int, model: str, prompt: str) -> None:
        """Until it is taken: each by somebody else. While the database is away, free work is taken without a row."""
        update = message(person(number), f"/generate {model} {prompt}")
        job_id = uuid5(ORDERS, f"{TOKEN.partition(':')[0]}:{update['update_id']}")
        while True:
            started = time.monotonic()
            answer = await answered(self.processes[number % len(self.processes)], update)
            self.longest_s = max(self.longest_s, time.monotonic() - started)
            if answer is not None and f"cancel:{job_id}" in str(answer.call):
                self.kept.add(job_id)
                return
            if answer is not None and answer.text.startswith(ACCEPTED):
                self.here.add(job_id)
                return
            self.refused += 1
            await asyncio.sleep(AGAIN_S)

    @property
    def ordered(self) -> int:
        return len(self.kept) + len(self.here)

    async def rich(self, numbers: range) -> None:
        """These have money enough."""
        database = Database(DatabaseSettings(self.url))
        await database.start()
        rooms = rooms_for(database, Clock())
        for some in (numbers[at : at + 10] for at in range(0, len(numbers), 10)):
            await asyncio.gather(*(credit(rooms, RICH, user_id=person(number).user_id) for number in some))
        await database.stop()

    async def done(self, raw: Any, within: float) -> float:
        async def is_done() -> bool:
            return not await raw.fetchval(OPEN)

        return await until(is_done, within)

    async def close(self, raw: Any) -> None:
        """Stop them all, and recover what they left."""
        living = [process for process in self.everybody if process.alive]
        for process in living:
            process.terminate()
        for process in living:
            assert await process.ended() == 0
        for _ in range(50):
            await raw.execute(LATER)
            told = await self.command("recover")
            if not await raw.fetchval("SELECT count(*) FROM generation_jobs WHERE delivered_at IS NULL"):
                return
        raise AssertionError(told)

    async def command(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", MODULE, *words),
            cwd=ROOT,
            env=self.environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return (await process.communicate())[0].decode()

    async def differences(self, raw: Any, *, may_lose_workers: bool = False) -> tuple[int, int]:
        """How much was lost and how much is double: of jobs, of money, of what people were told."""
        jobs = await raw.fetch("SELECT job_id, status, price_rub, error_code, delivered_at FROM generation_jobs")
        held = dict(await raw.fetch("SELECT reservation_id, status FROM payment_reservations"))
        query = "SELECT reservation_id, count(*) FROM payment_transactions WHERE type = 'deduction' GROUP BY 1"
        charged = dict(await raw.fetch(query))
        rows = {job["job_id"] for job in jobs}
        lost = len(self.kept - rows) + sum(not self.telegram.made[str(job_id)] for job_id in self.here)
        double = len(charged.keys() - rows) + len(self.here & rows) + sum(count > 1 for count in charged.values())
        for job in jobs:
            job_id, made = job["job_id"], job["status"] == "success"
            excused = may_lose_workers and job["error_code"] == "worker_lost"
            lost += (
                not (made or excused) or job["delivered_at"] is None or (made and not self.telegram.made[str(job_id)])
            )
            double += not made and self.telegram.made[str(job_id)] > 0
            if job["price_rub"]:
                lost += (job_id in charged) is not made or held[job_id] != ("captured" if made else "released")
        return lost, double

    @property
    def told_again(self) -> int:
        """Results that somebody was told of more than once."""
        return sum(count > 1 for count in self.telegram.made.values())

    async def given_up(self, raw: Any) -> int:
        """Jobs that three deaths have ended, with the money given back."""
        return int(await raw.fetchval("SELECT count(*) FROM generation_jobs WHERE error_code = 'worker_lost'"))

    async def stands(self, raw: Any, **how: bool) -> None:
        """Everything was done once, and the books agree."""
        assert await self.differences(raw, **how) == (0, 0)
        assert await raw.fetchval("SELECT count(*) FROM payment_reservations WHERE status = 'held'") == 0
        assert await raw.fetchval("SELECT count(*) FROM instances WHERE beat_at > now() - interval '1 s'") == 0
        assert await raw.fetch(BROKEN) == []
        await verified(self.url)

    def well_behaved(self) -> None:
        for process in self.everybody:
            assert process.log(level="ERROR") == [], "whatever was done to it, it was ready for that"
            assert not process.has_told(TOKEN, SECRET, ADMIN_TOKEN)


def person(number: int) -> Person:
    return Person(200_000 + number, None, f"Person {number}", None, "en")


@asynccontextmanager
async def factory(database_url: str, folder: Path, **settings: str) -> AsyncIterator[Factory]:
    catalog = folder / "catalog.toml"
    catalog.write_text(CATALOG)
    async with AsyncExitStack() as stack:
        environ = {
            **PRODUCTION,
            "DATABASE_URL": database_url,
            "CATALOG": str(catalog),
            "JOB_HEARTBEAT_TTL": str(LIVES_S),
            "BLOCKS": str(folder / "blocks"),
            "PATH": os.environ["PATH"],
            **settings,
        }
        made = Factory(database_url, folder, stack, environ)
        made.environ["TELEGRAM_API_BASE"] = await stack.enter_async_context(made.telegram.open())
        yield made


@asynccontextmanager
async def looking(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of our own."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()
