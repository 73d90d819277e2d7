"""What operators follow over HTTP: a route that answers with server-sent events, or with one page of JSON.

It knows the wire format (https://html.spec.whatwg.org/multipage/server-sent-events.html), how many may listen, and how
a stream ends: it knows nothing of what is sent. Who may listen, the guard in front of everything under /admin has seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import NamedTuple

import msgspec
from aiohttp import hdrs, web

from service.config import Config
from service.errors import DeadlineExceeded, Unavailable
from service.feature import HttpRoute, Rooms
from service.ops import reading
from service.ops.reading import Asked

# Of one process. Operators are few, and each of them looks at the database every second.
LISTENERS_MAX = 20
# A proxy in between gives up on a connection that is silent for a minute, or for half of one.
HEARTBEAT_S = 15.0
# Who takes nothing for so long is gone; he may come again, and go on where he was.
SLOW_S = 10.0
# Then a listener has to show again that he may listen. Browsers come back by themselves.
LASTS_S = 3_600.0
LAST_EVENT_ID = "Last-Event-ID"
HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-store",
    "X-Accel-Buffering": "no",  # nginx would gather what is to be seen at once
}
HEARTBEAT = b":\n\n"
# Milliseconds until a browser comes back after a connection that broke.
RETRY = b"retry: 1000\n\n"


class Sent(NamedTuple):
    """One event: the cursor to go on after it, and what is sent as JSON."""

    id: str
    data: object


Page = Callable[[Rooms, Asked], Awaitable[object]]
Open = Callable[[Rooms, Asked, str | None], Awaitable[AsyncIterator[Sequence[Sent]]]]
"""Given the last id that the listener has seen: batches, empty ones now and then, for a heartbeat."""


class TooManyListeners(Unavailable):
    """Too many listen already; ask for a page of JSON, or come later."""

    code = "too_many_listeners"


class Streams:
    """Those that are open in this process; they end at once when it stops."""

    def __init__(self, most: int = LISTENERS_MAX) -> None:
        self._most, self._ended = most, False
        self._open: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    def require_place(self) -> None:
        """Raises TooManyListeners."""
        if self._ended or len(self._open) >= self._most:
            raise TooManyListeners

    async def run(self, sending: Coroutine[object, object, None]) -> None:
        """Until it ends, its listener leaves, or the process stops."""
        task = asyncio.create_task(sending)
        self._open.add(task)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            self._open.discard(task)

    async def end(self, _app: web.Application) -> None:
        """For on_shutdown: nobody waits for a stream that has no end."""
        self._ended = True
        for task in self._open:
            task.cancel()


STREAMS = web.AppKey("streams", Streams)


def route(path: str, open_stream: Open, page: Page) -> HttpRoute:
    """GET: a stream, unless the listener accepts JSON and no events."""
    as_page = reading.route(path, page)

    async def handle(request: web.Request, rooms: Rooms) -> web.StreamResponse:
        if _wants_page(request):
            return await as_page.handler(request, rooms)
        streams = request.app[STREAMS]
        streams.require_place()
        asked = Asked(request.match_info, request.query)
        batches = await _opened(open_stream, rooms, asked, request.headers.get(LAST_EVENT_ID))
        response = web.StreamResponse(headers=HEADERS)
        streams.require_place()
        await response.prepare(request)
        await streams.run(_send(response, batches))
        if request.transport is not None and request.transport.get_write_buffer_size():
            request.transport.abort()  # he does not read, and would hold up a stop
        return response

    return HttpRoute("GET", path, handle)


def written(sent: Sent) -> bytes:
    return b"id: %s\ndata: %s\n\n" % (sent.id.encode(), msgspec.json.encode(sent.data))


def _wants_page(request: web.Request) -> bool:
    accepted = request.headers.get(hdrs.ACCEPT, "")
    return "application/json" in accepted and "text/event-stream" not in accepted


async def _opened(
    open_stream: Open, rooms: Rooms, asked: Asked, last_seen: str | None
) -> AsyncIterator[Sequence[Sent]]:
    try:
        async with asyncio.timeout(rooms.of(Config).door_timeout):
            return await open_stream(rooms, asked, last_seen)
    except TimeoutError:
        raise DeadlineExceeded from None


async def _send(response: web.StreamResponse, batches: AsyncIterator[Sequence[Sent]]) -> None:
    """A batch is fetched when the one before it is gone: a slow reader holds one in memory."""
    time_of = asyncio.get_running_loop().time
    ends_at, spoke_at = time_of() + LASTS_S, time_of()
    try:
        await _write(response, RETRY)
        async for batch in batches:
            if batch or time_of() - spoke_at > HEARTBEAT_S:
                await _write(response, b"".join(map(written, batch)) or HEARTBEAT)
                spoke_at = time_of()
            if time_of() > ends_at:
                return
    except (ConnectionError, TimeoutError):  # he left, or reads nothing
        return


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    async with asyncio.timeout(SLOW_S):
        await response.write(chunk)
