"""The sandbox's HTTP side: the Bot API's door, the chat page and the page's own small API.

It must not know what methods do, nor what people may do.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson
from aiohttp import web

from service.sandbox.calls import Arguments, Dropped, Json, Refusal, leading_integer, read_arguments
from service.sandbox.chats import CALLBACK_ANSWER_S, CHECKOUT_ANSWER_S
from service.sandbox.files import picture_type
from service.sandbox.methods import Described
from service.sandbox.people import CannotDo, Person

if TYPE_CHECKING:
    from service.sandbox import Sandbox

PAGE = Path(__file__).parent / "page"
SCRIPTS = ("chat.js", "keyboard.js", "link.js", "messages.js", "status.js")
ASSETS = {"chat.css": "text/css", **dict.fromkeys(SCRIPTS, "text/javascript")}
HEARTBEAT_S = 15.0  # proxies close a silent stream after 30 s or more
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}
# A file is whatever the bot sent: it must never run as a page of this origin.
FILE_HEADERS = {"Content-Security-Policy": "sandbox; default-src 'none'", "X-Content-Type-Options": "nosniff"}


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    raw = orjson.dumps(body)
    return web.Response(body=raw, status=status, headers=headers, content_type="application/json")


class Doors:
    """Handlers over one sandbox, mounted under `prefix`."""

    def __init__(self, sandbox: Sandbox, prefix: str) -> None:
        self._sandbox, self._prefix = sandbox, prefix

    def routes(self) -> list[web.RouteDef]:
        at, person = self._prefix, f"{self._prefix}/api/people/{{name}}"
        return [
            web.get(at, self.page),
            web.get(f"{at}/page/{{asset}}", self.asset),
            web.get(f"{at}/files/{{file_id}}", self.file),
            web.get(f"{at}/api/state", self.state),
            web.get(f"{at}/api/changes", self.changes),
            web.post(f"{person}/says", self._action(_says)),
            web.post(f"{person}/presses", self._action(_presses)),
            web.post(f"{person}/pays", self._action(_pays)),
            web.post(f"{person}/blocks", self._action(_blocks)),
            web.route("*", f"{at}/bot{{token}}/{{method}}", self.bot_api),
            web.route("*", f"{at}/bot{{token}}/", self.bot_api),
        ]

    async def bot_api(self, request: web.Request) -> web.StreamResponse:
        """POST or GET /bot{token}/{method}: https://core.telegram.org/bots/api#making-requests"""
        try:
            if not hmac.compare_digest(request.match_info["token"].encode(), self._sandbox.token.encode()):
                raise Refusal(401, "Unauthorized")
            arguments = await _arguments(request)
            method = request.match_info.get("method") or arguments.string("method")
            return _answer(await self._sandbox.execute(method, arguments, "request"))
        except Refusal as refusal:
            headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else None
            return _json(refusal.body(), refusal.code, headers)
        except Dropped:
            if request.transport:
                request.transport.abort()
            return web.Response(status=500)

    async def page(self, request: web.Request) -> web.Response:
        page = (PAGE / "chat.html").read_text(encoding="utf-8").replace("{prefix}", self._prefix)
        return web.Response(text=page, content_type="text/html", headers=PAGE_HEADERS)

    async def asset(self, request: web.Request) -> web.Response:
        name = request.match_info["asset"]
        if name not in ASSETS:
            raise web.HTTPNotFound
        text = (PAGE / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=ASSETS[name], headers=PAGE_HEADERS)

    async def file(self, request: web.Request) -> web.Response:
        upload = self._sandbox.chats.files.get(request.match_info["file_id"])
        if upload is None:
            raise web.HTTPNotFound
        picture = picture_type(upload.data)
        shown = "inline" if picture else "attachment"
        headers = {"Content-Disposition": f"{shown}; filename*=UTF-8''{quote(upload.name, safe='')}"}
        kind = picture or "application/octet-stream"
        return web.Response(body=upload.data, content_type=kind, headers=headers | FILE_HEADERS)

    async def state(self, request: web.Request) -> web.Response:
        return _json(self._sandbox.state())

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the state first, then every change."""
        response = web.StreamResponse(headers=STREAM_HEADERS)
        # suppress: the page was closed
        with self._sandbox.chats.feed.reader() as changes, suppress(ConnectionResetError):
            await response.prepare(request)
            await response.write(_event(self._sandbox.state()))
            while (event := await _next_event(changes)) is not None:
                await response.write(event)
        return response

    def _action(self, act: Callable[[Person, Arguments], Awaitable[Json]]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            # A foreign page cannot send this type without asking first, so it cannot press buttons here.
            if request.content_type != "application/json":
                return _json({"error": {"code": "invalid", "message": "send JSON"}}, 415)
            try:
                person = self._sandbox.person(request.match_info["name"])
                return _json(await act(person, await read_arguments(request.headers, request.content)))
            except KeyError:
                return _json({"error": {"code": "not_found", "message": "there is no such person"}}, 404)
            except (CannotDo, Refusal) as fault:
                return _json({"error": {"code": "invalid", "message": str(fault)}}, 400)

        return handle


async def _arguments(request: web.Request) -> Arguments:
    body = await read_arguments(request.headers, request.content) if request.body_exists else Arguments({})
    return Arguments({**request.query, **body.values}, body.files)


def _answer(result: Any) -> web.Response:
    if isinstance(result, Described):
        return _json({"ok": True, "result": result.result, "description": result.description})
    return _json({"ok": True, "result": result})


def _event(change: Json) -> bytes:
    return b"data: " + orjson.dumps(change) + b"\n\n"


async def _next_event(changes: asyncio.Queue[Json | None]) -> bytes | None:
    try:
        change = await asyncio.wait_for(changes.get(), HEARTBEAT_S)
    except TimeoutError:
        return b": still here\n\n"
    return None if change is None else _event(change)


async def _says(person: Person, args: Arguments) -> Json:
    person.send(args.string("text"), replying=args.truth("replying"))
    return {}


async def _presses(person: Person, args: Arguments) -> Json:
    _, question = person.press(leading_integer(args.string("message_id")), args.string("data"))
    return {"answered": await _within(question.answered, CALLBACK_ANSWER_S) is not None}


async def _pays(person: Person, args: Arguments) -> Json:
    message_id = leading_integer(args.string("message_id"))
    message = next((one for one in person.chat if one.id == message_id), None)
    question = person.checkout(message, args.string("link"))
    return {"answer": await _within(question.answered, CHECKOUT_ANSWER_S)}


async def _within(answer: asyncio.Future[Json], seconds: float) -> Json | None:
    try:
        return await asyncio.wait_for(asyncio.shield(answer), seconds)
    except TimeoutError:
        return None


async def _blocks(person: Person, args: Arguments) -> Json:
    person.block(args.truth("blocked"))
    return {}
