"""The service as production runs it: a process of its own, told what to do by its environment and by signals.

It knows how to start, ask, signal and await one; it knows nothing of what is to be shown.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp

from service.telegram.webhook import PATH, SECRET_HEADER
from tests.cast import Person
from tests.serving import ADMIN_TOKEN, SECRET, TOKEN, message
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
# A start takes a second, on a machine that nobody else uses; a stop waits 20 s for what is under way.
START_WITHIN_S = 30.0
STOP_WITHIN_S = 30.0
PRODUCTION = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(ROOT),
    "ENVIRONMENT": "production",
    "HOST": "127.0.0.1",
    "PORT": "0",
    "TELEGRAM_BOT_TOKEN": TOKEN,
    "TELEGRAM_WEBHOOK_SECRET": SECRET,
    "TELEGRAM_API_BASE": "http://127.0.0.1:9",  # nobody listens there
    "ADMIN_TOKEN": ADMIN_TOKEN,
    "PROBE_INTERVAL": "1",
}
SERVICE = ("service", "run")
# The same with /count, and with places to die at.
COUNTING = ("tests.e2e.counting",)


class Answer(NamedTuple):
    """What a delivered update was answered, byte for byte, and after how many seconds."""

    status: int
    body: bytes
    headers: dict[str, str]
    seconds: float

    @property
    def call(self) -> Any:
        """The method call in the response; None where there is none."""
        return json.loads(self.body) if self.body else None

    @property
    def text(self) -> str:
        return str((self.call or {}).get("text", ""))


class Process:
    """A running service and the means to talk to it."""

    def __init__(self, process: asyncio.subprocess.Process, output: Path, http: aiohttp.ClientSession) -> None:
        self._process = process
        self._output = output
        self._http = http
        self.base = ""

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def log(self, **fields: object) -> list[dict[str, Any]]:
        """The lines of its log that have these fields."""
        whole, _, _unfinished = self._output.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if fields.items() <= line.items()]

    def has_told(self, *secrets: str) -> bool:
        """Whether any of these is anywhere in its log."""
        told = self._output.read_text()
        return any(secret in told for secret in secrets)

    async def listens(self) -> Self:
        """Wait until its doors are open."""
        await until(lambda: not self.alive or self.log(msg="serving"), START_WITHIN_S)
        assert self.alive, self._output.read_text()
        self.base = f"http://127.0.0.1:{self.log(msg='serving')[0]['port']}"
        return self

    async def is_ready(self) -> bool:
        return (await self.get("/health/ready"))[0] == 200

    async def get(self, path: str) -> tuple[int, Any]:
        """The status and the JSON of a page."""
        async with self._http.get(self.base + path) as response:
            return response.status, await response.json()

    async def post(self, update: dict[str, Any], secret: str = SECRET) -> Answer:
        """Deliver an update as Telegram does. Raises aiohttp.ClientError where no answer came."""
        started = time.monotonic()
        async with self._http.post(self.base + PATH, json=update, headers={SECRET_HEADER: secret}) as response:
            body = await response.read()
            return Answer(response.status, body, dict(response.headers), time.monotonic() - started)

    async def says(self, person: Person, text: str) -> Answer:
        return await self.post(message(person, text))

    async def feature(self, name: str) -> dict[str, Any]:
        """What /health says of one feature."""
        return dict((await self.get("/health"))[1]["features"][name])

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    async def kill(self) -> None:
        """At once, whatever it is doing."""
        self._process.kill()
        await self._process.wait()

    async def ended(self, within: float = STOP_WITHIN_S) -> int:
        """Its exit code; minus the signal that killed it."""
        async with asyncio.timeout(within):
            return await self._process.wait()

    async def stop(self) -> None:
        """As a platform stops it."""
        self.terminate()
        assert await self.ended() == 0, self._output.read_text()


@asynccontextmanager
async def running(module: tuple[str, ...], output: Path, environ: dict[str, str], cwd: Path) -> AsyncIterator[Process]:
    """A process of this module, with its log in a file; killed at the end unless it has ended."""
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *module, cwd=cwd, env=environ, stdout=log, stderr=log
        )
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        started = Process(process, output, http)
        try:
            yield started
        finally:
            if started.alive:
                await started.kill()
