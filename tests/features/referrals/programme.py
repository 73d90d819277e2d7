"""What tests of referrals share: people who came by a link, what they paid, and the rooms that see to it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from service.catalog import Catalog
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from tests.cast import FRIEND, PAYER
from tests.payments.money import order, rooms_for

CAME = datetime(2026, 11, 1, 12, tzinfo=UTC)
REFERRALS = "SELECT referrer_id, referred_id, reward_rub FROM referrals WHERE void_reason IS NULL ORDER BY id"
references = itertools.count(1)


def rooms_of(db: Database, percent: str = "10", clock: Clock | None = None, **settings: str) -> Rooms:
    catalog = Catalog(packs=(), referral_percent=Decimal(percent))
    return rooms_for(db, clock, **settings).with_({Catalog: catalog})


async def lives(raw: Any, *user_ids: int, since: datetime = CAME - timedelta(days=1)) -> None:
    """They are here, and did not come by a link."""
    statement = "INSERT INTO users (user_id, created_at, started_with, started_at) VALUES ($1, $2, '', $2)"
    await raw.executemany(statement, [(user_id, since) for user_id in user_ids])


async def came(raw: Any, user_id: int, started_with: str, at: datetime = CAME) -> None:
    """Somebody started so."""
    statement = "INSERT INTO users (user_id, created_at, started_at, started_with) VALUES ($1, $2, $2, $3)"
    await raw.execute(statement, user_id, at, started_with)


async def linked(raw: Any, *friends: int, referrer: int = PAYER.user_id) -> None:
    """Somebody brought them; the friend, if nobody is named."""
    friends = friends or (FRIEND.user_id,)
    await lives(raw, *{referrer, *friends} - {row[0] for row in await raw.fetch("SELECT user_id FROM users")})
    statement = "INSERT INTO referrals (referrer_id, referred_id, created_at) VALUES ($1, $2, $3)"
    await raw.executemany(statement, [(referrer, friend, CAME) for friend in friends])


async def topped_up(raw: Any, user_id: int = FRIEND.user_id, at: datetime = CAME, **columns: Any) -> UUID:
    """He has paid 150 roubles, unless `columns` say otherwise. What that did to his own balance is left out."""
    names = {"created_at": at, "settled_at": at, "status": "succeeded", "provider_payment_id": f"p{next(references)}"}
    return await order(raw, user_id=user_id, **{**names, **columns})
