"""The makers' stand-ins over real HTTP, and the providers that call them as the settings say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiohttp import web

from service.catalog import Model
from service.config import Config
from service.feature import Rooms
from service.features.generation import providers
from service.features.generation.providers.provider import Provider, ProviderFailed, Request
from service.kernel.clock import Clock
from service.sandbox.generation import Generation
from service.text import Text
from tests.serving import config_for, listening

KEY = "sk-nobody-may-see-this"
PROMPT = "a cat that nobody may see in a log"
NOBODY = "postgresql://nobody@127.0.0.1:9/nobody"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Moved(Clock):
    """The machine's clock, and as much more as a test says."""

    def __init__(self) -> None:
        self.by = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.by


def request(prompt: str = PROMPT, *, job_id: UUID | None = None, callback: str | None = None, **params: Any) -> Request:
    """An order for a model with these parameters; its tries may take `timeout_s`, 5 seconds."""
    timeout_s = params.pop("timeout_s", 5)
    model = Model("made", Text("Made", "Made"), "tools", Decimal(1), "any", params, 4_000, timeout_s)
    return Request(job_id or uuid4(), model, prompt, callback_url=callback)


def opened(session: aiohttp.ClientSession, base: str, clock: Clock, **settings: str) -> providers.Providers:
    reached = {"GENERATION_API_BASE": base, "GENERATION_API_KEY": KEY}
    reached |= {"PREDICTIONS_API_BASE": base, "PREDICTIONS_API_KEY": KEY}
    config = config_for(NOBODY, **(reached | settings))
    found = providers.opened(Rooms({Config: config, aiohttp.ClientSession: session, Clock: clock}))
    for name in ("openai", "task"):
        if name in found:
            found.get(name)._api.pauses_s = (0.0, 0.0)
    return found


@dataclass
class Makers:
    """`base` is where the stand-in's files are; `called` gathers what came to the address that a callback goes to."""

    sandbox: Generation
    providers: providers.Providers
    session: aiohttp.ClientSession
    clock: Moved
    base: str
    callback: str
    called: list[Any] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def get(self, name: str) -> Provider:
        return self.providers.get(name)

    async def take(self, asked: web.Request) -> web.Response:
        self.called.append(await asked.json())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@asynccontextmanager
async def makers_at_work() -> AsyncIterator[Makers]:
    sandbox, app, clock, called = Generation(KEY, takes_s=None), web.Application(), Moved(), web.Application()
    sandbox.mount(app)
    doors = _open(called)
    async with listening(app) as base, listening(called) as back, aiohttp.ClientSession() as session:
        found = opened(session, f"{base}/sandbox/generation/v1", clock)
        made = Makers(sandbox, found, session, clock, f"{base}/sandbox/generation", f"{back}/news")
        doors.append(made.take)
        yield made


def _open(app: web.Application) -> list[Handler]:
    """Everything that comes to the app goes to the last handler of the list."""
    handlers: list[Handler] = []

    async def handle(asked: web.Request) -> web.StreamResponse:
        return await handlers[-1](asked)

    app.router.add_route("*", "/{path:.*}", handle)
    return handlers


@dataclass
class Odd:
    """A server that does whatever a test says; `asked` is what came in: method, path, headers."""

    providers: providers.Providers
    session: aiohttp.ClientSession
    base: str
    handle: Handler | None = None
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    async def take(self, asked: web.Request) -> web.StreamResponse:
        self.asked.append((asked.method, asked.raw_path, dict(asked.headers)))
        await asked.read()
        assert self.handle is not None
        return await self.handle(asked)

    def answers(self, *given: Any, **more: Any) -> None:
        async def handle(_: web.Request) -> web.StreamResponse:
            return web.Response(*given, **more)

        self.handle = handle

    def breaks_off(self, *, after: bytes | None = None) -> None:
        """The connection is closed, at once or in the middle of an answer."""

        async def handle(asked: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            if after is not None:
                await response.prepare(asked)
                await response.write(after)
            assert asked.transport is not None
            (asked.transport.abort if after is None else asked.transport.close)()
            return response

        self.handle = handle


@asynccontextmanager
async def odd_server() -> AsyncIterator[Odd]:
    app = web.Application()
    doors = _open(app)
    async with listening(app) as base, aiohttp.ClientSession() as session:
        made = Odd(opened(session, f"{base}/v1", Clock()), session, base)
        doors.append(made.take)
        yield made


async def failure(work: Awaitable[Any], *hidden: str) -> ProviderFailed:
    """How it failed; and nothing of a key, an address or somebody's words is in that."""
    with pytest.raises(ProviderFailed) as caught:
        await work
    error = caught.value
    seen = f"{error!r} {error} {error.__cause__!r} {error.__context__!r}"
    assert not [one for one in (KEY, PROMPT, "127.0.0.1", "http://", *hidden) if one in seen]
    return error
