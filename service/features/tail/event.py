"""One event as the tail keeps it. Pure: it knows which facts of each event are kept, and nothing of tables.

What is not listed here is not kept: whoever tells more (a prompt, the words of a provider, which may quote one) tells
it to others.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec

from service.feature import Event
from service.kernel.log.cleaning import clean

KEPT: Mapping[str, tuple[str, ...]] = {
    "generation": ("status", "category", "price_rub", "request_id", "error_code", "duration_ms"),
    "payment_settled": ("payment_id", "provider", "credit_rub"),
    "payment_review": ("payment_id", "provider", "reason"),
    "started": (),
    "update_parked": ("update_id", "kind", "error"),
    "feature_changed": ("feature", "state", "reason"),
    "recovered": ("job", "counts"),
}


class TailEvent(msgspec.Struct, frozen=True):
    """A row to be; the fields stand as the statement takes them."""

    key: UUID
    name: str
    user_id: int | None
    model_id: str | None
    told: str
    happened_at: datetime

    @staticmethod
    def of(event: Event, now: datetime) -> TailEvent:
        """Raises KeyError for an event that the tail does not keep."""
        told = {name: event.told[name] for name in KEPT[event.name] if event.told.get(name) is not None}
        model_id = event.told.get("model_id")
        return TailEvent(
            key=uuid4(),
            name=event.name,
            user_id=event.user_id or None,
            model_id=None if model_id is None else clean(model_id),
            told=msgspec.json.encode(_cleaned(told)).decode(),
            happened_at=event.told.get("at", now),
        )


def _cleaned(value: Any) -> Any:
    """Numbers stay numbers, and everything else is a line without secrets."""
    if isinstance(value, Mapping):
        return {name: _cleaned(item) for name, item in value.items()}
    return value if isinstance(value, int) else clean(str(value))
