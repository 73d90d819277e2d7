"""The operators' routes for money: what is asked for over HTTP, and how it is answered.

It knows paths, statuses and bodies; what is done, the other modules of this room know. Who may ask, the guard in front
of everything under /admin has seen to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from service import http
from service.config import Config
from service.errors import DeadlineExceeded, Invalid, Upstream
from service.feature import HttpRoute, Rooms
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.kernel.jobs import JobLoop
from service.ops.writing import door, idempotency, journal
from service.ops.writing.idempotency import Answer
from service.ops.writing.journal import Deed
from service.payments.operators import adjusting, records, refunding, requests, review
from service.payments.operators.refunding import Pursued

KEY_HEADER = "Idempotency-Key"
AGAIN = "apply_waiting_events"

Handler = Callable[[web.Request, Rooms], Awaitable[web.StreamResponse]]


async def list_payments(request: web.Request, rooms: Rooms) -> web.StreamResponse:
    """GET /admin/payments?status=&user_id=&after=&limit="""
    async with rooms.of(Database).acquire() as conn:
        return http.answer(await records.payments_page(conn, request.query))


async def show_payment(request: web.Request, rooms: Rooms) -> web.StreamResponse:
    """GET /admin/payments/{payment_id}"""
    payment_id = requests.payment_id(request.match_info["payment_id"])
    async with rooms.of(Database).acquire() as conn:
        return http.answer(await records.record(conn, payment_id))


async def show_ledger(request: web.Request, rooms: Rooms) -> web.StreamResponse:
    """GET /admin/users/{user_id}/ledger?after=&limit="""
    user_id = requests.user_id(request.match_info["user_id"])
    async with rooms.of(Database).acquire() as conn:
        return http.answer(await records.ledger_page(conn, user_id, request.query))


async def list_review(request: web.Request, rooms: Rooms) -> web.StreamResponse:
    """GET /admin/payments/review?after=&limit="""
    async with rooms.of(Database).acquire() as conn:
        return http.answer(await review.page(conn, request.query, rooms.of(Clock).now()))


async def retry_event(request: web.Request, rooms: Rooms) -> web.StreamResponse:
    """POST /admin/payments/review/{event_id}/retry"""
    event_id = requests.event_id(request.match_info["event_id"])
    async with rooms.of(Database).acquire() as conn:
        await review.retry(conn, event_id, rooms.of(Clock).now())
    await _noted(request, rooms, "retry_event", event_id)
    rooms.of(JobLoop).poke(AGAIN)
    return http.answer({"id": event_id, "status": "waiting"})


async def close_event(request: web.Request, rooms: Rooms) -> web.StreamResponse:
    """POST /admin/payments/review/{event_id}/close"""
    event_id = requests.event_id(request.match_info["event_id"])
    closing = requests.body(await _body(request), requests.Closing)
    async with rooms.of(Database).acquire() as conn:
        await review.close(conn, event_id, closing.reason, rooms.of(Clock).now())
    await _noted(request, rooms, "close_event", event_id)
    return http.answer({"id": event_id, "status": "closed"})


async def adjust(request: web.Request, rooms: Rooms) -> web.StreamResponse:
    """POST /admin/users/{user_id}/adjust"""
    user_id = requests.user_id(request.match_info["user_id"])
    asked = requests.body(await _body(request), requests.Adjustment)
    write = requests.write(f"adjust:{user_id}", request.headers.get(KEY_HEADER), asked)
    adjustment = adjusting.Adjustment(user_id, write.key, asked.by_rub, asked.reason)

    async def work(conn: Connection) -> Answer:
        adjusted = await adjusting.adjust(rooms, conn, adjustment)
        deed = Deed(door.who_asks(request), "adjust", f"adjustment:{write.key}", {"amount_rub": asked.amount_rub})
        await journal.note(conn, deed, rooms.of(Clock).now())
        return Answer(200, msgspec.json.encode(adjusted))

    return _answered(await idempotency.at_once(rooms, write, work))


async def refund(request: web.Request, rooms: Rooms) -> web.StreamResponse:
    """POST /admin/payments/{payment_id}/refund"""
    payment_id = requests.payment_id(request.match_info["payment_id"])
    body = requests.body(await _body(request), requests.RefundRequest)
    write = requests.write(f"refund:{payment_id}", request.headers.get(KEY_HEADER), body)
    asked = refunding.Asked(payment_id, write.key, body.part, body.reason)

    async def begin(conn: Connection) -> refunding.Begun:
        begun = await refunding.begin(rooms, conn, asked)
        deed = Deed(door.who_asks(request), "refund", f"payment:{payment_id}", {"amount": body.amount})
        await journal.note(conn, deed, rooms.of(Clock).now())
        return begun

    async def go_on(begun: refunding.Begun) -> Answer:
        return _of_refund(await refunding.ask(rooms, begun.refund, begun.payment) if begun.is_ours else begun.pursued)

    return _answered(await idempotency.in_steps(rooms, write, begin, go_on))


async def _noted(request: web.Request, rooms: Rooms, what: str, event_id: int) -> None:
    deed = Deed(door.who_asks(request), what, f"event:{event_id}")
    await journal.note_afterwards(rooms.of(Database), deed, rooms.of(Clock).now())


def _of_refund(pursued: Pursued) -> Answer:
    """200 done, 202 on its way (asked again, it is looked at again), or the processor's refusal."""
    refund = pursued.refund
    if refund.status == "failed":
        told = http.refusal(Upstream.code, pursued.reason or "The processor did not give it back.", 502)
        assert isinstance(told.body, bytes), "a refusal is made of bytes"
        return Answer(told.status, told.body)
    done = refund.status == "succeeded"
    return Answer(200 if done else 202, msgspec.json.encode(refund), is_final=done)


def _answered(answer: Answer) -> web.Response:
    return web.Response(body=answer.body, status=answer.status, content_type="application/json")


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except (web.RequestPayloadError, ConnectionError):
        raise Invalid("The body did not come whole.") from None


def _in_time(handler: Handler) -> Handler:
    """Reads are bounded as a door is."""

    async def handle(request: web.Request, rooms: Rooms) -> web.StreamResponse:
        try:
            async with asyncio.timeout(rooms.of(Config).door_timeout):
                return await handler(request, rooms)
        except TimeoutError:
            raise DeadlineExceeded from None

    return handle


# Each group belongs to the feature whose tables it reads. What has a name of its own stands before what has an id.
OF_EVENTS = (
    HttpRoute("GET", "/admin/payments/review", _in_time(list_review)),
    HttpRoute("POST", "/admin/payments/review/{event_id}/retry", retry_event),
    HttpRoute("POST", "/admin/payments/review/{event_id}/close", close_event),
)
OF_PAYMENTS = (HttpRoute("GET", "/admin/payments", _in_time(list_payments)),)
OF_RECORDS = (
    HttpRoute("GET", "/admin/payments/{payment_id}", _in_time(show_payment)),
    HttpRoute("GET", "/admin/users/{user_id}/ledger", _in_time(show_ledger)),
)
WRITES = (
    HttpRoute("POST", "/admin/users/{user_id}/adjust", adjust),
    HttpRoute("POST", "/admin/payments/{payment_id}/refund", refund),
)
