"""GET /admin/users and /admin/users/{id}: find people, and see one.

It knows the users room and pages of a list; it changes nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from service import http
from service.errors import Invalid
from service.kernel.database import Connection
from service.ops import paging
from service.ops.operations import Operations
from service.users import repo

ACTIVE = {"": None, "true": True, "false": False}


async def list_users(request: web.Request, operations: Operations) -> web.Response:
    async with operations.database.acquire() as conn:
        return http.answer(await users_page(conn, request.query))


async def show_user(request: web.Request, operations: Operations) -> web.Response:
    """Raises NotFound, Invalid."""
    return http.answer(await operations.people.get(int(request.match_info["user_id"])))


async def users_page(conn: Connection, query: Mapping[str, str]) -> dict[str, object]:
    """One page of people: by `query` in the order of names, else the newest first. Raises Invalid."""
    size, active, term = paging.limit(query), _active(query), query.get("query", "").strip().removeprefix("@")
    return await _found(conn, query, term, active, size) if term else await _newest(conn, query, active, size)


async def _newest(conn: Connection, query: Mapping[str, str], active: bool | None, size: int) -> dict[str, object]:
    after = paging.position(query["after"], paging.BY_TIME) if query.get("after") else repo.NEWEST
    users = await repo.list_users(conn, active=active, after=after, page=size + 1)
    return paging.page(users, size, lambda user: (user.created_at, user.user_id))


async def _found(
    conn: Connection, query: Mapping[str, str], term: str, active: bool | None, size: int
) -> dict[str, object]:
    user_id, name = paging.position(query["after"], paging.BY_NAME) if query.get("after") else (0, "")
    users = await repo.find_users(conn, term=term, active=active, after=(name, user_id), page=size + 1)
    return paging.page(users, size, lambda user: (user.user_id, user.username))


def _active(query: Mapping[str, str]) -> bool | None:
    if (text := query.get("active", "").lower()) not in ACTIVE:
        raise Invalid("`active` is true or false.")
    return ACTIVE[text]
