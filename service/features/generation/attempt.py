"""One try: asks the provider, within its time, and says how it went.

It knows the catalogue and the providers; it knows no queue, no money and nobody who waits for the result.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Protocol
from uuid import UUID

import msgspec

from service.catalog import Catalog, Model
from service.config import Config
from service.feature import Event, Hearers, Rooms, tell
from service.features.generation import callback
from service.features.generation.providers.provider import Output, Pending, ProviderFailed, Providers, Request
from service.features.generation.work import Ending
from service.kernel.clock import Clock
from service.kernel.log import Log
from service.text import Language

EVENT = "generation"

log = Log("generation")


class Failed(msgspec.Struct, frozen=True):
    """It was not made. permanent: another try would not help. retry_after: seconds that the provider asks for."""

    code: str
    message: str
    permanent: bool = True
    retry_after: float | None = None

    @property
    def status(self) -> Ending:
        return "timeout" if self.code == "timeout" else "failed"


class Asked(Protocol):
    """Whatever says what is wanted: an order, or a claim of one."""

    @property
    def job_id(self) -> UUID: ...
    @property
    def user_id(self) -> int: ...
    @property
    def chat_id(self) -> int: ...
    @property
    def language(self) -> Language: ...
    @property
    def prompt(self) -> str: ...


Step = Output | Pending | Failed


async def attempt(
    rooms: Rooms, asked: Asked, model: Model | None, reference: str | None = None, *, until: datetime
) -> Step:
    """Begin it, or see how it is going at the provider's. Whatever goes wrong is a value."""
    if model is None:
        return Failed("model_gone", "The catalogue has no such model any more.")
    late = Failed("timeout", f"It took more than {model.timeout_s} s.")
    left_s = (until - rooms.of(Clock).now()).total_seconds()
    if left_s <= 0:
        return late
    limit = asyncio.timeout(left_s)
    try:
        async with limit:
            return await _ask(rooms, asked, model, reference)
    except ProviderFailed as error:
        return Failed(error.code, error.message, permanent=error.permanent, retry_after=error.retry_after)
    except Exception as error:  # a provider's own mistake must not take the worker with it
        if limit.expired():
            return late
        log.exception("a provider broke", provider=model.provider, model=model.id)
        return Failed("broken", type(error).__name__, permanent=False)


async def give_up(rooms: Rooms, asked: Asked, model: Model | None, reference: str) -> None:
    """Tell the provider that nobody waits any more, as far as it listens."""
    if model is None:
        return
    try:
        await rooms.of(Providers).get(model.provider).cancel(_request(rooms, asked, model), reference)
    except ProviderFailed as error:
        log.info("task not called off", provider=model.provider, reason=error.message)
    except Exception:  # nobody waits for it: whatever is to be done after it must be done
        log.exception("a provider broke", provider=model.provider, model=model.id)


def is_heard(rooms: Rooms) -> bool:
    """Whether anybody watches: what is told is gathered for nobody else."""
    return EVENT in rooms.of(Hearers)


def happened(rooms: Rooms, asked: Asked, model_id: str, status: str, **more: object) -> None:
    """Tell whoever watches. more: task_id, error_code, error_message, duration_ms."""
    if not is_heard(rooms):
        return
    model = rooms.of(Catalog).model(model_id)
    told = {
        "status": status,
        "chat_id": asked.chat_id,
        "model_id": model_id,
        "category": model.category if model else None,
        "request_id": str(asked.job_id),
        "at": rooms.of(Clock).now(),
        **dict.fromkeys(("task_id", "error_code", "error_message", "duration_ms")),
        **more,
    }
    tell(rooms, Event(EVENT, asked.user_id, told))


async def _ask(rooms: Rooms, asked: Asked, model: Model, reference: str | None) -> Output | Pending:
    provider, request = rooms.of(Providers).get(model.provider), _request(rooms, asked, model)
    return await (provider.start(request) if reference is None else provider.check(request, reference))


def _request(rooms: Rooms, asked: Asked, model: Model) -> Request:
    url = callback.callback_url(rooms.of(Config), model.provider, asked.job_id)
    return Request(asked.job_id, model, asked.prompt, asked.language, url)
