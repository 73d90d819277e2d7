"""An operator moves a balance by hand, once for a key, and never below zero.

It knows what an adjustment is in the ledger; it knows no processor and no HTTP.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from service.errors import Conflict, NotFound
from service.feature import Rooms
from service.kernel.database import Connection
from service.kernel.log import Log
from service.payments import ledger
from service.payments.ledger import Balance, Ledger, Posting
from service.users import repo

log = Log("admin")


class Adjustment(msgspec.Struct, frozen=True):
    """By how much to move whose balance, and why."""

    user_id: int
    key: str
    amount_rub: Decimal
    reason: str

    @property
    def posting(self) -> Posting:
        """As it stands in the ledger. The key of the effect outlives the memory of the request."""
        return Posting(
            effect_key=f"adjust:{self.user_id}:{self.key}",
            user_id=self.user_id,
            amount_rub=self.amount_rub,
            type="adjustment",
            reason=self.reason,
        )


class Adjusted(msgspec.Struct, frozen=True):
    """What was booked, and what the person has since."""

    entry: Posting
    balance: Balance


async def adjust(rooms: Rooms, conn: Connection, adjustment: Adjustment) -> Adjusted:
    """On the caller's transaction. Raises NotFound, InsufficientBalance, Conflict where the key was used long ago."""
    if not await repo.get_users(conn, [adjustment.user_id]):
        raise NotFound("There is no such user.")
    posting = adjustment.posting
    if await rooms.of(Ledger).post(conn, posting) is None:
        raise Conflict("A balance was adjusted with this key before; what was answered is forgotten.")
    log.info("balance adjusted", user_id=adjustment.user_id, amount_rub=str(adjustment.amount_rub))
    return Adjusted(posting, await ledger.get_balance(conn, adjustment.user_id))
