"""GET /admin/updates/failed and POST /admin/updates/{id}/replay: poison, and another try.

It knows the parked updates and the dispatcher's door; what an update means is the dispatcher's.
"""

from __future__ import annotations

from aiohttp import web

from service import http
from service.errors import Conflict, FeatureOff, Upstream
from service.kernel.log import Log
from service.ops import paging
from service.ops.operations import Operations
from service.ops.writing import door, journal
from service.ops.writing.journal import Deed
from service.telegram import inbox
from service.telegram.inbox import FailedUpdate, Failures, FailuresInTable
from service.telegram.reply import Call
from service.telegram.update import Undecodable

# What the dispatcher may come back with that leaves the update where it is.
NOT_HANDLED = {
    "parked": "It failed again; its error has been brought up to date.",
    "ignored": "Nothing in this release handles it.",
}

log = Log("admin")


async def list_failed(request: web.Request, operations: Operations) -> web.Response:
    """The parked ones, the last first. Raises FeatureOff while failed_updates is missing."""
    size = paging.limit(request.query)
    after = request.query.get("after")
    position = paging.position(after, paging.BY_TIME) if after else inbox.NEWEST
    failed = await parked(operations).page(position, size + 1)
    page = paging.page(failed, size, lambda one: (one.parked_at, one.update_id))
    return http.answer({**page, "items": [described(one) for one in failed[:size]]})


async def replay(request: web.Request, operations: Operations) -> web.Response:
    """Hand a parked update to the dispatcher once more, by the door that all updates come in.

    Raises NotFound, Conflict when it cannot go through, Unavailable, Upstream when the answer did not get out.
    """
    update_id = int(request.match_info["update_id"])
    failures = parked(operations)
    answer = await _handle_again(operations, await failures.get(update_id))
    sent = await _send(operations, answer)
    await failures.mark_replayed(update_id)
    log.info("update replayed", update_id=update_id, sent=sent)
    deed = Deed(door.who_asks(request), "replay", f"update:{update_id}", {"sent": sent})
    await journal.note_afterwards(operations.database, deed, operations.clock.now())
    return http.answer({"update_id": update_id, "result": "replayed", "sent": sent})


def parked(operations: Operations) -> FailuresInTable:
    """The room of failed updates. Raises FeatureOff while its table is missing."""
    failures = operations.switchboard.mounted.rooms.of(Failures)
    if not isinstance(failures, FailuresInTable):
        raise FeatureOff(operations.switchboard.states[inbox.FAILED.name].reason)
    return failures


def described(failed: FailedUpdate) -> dict[str, object]:
    """A parked update with its body, as text."""
    return {
        "update_id": failed.update_id,
        "error": failed.error,
        "attempts": failed.attempts,
        "created_at": failed.created_at,
        "failed_at": failed.failed_at,
        "parked_at": failed.parked_at,
        "body": failed.body.decode(errors="replace"),
    }


async def _handle_again(operations: Operations, failed: FailedUpdate) -> bytes:
    """The answer's body. Raises Conflict, and Unavailable where there would only be an apology."""
    if failed.replayed_at is not None:
        raise Conflict("It has been replayed already.")
    if failed.parked_at is None:
        raise Conflict("It is not parked: Telegram is still sending it.")
    try:
        answer = await operations.dispatcher.replay(failed.body)
    except Undecodable as error:
        raise Conflict(f"This release cannot read it either: {error.message}") from None
    if answer.result in NOT_HANDLED:
        raise Conflict(NOT_HANDLED[answer.result])
    return answer.body


async def _send(operations: Operations, body: bytes) -> bool:
    """Whether the answer went out. One that never can (the person has left, the button is old) is no obstacle:
    its effect is stored. One that may next time raises Upstream, and the update stays parked: with its claim
    stored, another replay gives the same answer and has no second effect."""
    if not body:
        return False
    try:
        await operations.bot.send(Call.of(body))
    except Upstream as error:
        if not error.permanent:
            raise
        log.info("answer not taken", reason=error.message)
        return False
    return True
