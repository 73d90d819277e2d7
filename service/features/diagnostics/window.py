"""The time that is looked at: the last so many hours. Pure: it knows its bounds and nothing of what is in it."""

from __future__ import annotations

from datetime import datetime, timedelta

# A quarter: one month can be held against the two before it, and nobody asks about a failure that is older.
KEPT_FOR = timedelta(days=90)
HOURS = 24
HOURS_MAX = KEPT_FOR // timedelta(hours=1)


def ending(now: datetime, hours: int) -> dict[str, datetime]:
    """The window as the queries take it; an event at its very beginning is outside."""
    return {"since": now - timedelta(hours=hours), "until": now}
