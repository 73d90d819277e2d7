"""GET /admin/features, POST /admin/features/refresh and GET /admin/tables: what is on, and what that hangs on.

It knows the switchboard and the catalog; it knows no feature.
"""

from __future__ import annotations

from aiohttp import web

from service import http
from service.errors import DatabaseAway
from service.ops import catalog
from service.ops.operations import Operations
from service.ops.writing import door, journal
from service.ops.writing.journal import Deed


def features_of(operations: Operations) -> dict[str, object]:
    """Every feature with its state, as of the last probe."""
    switchboard = operations.switchboard
    return {
        "items": [
            {
                "name": feature.name,
                "title": feature.title.en,
                "essential": feature.essential,
                "state": (state := switchboard.states[feature.name]).state,
                "reason": state.reason,
                "missing": state.missing,
            }
            for feature in switchboard.features
        ],
        "next": None,
        "probed_at": switchboard.probed_at,
    }


async def show_features(_request: web.Request, operations: Operations) -> web.Response:
    return http.answer(features_of(operations))


async def refresh(request: web.Request, operations: Operations) -> web.Response:
    """Probe now. Raises DatabaseAway when there was nothing to look at."""
    await operations.switchboard.refresh()
    if not operations.database.reachable:
        raise DatabaseAway
    deed = Deed(door.who_asks(request), "probe", "features")
    await journal.note_afterwards(operations.database, deed, operations.clock.now())
    return http.answer(features_of(operations))


async def show_tables(_request: web.Request, operations: Operations) -> web.Response:
    async with operations.database.acquire() as conn:
        tables = await catalog.tables_of(conn, operations.switchboard.features)
    return http.answer({"items": tables, "next": None})
