"""The processors' HTTP side: their APIs and the pay page.

It must not know what any operation does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from service.sandbox.calls import Calls
from service.sandbox.processors import payment_page
from service.sandbox.processors.api import Answer, ApiCall, Ask, Dropped, Emulator, Fault, Faults, NotPayable, Operation
from service.sandbox.processors.callbacks import Postman

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self';"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Doors:
    """Handlers over the emulators, mounted under `prefix`."""

    def __init__(self, emulators: Mapping[str, Emulator], postman: Postman, clock: Callable[[], float]) -> None:
        self._emulators, self._postman, self._clock = emulators, postman, clock
        self.calls: Calls[ApiCall] = Calls()
        self.faults = Faults()

    def routes(self, prefix: str) -> list[web.RouteDef]:
        page = f"{prefix}/pay/{{processor}}/{{id}}"
        apis = [
            web.route("*", f"{prefix}/{name}{emulator.base}/{{path:.*}}", self._api(emulator, prefix))
            for name, emulator in self._emulators.items()
        ]
        return [
            *apis,
            web.get(f"{prefix}/pay/page/{{asset}}", self.asset),
            web.get(page, self._page(prefix)),
            web.post(f"{page}/{{act:pay|cancel}}", self.act),
        ]

    def _api(self, emulator: Emulator, prefix: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            operation, ask = _understood(emulator, await _read(request, f"{request.url.origin()}{prefix}"))
            fitting = operation.template if operation else "?"
            name = f"{emulator.name} {request.method} {fitting}"
            answer = None
            try:
                answer = await self._suffered(self.faults.take(name), emulator, operation, ask)
            except Dropped:
                if request.transport:
                    request.transport.abort()
            finally:
                self._record(name, ask, answer.status if answer else 0)
            return _response(answer or Answer({}, 500))

        return handle

    async def _suffered(self, fault: Fault | None, emulator: Emulator, operation: Operation | None, ask: Ask) -> Answer:
        """The answer, unless a fault loses it; Dropped where there is to be none."""
        if fault is None:
            return emulator.answer(operation, ask)
        if fault.after:
            emulator.answer(operation, ask)
        if fault.kind == "hang":
            await self.faults.released()
        if fault.kind != "answer":
            raise Dropped
        return emulator.broken(fault.status, ask, done=fault.after)

    def _record(self, name: str, ask: Ask, status: int) -> None:
        key = ask.headers.get("idempotence-key") or ask.headers.get("idempotency-key") or ""
        self.calls.record(ApiCall(name, ask.path, dict(ask.query), ask.body, key, status, self._clock()))

    def _page(self, prefix: str) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            name, payment_id = request.match_info["processor"], request.match_info["id"]
            bill = self._emulator(request).bill(payment_id)
            if bill is None:
                raise web.HTTPNotFound(text="There is no such payment in the sandbox.")
            told = [one for one in self._postman.log if (one.processor, one.about) == (name, payment_id)]
            page = payment_page.rendered(name, bill, told, prefix)
            return web.Response(text=page, content_type="text/html", headers=PAGE_HEADERS)

        return handle

    async def act(self, request: web.Request) -> web.Response:
        """The buttons. Nothing happens when the payment is not open any more: the page says what it is instead."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise web.HTTPForbidden(text="Another site's page pays nothing here.")
        emulator, payment_id = self._emulator(request), request.match_info["id"]
        with suppress(NotPayable):
            (emulator.pay if request.match_info["act"] == "pay" else emulator.cancel)(payment_id)
        raise web.HTTPSeeOther(request.path.rpartition("/")[0])

    async def asset(self, request: web.Request) -> web.Response:
        name = request.match_info["asset"]
        if name not in payment_page.ASSETS:
            raise web.HTTPNotFound
        kind = payment_page.ASSETS[name]
        return web.Response(text=payment_page.asset(name), content_type=kind, headers=PAGE_HEADERS)

    def _emulator(self, request: web.Request) -> Emulator:
        emulator = self._emulators.get(request.match_info["processor"])
        if emulator is None:
            raise web.HTTPNotFound
        return emulator


def _understood(emulator: Emulator, ask: Ask) -> tuple[Operation | None, Ask]:
    """The operation that fits, and the request with the ids of its path."""
    for operation in emulator.operations():
        if operation.method == ask.method and (ids := operation.ids(ask.path)) is not None:
            return operation, replace(ask, ids=ids)
    return None, ask


async def _read(request: web.Request, here: str) -> Ask:
    return Ask(
        method=request.method,
        path="/" + request.match_info["path"].strip("/"),
        query=list(request.query.items()),
        headers={name.lower(): text for name, text in request.headers.items()},
        body=await request.read(),
        here=here,
    )


def _response(answer: Answer) -> web.Response:
    body = orjson.dumps(answer.body)
    return web.Response(body=body, status=answer.status, headers=answer.headers, content_type="application/json")
