"""Updates per second of the full path with a database read, beside the bare framework.

The full path is everything: secret, decoding, memory, flood guard, user, routing, a read of the person's row past
the cache, the reply, one log line and the metrics. The two run in turns, on the same machine, for the same time.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson

from benchmarks.load import Result, drive, for_seconds, post
from service.kernel import embedded

SECRET = "benchmark-secret"
PATH = "/telegram/webhook"
# Each of them writes about twice a second at full speed, which is what the flood guard lets pass.
PEOPLE = 8_000
ROUNDS = 5
SECONDS = 4.0
# A million updates from 200,000 people: more than any cache of ours holds.
FLAT_UPDATES = 1_000_000
FLAT_PEOPLE = 200_000
FLAT_SLICE = 100_000

ENVIRONMENT = {
    "ENVIRONMENT": "production",
    "HOST": "127.0.0.1",
    "TELEGRAM_BOT_TOKEN": "4242:benchmark-token-of-a-bot-that-nobody-has",
    "TELEGRAM_WEBHOOK_SECRET": SECRET,
    "TELEGRAM_API_BASE": "http://127.0.0.1:9",
    "ADMIN_TOKEN": "benchmark-admin",
    "MIGRATE_ON_START": "on",
    "PATH": os.environ["PATH"],
}


def updates(people: int, text: str) -> Iterator[bytes]:
    """Requests of different people, each with an id of its own."""
    for update_id in itertools.count(1):
        person = {"id": 10_000 + update_id % people, "is_bot": False, "first_name": "Person", "language_code": "en"}
        message = {"message_id": 1, "date": 1, "from": person, "text": text}
        body = {"update_id": update_id, "message": {**message, "chat": {"id": person["id"], "type": "private"}}}
        yield post(PATH, {"X-Telegram-Bot-Api-Secret-Token": SECRET}, orjson.dumps(body))


@contextmanager
def server(*command: str, port: int, environ: dict[str, str], log: Path) -> Iterator[int]:
    """A server process that answers on the port; its process id."""
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *command], env=environ, stdout=output, stderr=output)
    try:
        asyncio.run(_answers(port))
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


async def _answers(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@contextmanager
def both() -> Iterator[tuple[int, int, int]]:
    """The ports of the full service and of the yardstick, and the full service's process id."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        database = embedded.start(Path(folder))
        stack.callback(database.stop)
        full, bare = 18_080, 18_081
        environ = {**ENVIRONMENT, "DATABASE_URL": database.dsn(), "PORT": str(full)}
        log = Path(folder, "log")
        pid = stack.enter_context(server("-m", "service", "run", port=full, environ=environ, log=log))
        stack.enter_context(server("-m", "benchmarks.bare", str(bare), port=bare, environ=dict(os.environ), log=log))
        yield full, bare, pid


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def compare() -> None:
    """Alternate, so that whatever else the machine does meets both."""
    with both() as (full, bare, _):
        requests = updates(PEOPLE, "/language")
        asyncio.run(drive(full, itertools.islice(requests, PEOPLE)))  # everybody is known from here on
        ratios = []
        for number in range(1, ROUNDS + 1):
            plain = asyncio.run(drive(bare, for_seconds(requests, SECONDS)))
            ours = asyncio.run(drive(full, for_seconds(requests, SECONDS)))
            assert set(ours.statuses) == {200}, ours.statuses
            ratios.append(ours.rate / plain.rate)
            print(f"  round {number}: bare {_told(plain)}   full {_told(ours)}   ratio {ratios[-1]:.2f}")
        print(f"full path with a database read / bare handler: {statistics.median(ratios):.2f} (wanted: 0.75)")


def flat_memory() -> None:
    """Resident memory after each slice of a million updates."""
    with both() as (full, _, pid):
        requests = updates(FLAT_PEOPLE, "/menu")
        for done in range(FLAT_SLICE, FLAT_UPDATES + 1, FLAT_SLICE):
            result = asyncio.run(drive(full, itertools.islice(requests, FLAT_SLICE)))
            print(f"  {done:>9} updates   {resident_mb(pid):6.1f} MB   {_told(result)}   {result.statuses}")


def _told(result: Result) -> str:
    p50, p99 = result.percentile(0.5) * 1000, result.percentile(0.99) * 1000
    return f"{result.rate:6.0f}/s p50 {p50:4.1f} ms p99 {p99:5.1f} ms"
