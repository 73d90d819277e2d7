"""POST for operators: what is asked for is read strictly, done once for its key, and noted in the log.

It knows keys, bodies and the transaction around a write; it knows nothing of what is written. Who may write, the guard
in front of everything under /admin has seen to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from aiohttp import hdrs, web

from service.errors import Invalid
from service.feature import HttpRoute, Rooms
from service.kernel.clock import Clock
from service.kernel.database import Connection
from service.ops.reading import Asked
from service.ops.writing import idempotency, journal
from service.ops.writing.idempotency import Answer, Write
from service.ops.writing.journal import Deed

KEY_HEADER = "Idempotency-Key"
KEY = re.compile(r"[\x20-\x7e]{1,255}")  # all of it: 1 to 255 printable characters of ASCII

B = TypeVar("B", bound=msgspec.Struct)


class Done(msgspec.Struct, frozen=True):
    """What is answered, and what the log says: of what (`kind:id`), and how."""

    told: object
    subject: str
    details: Mapping[str, object] = {}


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request whose path says it all."""


def who_asks(request: web.Request) -> str:
    """Operators share one token; what tells them apart is where they are, and whether a script asks."""
    by = "script" if hdrs.AUTHORIZATION in request.headers else "browser"
    return f"{by} at {request.remote}"


def key_of(request: web.Request) -> str:
    """Raises Invalid without a fitting Idempotency-Key."""
    key = request.headers.get(KEY_HEADER)
    if key is None or not KEY.fullmatch(key):
        raise Invalid("Send an `Idempotency-Key` of 1 to 255 printable ASCII characters.")
    return key


async def body_of(request: web.Request, kind: type[B]) -> B:
    """What is asked for; nothing at all is an empty object. Raises Invalid for a field too much or of another kind."""
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except (web.RequestPayloadError, ConnectionError):
        raise Invalid("The body did not come whole.") from None
    except msgspec.MsgspecError as error:
        raise Invalid(f"The body is not as it must be: {error}.") from None


def route(
    path: str, what: str, kind: type[B], work: Callable[[Rooms, Connection, Asked, B], Awaitable[Done]]
) -> HttpRoute:
    """POST: `work` on a transaction of its own, which also keeps the answer and what the log says of it as `what`."""

    async def handle(request: web.Request, rooms: Rooms) -> web.StreamResponse:
        asked, wanted = Asked(request.match_info, request.query), await body_of(request, kind)
        write = Write(_scope(what, request.path), key_of(request), _digest(wanted))

        async def do(conn: Connection) -> Answer:
            done = await work(rooms, conn, asked, wanted)
            deed = Deed(who_asks(request), what, done.subject, done.details)
            await journal.note(conn, deed, rooms.of(Clock).now())
            return Answer(200, msgspec.json.encode(done.told))

        answer = await idempotency.at_once(rooms, write, do)
        return web.Response(body=answer.body, status=answer.status, content_type="application/json")

    return HttpRoute("POST", path, handle)


def _scope(what: str, path: str) -> str:
    """What is written to; whose id is in the path is not kept, also not by what erases him."""
    return f"{what}:{hashlib.sha256(path.encode()).hexdigest()[:32]}"


def _digest(wanted: Any) -> bytes:
    return hashlib.sha256(msgspec.json.encode(wanted)).digest()
