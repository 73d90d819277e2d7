"""The HTTP side of the stand-ins: keys, paths, faults, and the pictures that were made.

It must not know what any operation does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import orjson
from aiohttp import web

from service.sandbox.calls import Calls
from service.sandbox.generation import completions
from service.sandbox.generation.pictures import png
from service.sandbox.generation.predictions import Predictions
from service.sandbox.generation.wording import openai_error, replicate_error
from service.sandbox.processors.api import Answer, ApiCall, Ask, Dropped, Faults, Operation, Refused

RETRY_AFTER = "2"


class Doors:
    """Handlers over the operations."""

    def __init__(self, key: str, predictions: Predictions, clock: Callable[[], float]) -> None:
        self._key, self._clock = key, clock
        self._operations = (
            Operation("POST", "/chat/completions", completions.chat),
            Operation("POST", "/images/generations", completions.images),
            Operation("POST", "/predictions", predictions.create),
            Operation("GET", "/predictions/{id}", predictions.get),
            Operation("POST", "/predictions/{id}/cancel", predictions.cancel),
        )
        self.calls: Calls[ApiCall] = Calls()
        self.faults = Faults()
        self.retry_after = RETRY_AFTER

    def routes(self, prefix: str) -> list[web.RouteDef]:
        return [
            web.route("*", f"{prefix}/v1/{{path:.*}}", self._api(prefix)),
            web.get(f"{prefix}/files/{{name}}.png", self.picture),
        ]

    async def picture(self, request: web.Request) -> web.Response:
        return web.Response(body=png(request.match_info["name"]), content_type="image/png")

    def _api(self, prefix: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            operation, ask = self._understood(await _read(request, f"{request.url.origin()}{prefix}"))
            name = f"{ask.method} {operation.template}" if operation else "?"
            answer = None
            try:
                answer = await self._suffered(name, operation, ask)
            except Dropped:
                if request.transport:
                    request.transport.abort()
            finally:
                key = ask.headers.get("idempotency-key", "")
                status = answer.status if answer else 0
                self.calls.record(ApiCall(name, ask.path, dict(ask.query), ask.body, key, status, self._clock()))
            answer = answer or Answer({}, 500)
            body = orjson.dumps(answer.body)
            return web.Response(
                body=body, status=answer.status, headers=answer.headers, content_type="application/json"
            )

        return handle

    async def _suffered(self, name: str, operation: Operation | None, ask: Ask) -> Answer:
        """The answer, unless a fault loses it; Dropped where there is to be none."""
        fault = self.faults.take(name)
        if fault is None:
            return self._answer(operation, ask)
        if fault.after:
            self._answer(operation, ask)
        if fault.kind == "hang":
            await self.faults.released()
        if fault.kind != "answer":
            raise Dropped
        headers = {"Retry-After": self.retry_after} if fault.status == 429 and self.retry_after else {}
        return replace(_broken(ask, fault.status), headers=headers)

    def _answer(self, operation: Operation | None, ask: Ask) -> Answer:
        if ask.headers.get("authorization") != f"Bearer {self._key}":
            return _unauthenticated(ask)
        if operation is None:
            return openai_error(404, None, f"Invalid URL ({ask.method} {ask.path})")
        try:
            return operation.run(ask)
        except Refused as refusal:
            return refusal.answer

    def _understood(self, ask: Ask) -> tuple[Operation | None, Ask]:
        for operation in self._operations:
            if operation.method == ask.method and (ids := operation.ids(ask.path)) is not None:
                return operation, replace(ask, ids=ids)
        return None, ask


def _of_replicate(ask: Ask) -> bool:
    return ask.path.startswith("/predictions")


def _unauthenticated(ask: Ask) -> Answer:
    if _of_replicate(ask):
        return replicate_error(401, "Unauthenticated", "You did not pass a valid authentication token")
    return openai_error(401, "invalid_api_key", "Incorrect API key provided.")


def _broken(ask: Ask, status: int) -> Answer:
    if _of_replicate(ask):
        return replicate_error(status, "Request was throttled." if status == 429 else "Error", "as a test asked for")
    return openai_error(status, "rate_limit_exceeded" if status == 429 else None, "as a test asked for")


async def _read(request: web.Request, here: str) -> Ask:
    return Ask(
        method=request.method,
        path="/" + request.match_info["path"].strip("/"),
        query=list(request.query.items()),
        headers={name.lower(): text for name, text in request.headers.items()},
        body=await request.read(),
        here=here,
    )
