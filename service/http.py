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
from functools import partial
from typing import Any

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
    "too_large": 413,
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

log = Log("http")


def observed(route: web.RouteDef) -> web.RouteDef:
    """The route with all that every route has around it: its name, its errors answered, its line and its figures.

    A wrapper for each route and not a middleware, which costs the hot door a tenth of its time.
    """
    quiet = route.path.startswith(QUIET)
    seconds_by_status: dict[int, Histogram] = {}

    async def handle(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        request_id.set(_id_of(request))
        response = await _answered(route.handler, request)
        seconds, status = time.perf_counter() - started, response.status
        histogram = seconds_by_status.get(status)
        if histogram is None:
            histogram = metrics.HTTP_SECONDS.labels(route.path, route.method, status)
            seconds_by_status[status] = histogram
        histogram.observe(seconds)
        if not quiet:
            log.canonical("request", partial(_fields, route, status, seconds, request.get(LOG_FIELDS, dict)))
        await asyncio.sleep(0)  # whoever came in the same turn is handled before the first of them is sent an answer:
        return response  # code that runs between two system calls takes up to twice its time

    return web.route(route.method, route.path, handle)


def _fields(route: web.RouteDef, status: int, seconds: float, more: Fields) -> dict[str, object]:
    return {"method": route.method, "path": route.path, "status": status, "ms": round(seconds * 1000, 2), **more()}


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
