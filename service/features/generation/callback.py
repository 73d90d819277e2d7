"""POST /generation/callback/{provider}: the door at which providers say that there is news of a job.

It knows tokens and sizes. What comes is a hint, and is not even looked at: the worker asks the provider's API. So a
forged one could at most make us ask, and the token keeps even that from strangers.
"""

from __future__ import annotations

import asyncio
import hmac
from uuid import UUID

from aiohttp import web

from service.config import Config
from service.errors import DeadlineExceeded, Forged, Invalid, NotFound, TooLarge, Unavailable
from service.feature import HttpRoute, Rooms
from service.features.generation.providers.provider import Providers
from service.features.generation.queue import table
from service.features.generation.queue.bell import Bell
from service.http import LOG_FIELDS
from service.kernel.clock import Clock
from service.kernel.database import Database

PATH = "/generation/callback"
BODY_MAX = 1024 * 1024  # bytes; a prediction comes with its logs
PURPOSE = b"ballast: callbacks of generation"  # so that the key is good for nothing else


def callback_url(config: Config, provider: str, job_id: UUID) -> str | None:
    """Where a provider may tell of this job; None where we cannot be reached, or have no secret to sign with."""
    if config.public_url is None:
        return None
    token = _token(config, str(job_id))
    if token is None:
        return None
    return f"{config.public_url.rstrip('/')}{PATH}/{provider}?job={job_id}&token={token}"


async def _handle(request: web.Request, rooms: Rooms) -> web.StreamResponse:
    provider, job = request.match_info["provider"], request.query.get("job", "")
    if provider not in rooms.of(Providers):
        raise NotFound("There is no such provider here.")
    expected = _token(rooms.of(Config), job)
    if expected is None or not hmac.compare_digest(expected.encode(), request.query.get("token", "").encode()):
        raise Forged
    fields: dict[str, object] = {"provider": provider, "job": job}
    request[LOG_FIELDS] = lambda: fields
    try:
        async with asyncio.timeout(rooms.of(Config).door_timeout):
            await _read(request)
            await _told(rooms, UUID(job))
    except TimeoutError:
        raise DeadlineExceeded from None
    return web.Response()


ROUTE = HttpRoute("POST", f"{PATH}/{{provider}}", _handle)


async def _told(rooms: Rooms, job_id: UUID) -> None:
    """Raises Unavailable where there is no such job: its row may be on its way, so the provider is to come again."""
    async with rooms.of(Database).transaction() as conn:
        if not await table.call_back(conn, job_id=job_id, now=rooms.of(Clock).now()):
            if not await table.is_known(conn, job_id=job_id):
                raise Unavailable("The job is not known, or not yet.")
            return
    rooms.of(Bell).ring()


async def _read(request: web.Request) -> None:
    """To its end, so that the connection can be used again. Raises TooLarge, Invalid."""
    if (request.content_length or 0) > BODY_MAX:
        raise TooLarge
    size = 0
    try:
        async for part in request.content.iter_any():
            size += len(part)
            if size > BODY_MAX:
                raise TooLarge
    except (web.RequestPayloadError, ConnectionError):
        raise Invalid("The body did not come whole.") from None


def _token(config: Config, job: str) -> str | None:
    """What proves that we named the address. https://www.rfc-editor.org/rfc/rfc2104 (HMAC)"""
    secret = config.generation_api_key or config.admin_token
    if not secret:
        return None
    key = hmac.digest(secret.encode(), PURPOSE, "sha256")
    return hmac.digest(key, job.encode(), "sha256").hex()
