"""POST /admin/recover: the jobs that recover, now.

It knows how their outcomes are told; it knows no job.
"""

from __future__ import annotations

from aiohttp import web

from service import http
from service.errors import DatabaseAway, ServiceError
from service.kernel.jobs import Counts
from service.ops.operations import Operations
from service.ops.writing import door, journal
from service.ops.writing.journal import Deed

# Whoever asked waits for the answer, and a proxy in between for half a minute.
EACH_S = 10.0
IN_ALL_S = 20.0


async def recover(request: web.Request, operations: Operations) -> web.Response:
    """What each did, or the code of why it could not. Raises DatabaseAway."""
    if not operations.database.reachable:
        raise DatabaseAway
    outcomes = await operations.jobs.recover(each_s=EACH_S, in_all_s=IN_ALL_S)
    deed = Deed(door.who_asks(request), "recover", "jobs")
    await journal.note_afterwards(operations.database, deed, operations.clock.now())
    return http.answer({"jobs": {name: _told(outcome) for name, outcome in outcomes.items()}})


def _told(outcome: Counts | ServiceError) -> Counts | dict[str, str]:
    return {"error": outcome.code} if isinstance(outcome, ServiceError) else outcome
