"""Forty connections that each post the next update as soon as the last one is answered: two senders.

`send` is an HTTP client as anybody has one, aiohttp's. `drive` writes bytes into sockets and reads just enough of the
answers: it takes so little of the machine that only the server is the bound. Both know nothing of what they post.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import aiohttp

CONNECTIONS = 40


@dataclass(slots=True)
class Result:
    """What a run saw. Latencies in seconds."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def note(self, status: int, seconds: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies.append(seconds)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Connection(asyncio.Protocol):
    """One keep-alive connection. Reads a response, notes it, posts the next update."""

    def __init__(self, requests: Iterator[bytes], result: Result, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._result = result
        self._done = done
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._post()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < _content_length(head):
            return
        self._buffer = b""
        self._result.note(int(head[9:12]), time.perf_counter() - self._sent_at)
        self._post()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionResetError("the server closed the connection"))

    def _post(self) -> None:
        request = next(self._requests, None)
        if request is None:
            if not self._done.done():
                self._done.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


async def send(url: str, headers: dict[str, str], bodies: Iterator[bytes], *, connections: int = CONNECTIONS) -> Result:
    """Post every body with an HTTP client."""
    result = Result()

    async def keep_sending(http: aiohttp.ClientSession) -> None:
        for body in bodies:
            sent_at = time.perf_counter()
            async with http.post(url, data=body, headers=headers) as response:
                await response.read()
            result.note(response.status, time.perf_counter() - sent_at)

    started = time.perf_counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as http:
        await asyncio.gather(*(keep_sending(http) for _ in range(connections)))
    result.seconds = time.perf_counter() - started
    return result


async def drive(port: int, requests: Iterator[bytes], *, connections: int = CONNECTIONS) -> Result:
    """Post every request. Raises ConnectionError when the server hangs up."""
    loop, result = asyncio.get_running_loop(), Result()
    futures = [loop.create_future() for _ in range(connections)]
    started = time.perf_counter()
    for done in futures:
        await loop.create_connection(lambda done=done: Connection(requests, result, done), "127.0.0.1", port)
    await asyncio.gather(*futures)
    result.seconds = time.perf_counter() - started
    return result


def for_seconds(requests: Iterator[bytes], seconds: float) -> Iterator[bytes]:
    """As many as fit into so many seconds from now."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        yield next(requests)


def post(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """The bytes of one request."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
