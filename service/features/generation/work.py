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
    """Where an order stands: how many of the same person are ahead of it, and whether it was there already.

    is_kept: there is a row of it, which can be called off and outlives the process.
    """

    ahead: int
    is_new: bool
    is_known: bool
    is_kept: bool

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


class Ended(msgspec.Struct, frozen=True):
    """How a claim ended.

    due_at: when recovery tells the person, where nobody has by then; None: there is nothing to tell.
    """

    job_id: UUID
    lease: int
    status: Ending
    output: Output | None = None
    error_code: str | None = None
    error_message: str | None = None
    due_at: datetime | None = None


class Cancelled(msgspec.Struct, frozen=True):
    """A job that its person called off."""

    job_id: UUID
    user_id: int
    chat_id: int
    language: Language
    prompt: str
    model_id: str
    price_rub: Decimal
    reference: str | None
    progress_message_id: int | None


class Job(msgspec.Struct, frozen=True):
    """A job as its person may see it. outputs: JSON, complete once it is delivered."""

    job_id: UUID
    user_id: int
    chat_id: int
    model_id: str
    price_rub: Decimal
    prompt: str
    status: str
    outputs: str | None
    error_code: str | None
    created_at: datetime
    finished_at: datetime | None
