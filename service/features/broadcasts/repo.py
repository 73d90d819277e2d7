"""The tables broadcasts and broadcast_recipients, as functions. Takes a connection, never opens or commits anything.

The SQL is in sql/broadcasts.sql.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from service.kernel import queries

Outcome = Literal["queued", "sent", "blocked", "failed", "unknown"]


class Broadcast(msgspec.Struct, frozen=True):
    """A row of broadcasts; `segment` is JSON."""

    broadcast_id: UUID
    text: str
    button_text: str | None
    button_url: str | None
    segment: str
    status: str
    created_at: datetime
    gathered_at: datetime | None
    finished_at: datetime | None


class Count(msgspec.Struct, frozen=True):
    """So many recipients of one broadcast stand there."""

    broadcast_id: UUID
    status: str
    recipients: int


class Open(msgspec.Struct, frozen=True):
    """A broadcast that is under way."""

    broadcast_id: UUID
    text: str
    button_text: str | None
    button_url: str | None
    status: str
    next_at: datetime


class _Recipient(msgspec.Struct, frozen=True):
    user_id: int


SQL = queries.room("broadcasts")

add_broadcast = SQL.exec("add_broadcast")
get_broadcast = SQL.one("get_broadcast", Broadcast)
list_broadcasts = SQL.many("list_broadcasts", Broadcast)
count_recipients = SQL.many("count_recipients", Count)
cancel_broadcast = SQL.exec("cancel_broadcast")
resume_broadcast = SQL.exec("resume_broadcast")
find_open = SQL.one("find_open", Open)
gather: Callable[..., Awaitable[int | None]] = SQL.value("gather", int)
claim = SQL.many("claim", _Recipient)
settle = SQL.exec("settle")
put_off = SQL.exec("put_off")
give_up = SQL.exec("give_up")
finish = SQL.exec("finish")
