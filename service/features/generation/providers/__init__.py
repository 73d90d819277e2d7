"""The providers there are. A new one is a file here and a line below; the catalogue's models name it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from service.catalog import Check, Params
from service.feature import Rooms
from service.features.generation.providers import local, openai, task
from service.features.generation.providers.provider import Provider, Providers


class Kind(Protocol):
    """What the file of a provider has."""

    NAME: str

    def check(self, params: Params) -> Iterable[str]:
        """The faults of a model's parameters, as the catalogue has them."""

    def configured(self, rooms: Rooms) -> Provider | None:
        """The provider, or None where its settings are missing."""


KINDS: tuple[Kind, ...] = (local, openai, task)
CHECKS: dict[str, Check] = {kind.NAME: kind.check for kind in KINDS}


def opened(rooms: Rooms) -> Providers:
    """Every provider that has its settings."""
    found = {kind.NAME: kind.configured(rooms) for kind in KINDS}
    return Providers({name: provider for name, provider in found.items() if provider is not None})
