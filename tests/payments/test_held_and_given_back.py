"""Money that goes back to a payer who has some of it put aside for something else."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from service.kernel.database import Database
from service.payments import wallet
from tests.cast import PAYER
from tests.payments.money import BROKEN, balance_of, entries_of, order, paid, refunded, rooms_for, settle


async def test_a_refund_leaves_alone_what_is_held(db: Database, raw: Any) -> None:
    """Case 41: the balance goes below zero; what was put aside can still be spent; nothing else can."""
    rooms = rooms_for(db)
    await settle(rooms, paid(await order(raw)))
    hold = wallet.Hold(uuid4(), PAYER.user_id, Decimal("120.00"), "something")
    async with db.transaction() as conn:
        await wallet.reserve(rooms, conn, hold)
    assert (await settle(rooms, refunded(amount="150.00"))).status == "applied"
    assert await balance_of(raw) == Decimal("-120.00")
    assert await raw.fetch(BROKEN) == []
    with pytest.raises(wallet.InsufficientBalance):
        async with db.transaction() as conn:
            await wallet.reserve(rooms, conn, wallet.Hold(uuid4(), PAYER.user_id, Decimal("0.01"), "more"))
    async with db.transaction() as conn:
        await wallet.capture(rooms, conn, hold.reservation_id, Decimal("100.00"), "something")
    assert await balance_of(raw) == Decimal("-100.00")
    await settle(rooms, paid(await order(raw), "p2"))
    assert await balance_of(raw) == Decimal("50.00"), "the next top-up fills the hole first"
    kinds = [kind for kind, _ in await entries_of(raw)]
    assert kinds == ["topup", "chargeback", "deduction", "topup"]
    assert await raw.fetch(BROKEN) == []
