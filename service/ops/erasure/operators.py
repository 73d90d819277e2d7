"""POST /admin/users/{user_id}/erase: an operator has a person erased.

It knows the route and the log; what erasing is, `erasure` knows.
"""

from __future__ import annotations

from service.config import Config
from service.feature import Board, Feature, Rooms, reads
from service.feature import owns as owned
from service.kernel.clock import Clock
from service.kernel.database import Connection
from service.ops.erasure import erasure
from service.ops.reading import Asked
from service.ops.writing import door, idempotency, journal
from service.ops.writing.door import Done, Nothing
from service.text import Text


async def erase(rooms: Rooms, conn: Connection, asked: Asked, _wanted: Nothing) -> Done:
    """The log names who stands in his place, and not him. Raises NotFound, Conflict."""
    user_id = asked.id("user_id")
    grave = erasure.tombstone(user_id, rooms.of(Config).telegram_bot_token)
    features = [feature for feature, _ in rooms.of(Board)]
    erased = await erasure.erase(conn, features, user_id=user_id, grave=grave, now=rooms.of(Clock).now())
    told = {"rows": erased.rows, "erased_before": erased.erased_before}
    return Done(told, f"user:{erased.stand_in}", {"rows": erased.rows})


FEATURE = Feature(
    name="erasure",
    title=Text(en="Erasing people", ru="Удаление людей"),
    needs={
        "erased_people": owned("tombstone", "erased_at"),
        "payments": reads("payment_id", "user_id"),
        "payment_events": reads("payment_id", "status", "body"),
        **idempotency.NEEDS,
        **journal.NEEDS,
    },
    routes=(door.route("/admin/users/{user_id}/erase", "erase", Nothing, erase),),
)
