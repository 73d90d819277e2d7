"""What every HTTP route has in common: a request id, one log line, one measurement, one table of errors.

It knows codes of errors and statuses of HTTP; it knows no route.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import msgspec
import orjson
from aiohttp import hdrs, web
from prometheus_client import Histogram

from service import errors
from service.kernel import metrics
from service.kernel.log import Log, request_id

STATUS_OF = {
    "invalid": 400,
    "undecodable": 400,
    "unauthorized": 401,
    "forged": 401,
    "not_found": 404,
    "conflict": 409,
    "insufficient_balance": 409,
    "reservation_mismatch": 409,
    "reservation_finished": 409,
    "too_large": 413,
    "idempotency_mismatch": 422,
    "too_many_tries": 429,
    "upstream": 502,
    "user_missing": 503,
    "transaction_conflict": 503,
}
UNAVAILABLE = 503
# Seconds until another try is worth it: recovery takes about two. Telegram honours it; its own pauses are longer.
RETRY_AFTER_S = 3
REQUEST_ID_HEADER = "X-Request-Id"
# What a proxy in front may have given; anything else is not echoed into logs and answers.
SANE_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
CODE_OF_STATUS = {401: "unauthorized", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}
# Probed every few seconds by platforms, or made by development itself; their lines would drown the others.
QUIET = ("/health/", "/metrics", "/sandbox")

# Request ids: random for the process, counted within it; cheaper than random ones and as good to search for.
PROCESS_ID = secrets.token_hex(4) + "-"
_numbers = itertools.count(1)

# What a door adds to its line in the log.
Fields = Callable[[], dict[str, object]]
LOG_FIELDS: web.RequestKey[Fields] = web.RequestKey("log_fields")

# Seconds. Nobody reads a log or a figure faster. A process that is killed loses the lines of this long, and of as
# long again in the log, which gathers on its own.
GATHER_S = 0.05

log = Log("http")


class Observations:
    """Requests that were answered: counted and logged a moment later, many at a time, which costs half as much."""

    def __init__(self) -> None:
        self._answered: list[Answered] = []
        self._due_in: asyncio.AbstractEventLoop | None = None

    def add(self, answered: Answered) -> None:
        self._answered.append(answered)
        loop = asyncio.get_running_loop()
        if self._due_in is not loop:
            self._due_in = loop
            loop.call_later(GATHER_S, self.settle)

    def settle(self) -> None:
        """Count and log what is there. Also before the figures are shown, and at the end."""
        answered, self._answered, self._due_in = self._answered, [], None
        now = time.perf_counter()
        for request in answered:
            _seconds_of(request.route.path, request.route.method, request.status).observe(request.seconds)
            if not request.route.path.startswith(QUIET):
                log.canonical("request", request.request_id, _fields(request), ago_s=now - request.ended)


class Answered(NamedTuple):
    """What there is to tell of a request."""

    ended: float  # by the performance counter, in seconds
    request_id: str
    route: web.RouteDef
    status: int
    seconds: float
    more: Fields


observations = Observations()


def observed(route: web.RouteDef) -> web.RouteDef:
    """The route with all that every route has around it: its name, its errors answered, its line and its figures.

    A wrapper for each route and not a middleware, which costs the hot door a tenth of its time.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        name = _id_of(request)
        request_id.set(name)
        response = await _answered(route.handler, request)
        ended, more = time.perf_counter(), request.get(LOG_FIELDS, dict)
        observations.add(Answered(ended, name, route, response.status, ended - started, more))
        await asyncio.sleep(0)  # whoever came in the same turn is handled before the first of them is sent an answer:
        return response  # code that runs between two system calls takes up to twice its time

    return web.route(route.method, route.path, handle)


@cache
def _seconds_of(path: str, method: str, status: int) -> Histogram:
    return metrics.HTTP_SECONDS.labels(path, method, status)


def _fields(request: Answered) -> dict[str, object]:
    told = {"method": request.route.method, "path": request.route.path, "status": request.status}
    return {**told, "ms": round(request.seconds * 1000, 2), **request.more()}


async def not_found(_request: web.Request) -> web.StreamResponse:
    """What no route matches."""
    raise errors.NotFound("There is nothing here.")


def answer(body: object, status: int = 200) -> web.Response:
    """A value as JSON: rows, times (RFC 3339) and exact decimals (as strings) included."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")


def refusal(code: str, message: str, status: int) -> web.Response:
    """The body that every error has."""
    body = {"error": {"code": code, "message": message, "request_id": request_id.get()}}
    headers = {hdrs.RETRY_AFTER: str(RETRY_AFTER_S)} if status == UNAVAILABLE else None
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)


def status_of(error: errors.ServiceError) -> int:
    """The status that answers an error."""
    return UNAVAILABLE if isinstance(error, errors.Unavailable) else STATUS_OF.get(error.code, 500)


async def _answered(handler: Any, request: web.Request) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except errors.ServiceError as error:
        return refusal(error.code, _sentence(error), status_of(error))
    except web.HTTPException as error:
        if error.status < 400:  # a redirect is an answer
            return web.Response(status=error.status, headers=error.headers)
        return refusal(CODE_OF_STATUS.get(error.status, "http"), error.reason, error.status)
    except Exception:  # whoever asked gets a dull sentence; the log gets everything
        log.exception("request failed", path=request.path)
        return refusal("internal", "Something went wrong.", 500)
    return response


def _sentence(error: errors.ServiceError) -> str:
    """What is not the caller's fault is told to him without details."""
    told = error.permanent or isinstance(error, errors.FeatureOff)
    return error.message if told else type(error).__doc__ or ""


def _id_of(request: web.Request) -> str:
    given = request.headers.get(REQUEST_ID_HEADER)
    if given is not None and SANE_ID.fullmatch(given):
        return given
    return f"{PROCESS_ID}{next(_numbers):x}"
