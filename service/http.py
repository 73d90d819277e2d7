"""What every HTTP route has in common: a request id, one log line, one measurement, one table of errors.

It knows codes of errors and statuses of HTTP; it knows no route.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import hdrs, web

from service import errors
from service.kernel import metrics
from service.kernel.log import Log, request_id

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

STATUS_OF = {
    "invalid": 400,
    "undecodable": 400,
    "unauthorized": 401,
    "forged": 401,
    "not_found": 404,
    "conflict": 409,
    "too_large": 413,
    "upstream": 502,
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

# What a door adds to its line in the log.
LOG_FIELDS = web.RequestKey("log_fields", dict[str, object])

log = Log("http")


@web.middleware
async def observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: names the request, answers errors, writes the one line."""
    started = time.perf_counter()
    request_id.set(_id_of(request))
    response = await _answered(request, handler)
    seconds = time.perf_counter() - started
    route = _route_of(request)
    metrics.HTTP_SECONDS.labels(route, request.method, response.status).observe(seconds)
    if not route.startswith(QUIET):
        fields = request.get(LOG_FIELDS, {})
        log.info("request", method=request.method, path=route, status=response.status, ms=_ms(seconds), **fields)
    return response


def refusal(code: str, message: str, status: int) -> web.Response:
    """The body that every error has."""
    body = {"error": {"code": code, "message": message, "request_id": request_id.get()}}
    headers = {hdrs.RETRY_AFTER: str(RETRY_AFTER_S)} if status == UNAVAILABLE else None
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except errors.ServiceError as error:
        return refusal(error.code, _sentence(error), _status_of(error))
    except web.HTTPException as error:
        if error.status < 400:  # a redirect is an answer
            return error
        return refusal(CODE_OF_STATUS.get(error.status, "http"), error.reason, error.status)
    except Exception:  # whoever asked gets a dull sentence; the log gets everything
        log.exception("request failed", path=_route_of(request))
        return refusal("internal", "Something went wrong.", 500)


def _status_of(error: errors.ServiceError) -> int:
    return UNAVAILABLE if isinstance(error, errors.Unavailable) else STATUS_OF.get(error.code, 500)


def _sentence(error: errors.ServiceError) -> str:
    """What is not the caller's fault is told to him without details."""
    told = error.permanent or isinstance(error, errors.FeatureOff)
    return error.message if told else type(error).__doc__ or ""


def _id_of(request: web.Request) -> str:
    given = request.headers.get(REQUEST_ID_HEADER, "")
    return given if SANE_ID.fullmatch(given) else secrets.token_hex(8)


def _route_of(request: web.Request) -> str:
    """The route's pattern, never the path that was asked for: it goes into a metric's label."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)
