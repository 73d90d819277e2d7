"""The referrals table, as functions. Takes a connection, never opens or commits anything.

The SQL is in sql/referrals.sql.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from service.kernel import queries


class Linked(msgspec.Struct, frozen=True):
    """What became of a batch: how many were linked, when the first of them came, and who was the last in the batch."""

    linked: int
    first_at: datetime | None
    last_at: datetime | None
    last_id: int | None


class Summary(msgspec.Struct, frozen=True):
    """What somebody's link has brought."""

    came: int
    paid: int
    earned_rub: Decimal


class Reward(msgspec.Struct, frozen=True):
    """What somebody got for a friend, and when."""

    rewarded_at: datetime
    reward_rub: Decimal


class Looked(msgspec.Struct, frozen=True):
    """Which of a batch of referrals are to be rewarded, and which was the last in it; None of an empty one."""

    last_id: int | None
    due: list[int]


class Unrewarded(msgspec.Struct, frozen=True):
    """A referral that is to be rewarded; `kept_rub` is what is left of the friend's first top-up."""

    id: int
    referrer_id: int
    referred_id: int
    kept_rub: Decimal


class Untold(msgspec.Struct, frozen=True):
    """A reward of which the referrer is to be told."""

    id: int
    referrer_id: int
    reward_rub: Decimal


SQL = queries.room("referrals")

get_last_came = SQL.value("get_last_came", datetime)
link = SQL.one("link", Linked)
get_summary = SQL.one("get_summary", Summary)
list_rewards = SQL.many("list_rewards", Reward)
list_due_lately = SQL.value("list_due_lately", list[int])
look_through = SQL.one("look_through", Looked)
claim_unrewarded = SQL.one("claim_unrewarded", Unrewarded)
mark_rewarded = SQL.exec("mark_rewarded")
claim_untold = SQL.many("claim_untold", Untold)
mark_told = SQL.exec("mark_told")
