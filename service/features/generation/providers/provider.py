"""What a provider is: somebody who makes what a model promises. It knows no provider by name, and no queue.

A provider keeps no state: what is under way at its place is named by a reference that the queue keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

import msgspec

from service.catalog import Model
from service.errors import Upstream
from service.text import Language


class Request(msgspec.Struct, frozen=True):
    """What is to be made. The same job_id is the same thing, however often it is asked for.

    callback_url: where a provider that takes its time may say that there is news; None where we cannot be reached.
    """

    job_id: UUID
    model: Model
    prompt: str
    language: Language = "en"
    callback_url: str | None = None


class File(msgspec.Struct, frozen=True):
    """Something made that is no text. `media_type` is that of HTTP: image/png."""

    name: str
    media_type: str
    body: bytes


class Output(msgspec.Struct, frozen=True):
    """What was made: text, a file, or a file with a text under it. Nothing at all is possible, and is not delivered."""

    text: str | None = None
    file: File | None = None


class Pending(msgspec.Struct, frozen=True):
    """It is under way at the provider's; ask again in so many seconds, or when it calls back. percent: 0 to 100."""

    reference: str
    check_after_s: float
    percent: int | None = None


class ProviderFailed(Upstream):
    """The provider did not make it. `code` is a word for operators' counts: rate_limited, refused, unreachable, ...

    The message is for operators and must not carry a key or an address. permanent: another try would not help.
    """

    def __init__(self, code: str, message: str, *, permanent: bool, retry_after: float | None = None) -> None:
        super().__init__(message, permanent=permanent, retry_after=retry_after)
        self.code = code


class Provider(Protocol):
    """Makes things. All of it may be cancelled at any await, and may be called again for the same request."""

    async def start(self, request: Request) -> Output | Pending:
        """Make it, or begin to. Raises ProviderFailed."""

    async def check(self, request: Request, reference: str) -> Output | Pending:
        """How it is going. Raises ProviderFailed."""

    async def cancel(self, request: Request, reference: str) -> None:
        """Nobody wants it any more. Raises ProviderFailed."""


class Providers:
    """The providers whose settings are there, by name."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._by_name = dict(providers)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def get(self, name: str) -> Provider:
        """Raises ProviderFailed for one that is not configured any more."""
        if name not in self._by_name:
            raise ProviderFailed("not_configured", f"{name} is not configured", permanent=True)
        return self._by_name[name]
