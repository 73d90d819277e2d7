"""Updates per second of the full path with a database read, beside the bare framework.

The full path is everything: secret, decoding, memory, flood guard, user, routing, a read of the person's languages
past the cache, the reply, one log line and the metrics. The two run in turns, on the same machine, for the same time.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import orjson
import psycopg

from benchmarks.load import Result, drive, for_seconds, post, send
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


update_ids = itertools.count(1)
HEADERS = {"Content-Type": "application/json", "X-Telegram-Bot-Api-Secret-Token": SECRET}


def updates(people: int, text: str) -> Iterator[bytes]:
    """Bodies of different people, each with an id of its own."""
    for update_id in update_ids:
        person = {"id": 10_000 + update_id % people, "is_bot": False, "first_name": "Person", "language_code": "en"}
        message = {"message_id": 1, "date": 1, "from": person, "text": text}
        body = {"update_id": update_id, "message": {**message, "chat": {"id": person["id"], "type": "private"}}}
        yield orjson.dumps(body)


class Server(NamedTuple):
    """A server process that answers on a port of this machine."""

    port: int
    pid: int
    dsn: str


Sender = Callable[[int, Iterator[bytes]], Result]


@contextmanager
def server(*command: str, port: int, environ: dict[str, str], log: Path) -> Iterator[Server]:
    """Started, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *command], env=environ, stdout=output, stderr=output)
    try:
        asyncio.run(_answers(port))
        yield Server(port, process.pid, environ.get("DATABASE_URL", ""))
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
def both() -> Iterator[tuple[Server, Server]]:
    """The full service, with a database of its own, and the yardstick."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        database = embedded.start(Path(folder))
        stack.callback(database.stop)
        environ = {**ENVIRONMENT, "DATABASE_URL": database.dsn(), "PORT": "18080"}
        full = server("-m", "service", "run", port=18_080, environ=environ, log=Path(folder, "full.log"))
        bare = server("-m", "benchmarks.bare", "18081", port=18_081, environ={}, log=Path(folder, "bare.log"))
        yield stack.enter_context(full), stack.enter_context(bare)


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(pid: int) -> float:
    """What the process has taken of a core so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def by_client(port: int, bodies: Iterator[bytes]) -> Result:
    return asyncio.run(send(f"http://127.0.0.1:{port}{PATH}", HEADERS, bodies))


def by_bytes(port: int, bodies: Iterator[bytes]) -> Result:
    return asyncio.run(drive(port, (post(PATH, HEADERS, body) for body in bodies)))


def compare() -> None:
    """Updates per second, full path beside bare handler, in turns."""
    with both() as servers:
        bodies = updates(PEOPLE, "/language")
        fill(servers[0])
        ratio = _rounds("forty connections of an HTTP client", by_client, servers, bodies)
        _rounds("a sender that takes almost nothing of the machine", by_bytes, servers, bodies)
        print(f"full path with a database read / bare handler: {ratio:.2f} (wanted: 0.75)")


def fill(full: Server) -> None:
    """Everybody is known from here on, and to the planner too: a server that has run for a minute has seen to that."""
    by_bytes(full.port, itertools.islice(updates(PEOPLE, "/menu"), PEOPLE))
    with psycopg.connect(full.dsn, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE users")


def _rounds(title: str, sender: Sender, servers: tuple[Server, Server], bodies: Iterator[bytes]) -> float:
    """The median of the ratios."""
    print(f" {title}")
    ratios = []
    for number in range(1, ROUNDS + 1):
        full, bare = (_measured(sender, server, bodies) for server in servers)
        ratios.append(full.rate / bare.rate)
        print(f"  round {number}: bare {bare.told}   full {full.told}   ratio {ratios[-1]:.2f}")
    return statistics.median(ratios)


@dataclass(frozen=True, slots=True)
class Measured:
    rate: float
    told: str


def _measured(sender: Sender, server: Server, bodies: Iterator[bytes]) -> Measured:
    before = cpu_seconds(server.pid)
    result = sender(server.port, for_seconds(bodies, SECONDS))
    cpu_us = (cpu_seconds(server.pid) - before) / len(result.latencies) * 1e6
    assert set(result.statuses) == {200}, result.statuses
    return Measured(result.rate, f"{_told(result)} cpu {cpu_us:4.0f} us")


def flat_memory() -> None:
    """Resident memory after each slice of a million updates."""
    with both() as (full, _):
        bodies = updates(FLAT_PEOPLE, "/menu")
        for done in range(FLAT_SLICE, FLAT_UPDATES + 1, FLAT_SLICE):
            result = by_bytes(full.port, itertools.islice(bodies, FLAT_SLICE))
            print(f"  {done:>9} updates   {resident_mb(full.pid):6.1f} MB   {_told(result)}   {result.statuses}")


def _told(result: Result) -> str:
    p50, p99 = result.percentile(0.5) * 1000, result.percentile(0.99) * 1000
    return f"{result.rate:6.0f}/s p50 {p50:4.1f} ms p99 {p99:5.1f} ms"
