"""What operators read of a feature over HTTP: a route that answers with JSON, within the time that a door has.

It knows ids, numbers in a query and the deadline; it knows nothing of what is read. Who may read, the guard in front of
everything under /admin has seen to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from service import http
from service.config import Config
from service.errors import DeadlineExceeded, Invalid, NotFound
from service.feature import HttpRoute, Rooms

ID_MAX = 2**63 - 1
DIGITS_MAX = 19


@dataclass(frozen=True, slots=True)
class Asked:
    """What stands in a request's path, and behind it."""

    path: Mapping[str, str]
    query: Mapping[str, str]

    def id(self, name: str) -> int:
        """An id in the path. Raises NotFound for what can be nobody's."""
        found = number(self.path[name], ID_MAX, least=0)
        if found is None:
            raise NotFound
        return found

    def number(self, name: str, default: int, most: int) -> int:
        """Raises Invalid unless it is between 1 and `most`."""
        found = number(self.query.get(name, str(default)), most)
        if found is None:
            raise Invalid(f"`{name}` must be a number from 1 to {most}.")
        return found


def number(text: str, most: int, least: int = 1) -> int | None:
    """A whole number within the bounds as people write it; None for anything else."""
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        return None
    return int(text) if least <= int(text) <= most else None


def route(path: str, read: Callable[[Rooms, Asked], Awaitable[object]]) -> HttpRoute:
    """GET: what `read` finds, as JSON. Its queries end with it when the time of a door is over."""

    async def handle(request: web.Request, rooms: Rooms) -> web.StreamResponse:
        try:
            async with asyncio.timeout(rooms.of(Config).door_timeout):
                return http.answer(await read(rooms, Asked(request.match_info, request.query)))
        except TimeoutError:
            raise DeadlineExceeded from None

    return HttpRoute("GET", path, handle)
