"""The operators' pages and their API: features, tables, users, parked updates, recovery. All of it behind the guard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from service.errors import DeadlineExceeded
from service.ops.admin import features, page, recovery, updates, users
from service.ops.admin.page import Handler
from service.ops.operations import Operations

Served = Callable[[web.Request], Awaitable[web.StreamResponse]]

ID = r"{%s:\d{1,19}}"  # of 64 bits; anything else is no address


def routes(operations: Operations) -> list[web.RouteDef]:
    """What operators see and do; `guard.around` keeps everybody else out."""

    def get(path: str, handler: Handler) -> web.RouteDef:
        return web.get(path, _in_time(handler, operations))

    def post(path: str, handler: Handler) -> web.RouteDef:
        return web.post(path, _with(page.from_form(handler), operations))

    return [
        get("/admin", page.show),
        get("/admin/features", features.show_features),
        post("/admin/features/refresh", features.refresh),
        get("/admin/tables", features.show_tables),
        get("/admin/users", users.list_users),
        get(f"/admin/users/{ID % 'user_id'}", users.show_user),
        get("/admin/updates/failed", updates.list_failed),
        post(f"/admin/updates/{ID % 'update_id'}/replay", updates.replay),
        post("/admin/recover", recovery.recover),
    ]


def _with(handler: Handler, operations: Operations) -> Served:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request, operations)

    return handle


def _in_time(handler: Handler, operations: Operations) -> Served:
    """Reads are bounded as a door is: nobody waits for a page longer than for a payment."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            async with asyncio.timeout(operations.config.door_timeout):
                return await handler(request, operations)
        except TimeoutError:
            raise DeadlineExceeded from None

    return handle
