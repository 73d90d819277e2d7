"""GET /admin/failures and /admin/users/{user_id}/stats: what operators read of it over HTTP.

It knows paths, bounds and bodies; it writes nothing. A query is ended when the time of a door is over.
"""

from __future__ import annotations

from service.feature import Rooms
from service.features.diagnostics import repo, window
from service.features.diagnostics.window import HOURS, HOURS_MAX
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.ops import reading
from service.ops.reading import Asked
from service.users.people import People

FAILURES = 10
FAILURES_MAX = 500  # kinds of failure; nobody reads more


async def list_failures(rooms: Rooms, asked: Asked) -> object:
    """What fails in the last `hours`, the `limit` most frequent first. Raises Invalid."""
    hours, limit = asked.number("hours", HOURS, HOURS_MAX), asked.number("limit", FAILURES, FAILURES_MAX)
    async with rooms.of(Database).acquire() as conn:
        failures = await repo.list_failures(conn, **window.ending(rooms.of(Clock).now(), hours), most=limit)
    return {"items": failures, "next": None}


async def show_stats(rooms: Rooms, asked: Asked) -> object:
    """What became of a person's generations in the last `hours`. Raises Invalid, NotFound."""
    user_id, hours = asked.id("user_id"), asked.number("hours", HOURS, HOURS_MAX)
    await rooms.of(People).get(user_id)
    async with rooms.of(Database).acquire() as conn:
        return await repo.count_of_user(conn, user_id=user_id, **window.ending(rooms.of(Clock).now(), hours))


ROUTES = (
    reading.route("/admin/failures", list_failures),
    reading.route("/admin/users/{user_id}/stats", show_stats),
)
