"""A scripted bot of a few lines and the sandbox it talks to, both on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from service.sandbox import Sandbox

TOKEN = "1000:sandbox-token"
SECRET = "a-webhook-secret"


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Telegram:
    """The sandbox and a client that calls it as a bot would."""

    sandbox: Sandbox
    base: str
    http: aiohttp.ClientSession

    async def call(self, method: str, **params: Any) -> tuple[int, dict[str, Any]]:
        async with self.http.post(f"{self.base}/bot{TOKEN}/{method}", json=params) as response:
            return response.status, await response.json()

    async def does(self, method: str, **params: Any) -> Any:
        """The result of a call that must succeed."""
        status, body = await self.call(method, **params)
        assert (status, body["ok"]) == (200, True), body
        return body["result"]

    async def refuses(self, method: str, **params: Any) -> str:
        """The description of a call that must not."""
        status, body = await self.call(method, **params)
        assert not body["ok"], body
        assert status == body["error_code"]
        return f"{status} {body['description']}"


Reaction = Callable[[dict[str, Any]], Any]


def quiet(update: dict[str, Any]) -> Any:
    return None


@dataclass
class Bot:
    """Receives updates on a webhook; `react` answers with a method to run, a status, or nothing."""

    url: str = ""
    react: Reaction = quiet
    got: list[dict[str, Any]] = field(default_factory=list)
    secrets: list[str | None] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.Response:
        update = await request.json()
        self.got.append(update)
        self.secrets.append(request.headers.get("X-Telegram-Bot-Api-Secret-Token"))
        answer = self.react(update)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, web.Response):
            return answer
        if isinstance(answer, int):
            return web.Response(status=answer, headers=self.headers)
        return web.json_response(answer) if answer else web.Response()

    def texts(self) -> list[str]:
        return [update["message"]["text"] for update in self.got if "message" in update]


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running(sandbox: Sandbox) -> AsyncIterator[Telegram]:
    app = web.Application()
    sandbox.mount(app)
    async with serving(app) as address, aiohttp.ClientSession() as http:
        yield Telegram(sandbox, f"{address}/sandbox", http)


async def until(true: Callable[[], object]) -> None:
    """Return when the condition holds; TimeoutError after five seconds."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.01)
