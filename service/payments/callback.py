"""POST /payments/{provider}: the door at which processors tell of money.

It knows sizes, encodings and the order verify, parse, confirm, settle; it knows no processor by name. What it
answers with 200 is stored; what cannot be stored is a 503, and the processor sends it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import hdrs, web

from service.config import Config
from service.errors import DeadlineExceeded, Invalid, TooLarge, TransactionConflict, Unavailable, Upstream, UserMissing
from service.feature import NOBODY, Event, HttpRoute, Rooms, tell
from service.http import LOG_FIELDS, refusal
from service.kernel.clock import Clock
from service.kernel.coalesce import Coalesced
from service.kernel.database import Database
from service.kernel.jobs import JobLoop
from service.payments import inbox
from service.payments.event import Report
from service.payments.inbox import Outcome
from service.payments.providers import Providers
from service.payments.providers.provider import Provider
from service.payments.settle import Entangled, Settlement, is_plain

# Bytes. The largest callback that was ever seen has 17 KiB.
BODY_MAX = 256 * 1024
BODY: web.RequestKey[bytes] = web.RequestKey("body")
TRIES = 3  # of a transaction that others collide with
Told = tuple[Rooms, Report]
# Jobs that a settlement gives something to do.
AFTER_SETTLING = ("apply_waiting_events", "tell_payers")


def route(name: str) -> HttpRoute:
    """The door of one processor."""

    async def handle(request: web.Request, rooms: Rooms) -> web.StreamResponse:
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            return _encoded()
        provider = rooms.of(Providers).get(name)
        try:
            async with asyncio.timeout(rooms.of(Config).door_timeout):
                body = await _body(request)
                provider.verify(request.headers, body, rooms.of(Clock).now())
                outcome = await take_in(rooms, provider, provider.parse(body))
        except TimeoutError:
            raise DeadlineExceeded from None
        request[LOG_FIELDS] = lambda: {"provider": name, **outcome.log_fields()}
        return web.Response()

    return HttpRoute("POST", f"/payments/{name}", handle)


def _encoded() -> web.Response:
    """And the connection ends: what cannot be unpacked breaks it, and the next request must not be lost with it."""
    response = refusal("encoding", "The body must not be encoded: it is signed as it is.", 415)
    response.force_close()
    return response


async def take_in(rooms: Rooms, provider: Provider, report: Report) -> Outcome:
    """Settle what a processor said, on its own word where a callback is only a hint. Raises Unavailable."""
    if provider.asks_back:
        if known := await _known(rooms, report):
            return known
        report = await _confirmed(rooms, provider, report)
    if is_plain(report.event):
        return _after(rooms, report, await rooms.of(Till).settle(rooms, report))
    return await settled(rooms, report)


async def settled(rooms: Rooms, report: Report) -> Outcome:
    """What became of it, by the door that everything takes. Raises Unavailable, TransactionConflict."""
    return _after(rooms, report, await _tried(rooms, report))


class Till:
    """Settles payments that are told of at the same moment in one transaction, and a lone one in its own."""

    def __init__(self, deadline_s: float) -> None:
        self._settle: Coalesced[Told, Outcome | Exception] = Coalesced(_settle_all, deadline_s=deadline_s)

    @staticmethod
    def opened(rooms: Rooms) -> Till:
        return Till(rooms.of(Config).door_timeout)

    async def settle(self, rooms: Rooms, report: Report) -> Outcome:
        """As `settled`."""
        outcome = await self._settle((rooms, report))
        if not isinstance(outcome, Outcome):
            raise outcome or Unavailable()
        return outcome


async def _settle_all(told: Sequence[Told]) -> dict[Told, Outcome | Exception]:
    """All together, or where they are not that plain, each on its own: an error is its own caller's."""
    if len(told) > 1:
        with suppress(Entangled, TransactionConflict, UserMissing):
            return await _settled_together(told)
    outcomes = await asyncio.gather(*(_alone(rooms, report) for rooms, report in told))
    return dict(zip(told, outcomes, strict=True))


async def _alone(rooms: Rooms, report: Report) -> Outcome | Exception:
    try:
        return await _tried(rooms, report)
    except Exception as error:  # for its own caller, who raises it
        return error


async def _settled_together(told: Sequence[Told]) -> dict[Told, Outcome | Exception]:
    rooms = told[-1][0]
    async with rooms.of(Database).transaction() as conn:
        outcomes = await rooms.of(Settlement).settle_together(rooms, conn, [report for _, report in told])
    return dict(zip(told, outcomes, strict=True))


def _after(rooms: Rooms, report: Report, outcome: Outcome) -> Outcome:
    if outcome.repeated:
        return outcome
    for job in AFTER_SETTLING:
        rooms.of(JobLoop).poke(job)
    told = {"payment_id": outcome.payment_id, "provider": report.event.provider}
    if outcome.paid_by is not None:
        tell(rooms, Event("payment_settled", outcome.paid_by, {**told, "credit_rub": outcome.credit_rub}))
    if outcome.status == "review":
        tell(rooms, Event("payment_review", NOBODY, {**told, "reason": outcome.reason}))
    return outcome


async def _tried(rooms: Rooms, report: Report) -> Outcome:
    """A transaction that collides with another is begun again, whole."""
    for _ in range(TRIES - 1):
        with suppress(TransactionConflict):
            return await _settled_once(rooms, report)
    return await _settled_once(rooms, report)


async def _settled_once(rooms: Rooms, report: Report) -> Outcome:
    async with rooms.of(Database).transaction() as conn:
        return await rooms.of(Settlement).settle(rooms, conn, report)


async def _known(rooms: Rooms, report: Report) -> Outcome | None:
    """What became of it when it came before: a flood of copies asks the processor nothing."""
    async with rooms.of(Database).acquire() as conn:
        status = await inbox.status_of(conn, report.event.provider, report.event.delivery_key)
    return None if status in (None, "waiting") else Outcome(status, repeated=True)


async def _confirmed(rooms: Rooms, provider: Provider, report: Report) -> Report:
    """Raises Unavailable where the processor does not answer; the hint is kept, and recovery asks again."""
    if not rooms.of(Providers).may_be_asked(provider.name, rooms.of(Clock).monotonic()):
        raise Unavailable("too many questions to the processor")
    try:
        return await provider.confirm(report)
    except Upstream:
        async with rooms.of(Database).acquire() as conn:
            await inbox.store(conn, report, rooms.of(Clock).now())
        raise Unavailable from None


async def _body(request: web.Request) -> bytes:
    """What came, whole, as often as it is asked for. Raises TooLarge, Invalid."""
    if BODY in request:
        return request[BODY]
    if (request.content_length or 0) > BODY_MAX:
        raise TooLarge
    parts = bytearray()
    try:
        async for part in request.content.iter_any():
            parts += part
            if len(parts) > BODY_MAX:
                raise TooLarge
    except (web.RequestPayloadError, ConnectionError):
        raise Invalid("The body did not come whole.") from None
    request[BODY] = bytes(parts)
    return request[BODY]
