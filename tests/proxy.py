"""A TCP proxy that mistreats what goes through it, for tests of what a network can do to a conversation."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
from types import TracebackType
from typing import Self

CHUNK = 65536


class Proxy:
    """Passes bytes between its own port and `target` on 127.0.0.1. Each fault can be set at any time.

    delay      seconds that each chunk is held back
    chunk      bytes passed on at a time
    silent     nothing is passed on any more, in either direction, and nothing is closed
    cut_after  a request with these bytes reaches the server; its reply, and the connection, are lost
    cuts       how many more times
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self.chunk = CHUNK
        self.silent = False
        self.cut_after: bytes | None = None
        self.cuts = math.inf
        self._links: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.reset()

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def reset(self) -> None:
        """RST on every connection there is."""
        for client, server in self._links:
            sock = client.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.transport.abort()
            server.transport.abort()

    def half_close(self) -> None:
        """The client hears the end of every conversation, and may go on talking."""
        for client, _server in self._links:
            with contextlib.suppress(OSError):  # gone by itself at this very moment
                client.write_eof()

    async def _link(self, from_client: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        try:
            from_server, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            client.transport.abort()
            return
        link = (client, server)
        self._links.add(link)
        requests = asyncio.create_task(self._pass(from_client, server, link, requests=True))
        await self._pass(from_server, client, link, requests=False)
        requests.cancel()
        self._links.discard(link)
        client.transport.abort()
        server.transport.abort()

    async def _pass(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        link: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        requests: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                await asyncio.sleep(self.delay)
                if self.silent:
                    await asyncio.Event().wait()
                for start in range(0, len(data), self.chunk):
                    sink.write(data[start : start + self.chunk])
                    await sink.drain()
                if requests and self._cuts(data):
                    link[0].transport.abort()

    def _cuts(self, data: bytes) -> bool:
        if not self.cut_after or self.cut_after not in data or not self.cuts:
            return False
        self.cuts -= 1
        return True
