"""A Bot API that answers what a test told it to, over real HTTP, and a clock that only tests move."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import aiohttp
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.telegram.client import BotApi, InputFile
from service.telegram.pacing import Pacing

TOKEN = "123456789:AAF-abcdefghijklmnopqrstuvwxyz_0123"


class Answer(NamedTuple):
    """What the server says; `breaks` closes the connection without a word once the call is there."""

    status: int = 200
    body: Any = None
    breaks: bool = False


def ok(result: Any = True) -> Answer:
    return Answer(200, {"ok": True, "result": result})


def refusal(status: int, description: str, **parameters: Any) -> Answer:
    body = {"ok": False, "error_code": status, "description": description, "parameters": parameters}
    return Answer(status, body)


BROKEN = Answer(breaks=True)


class HandClock:
    """Stands still but for `sleep`, which returns at once."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


class BotApiServer:
    """Answers `script` in order, then `ok()`; remembers every call as (method, params)."""

    def __init__(self) -> None:
        self.script: deque[Answer] = deque()
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.paths: list[str] = []
        self.held = asyncio.Event()  # while not set, getUpdates without an answer in the script waits
        self.url = ""

    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.paths.append(request.path)
        self.calls.append((method, await _params(request)))
        if not self.script and method == "getUpdates":
            await self.held.wait()
            return web.json_response({"ok": True, "result": []})
        said = self.script.popleft() if self.script else ok()
        if said.breaks:
            assert request.transport is not None
            request.transport.close()
        if isinstance(said.body, bytes):
            return web.Response(status=said.status, body=said.body)
        return web.json_response(said.body, status=said.status)


async def _params(request: web.Request) -> dict[str, Any]:
    if request.content_type != "multipart/form-data":
        return dict(orjson.loads(await request.read()))
    form = await request.post()
    return {name: _file(value) if isinstance(value, web.FileField) else value for name, value in form.items()}


def _file(field: web.FileField) -> InputFile:
    return InputFile(field.filename, field.content_type, field.file.read())


@asynccontextmanager
async def bot_api() -> AsyncIterator[tuple[BotApi, BotApiServer, HandClock]]:
    """A bot and the server it talks to."""
    said, clock = BotApiServer(), HandClock()
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", said.answer)
    server = TestServer(app)
    await server.start_server()
    said.url = str(server.make_url("")).rstrip("/")
    async with aiohttp.ClientSession() as session:
        bot = BotApi(token=TOKEN, base=said.url, session=session, clock=clock, pacing=Pacing(), sleep=clock.sleep)
        yield bot, said, clock
    said.held.set()
    await server.close()
