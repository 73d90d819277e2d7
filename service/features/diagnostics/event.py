"""One event as it is kept. Pure: it knows what is told of a generation, and nothing of tables."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec

from service.feature import Event
from service.kernel.log.cleaning import clean


class GenerationEvent(msgspec.Struct, frozen=True):
    """A row to be; the fields stand as the statement takes them. duration_ms: milliseconds."""

    user_id: int
    chat_id: int | None
    model_id: str
    category: str | None
    status: str
    is_free: bool
    price_rub: Decimal
    request_id: str | None
    task_id: str | None
    error_code: str | None
    error_message: str | None
    duration_ms: int | None
    created_at: datetime

    @staticmethod
    def of(event: Event) -> GenerationEvent:
        """What was told, with the words of others cleaned. Raises KeyError where something is not told."""
        told = event.told
        return GenerationEvent(
            user_id=event.user_id,
            chat_id=told["chat_id"],
            model_id=told["model_id"],
            category=told["category"],
            status=told["status"],
            is_free=told["is_free"],
            price_rub=told["price_rub"],
            request_id=told["request_id"],
            task_id=_cleaned(told["task_id"]),
            error_code=_cleaned(told["error_code"]),
            error_message=_cleaned(told["error_message"]),
            duration_ms=told["duration_ms"],
            created_at=told["at"],
        )


def _cleaned(text: str | None) -> str | None:
    return None if text is None else clean(text)
