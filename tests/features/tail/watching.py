"""What operators see of the tail, as tests read it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aiohttp

from service.feature import Event, Rooms, tell
from service.features.tail.event import TailEvent
from service.features.tail.tail import Tail
from tests.serving import ADMIN_TOKEN, Served

GUARDED = {"Authorization": f"Bearer {ADMIN_TOKEN}"}


def rooms_of(served: Served) -> Rooms:
    return served.operations.switchboard.mounted.rooms


async def keep(served: Served, *events: Event) -> None:
    """Tell, and see to it that they are written."""
    for event in events:
        tell(rooms_of(served), event)
    await rooms_of(served).of(Tail).flush()


def row(name: str = "generation", user_id: int | None = 1, **told: Any) -> TailEvent:
    """A row to be, told now."""
    return TailEvent(uuid4(), name, user_id, "model", json.dumps(told), datetime.now(UTC))


class Listener:
    """A stream of server-sent events, read as a browser reads it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self, within: float = 5.0) -> dict[str, Any]:
        """The next event; heartbeats and the like are passed over."""
        event: dict[str, Any] = {}
        async with asyncio.timeout(within):
            while True:
                line = (await self.response.content.readline()).decode()
                assert line, "the stream has ended"
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "id":
                    event["id"] = value
                elif name == "data":
                    event |= json.loads(value)
                elif not name and event:
                    return event

    async def ended(self, within: float = 5.0) -> bool:
        """Whether it ends in that time, whatever comes before."""
        async with asyncio.timeout(within):
            while await self.response.content.readline():
                pass
        return True


@asynccontextmanager
async def listening(served: Served, query: str = "", **headers: str) -> AsyncIterator[Listener]:
    url = f"{served.base}/admin/tail{query}"
    accepted = {**GUARDED, "Accept": "text/event-stream", **headers}
    async with served.http.get(url, headers=accepted) as response:
        assert response.status == 200, await response.text()
        listener = Listener(response)
        await response.content.readuntil(b"\n\n")
        yield listener


async def page(served: Served, query: str = "") -> tuple[int, Any]:
    headers = {**GUARDED, "Accept": "application/json"}
    async with served.http.get(f"{served.base}/admin/tail{query}", headers=headers) as response:
        return response.status, await response.json()
