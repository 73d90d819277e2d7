"""What generation tells, as tests tell it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from service.feature import Event, Rooms, tell
from service.features.diagnostics.recorder import Recorder, RecorderInTable
from tests.serving import Served

numbers = itertools.count(1)


def generation(user_id: int, **told: Any) -> Event:
    """A free success of a minute ago, unless `told` says otherwise."""
    usual = {
        "status": "success",
        "chat_id": user_id,
        "model_id": "text-card",
        "category": "image",
        "is_free": True,
        "price_rub": Decimal(0),
        "request_id": f"job-{next(numbers)}",
        "task_id": None,
        "error_code": None,
        "error_message": None,
        "duration_ms": 1200,
        "at": datetime.now(UTC) - timedelta(minutes=1),
    }
    return Event("generation", user_id, {**usual, **told})


def paid(user_id: int, roubles: str = "12.50", **told: Any) -> Event:
    return generation(user_id, is_free=False, price_rub=Decimal(roubles), model_id="image-large", **told)


def failed(user_id: int, code: str | None = "refused", said: str | None = "no", **told: Any) -> Event:
    return generation(user_id, **{"status": "failed", "error_code": code, "error_message": said, **told})


def rooms_of(served: Served) -> Rooms:
    return served.operations.switchboard.mounted.rooms


def recorder_of(served: Served) -> RecorderInTable:
    recorder = rooms_of(served).of(Recorder)
    assert isinstance(recorder, RecorderInTable)
    return recorder


async def keep(served: Served, *events: Event) -> None:
    """Tell, and see to it that they are written."""
    for event in events:
        tell(rooms_of(served), event)
    await recorder_of(served).flush()
