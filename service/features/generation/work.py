"""What is ordered, what is claimed, and how it ended: values. Pure: it knows no table and no provider."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

from service.catalog import Model
from service.features.generation.providers.provider import Output
from service.text import Language

Ending = Literal["success", "failed", "timeout"]


class Order(msgspec.Struct, frozen=True):
    """What a person wants made. The same job_id is the same order."""

    job_id: UUID
    user_id: int
    chat_id: int
    language: Language
    model: Model
    prompt: str


class Placed(msgspec.Struct, frozen=True):
    """Where an order stands: how many of the same person are ahead of it, and whether it was there already."""

    ahead: int
    is_new: bool
    is_known: bool

    @property
    def refused(self) -> bool:
        """He has too much open."""
        return not (self.is_new or self.is_known)


class Claim(msgspec.Struct, frozen=True):
    """A job that is ours to do, for as long as nobody holds a later lease."""

    job_id: UUID
    user_id: int
    chat_id: int
    language: Language
    model_id: str
    price_rub: Decimal
    prompt: str
    lease: int
    attempts: int
    reference: str | None
    deadline_at: datetime
    progress_message_id: int | None
    place: datetime
    started_at: datetime


class Result(msgspec.Struct, frozen=True):
    """How an order ended, for whoever tells the person.

    job_id is None where there is no row of it: it was made in the process, and cannot be repeated or saved.
    """

    job_id: UUID | None
    user_id: int
    chat_id: int
    language: Language
    model_id: str
    price_rub: Decimal
    status: Ending
    output: Output | None = None
    error_code: str | None = None
    progress_message_id: int | None = None
