"""Payment processors: one file each, with the same few functions. None of them touches a table.

A new one is its file, its tests, and its line in `opened` and in service/payments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import aiohttp

from service.config import Config
from service.errors import NotFound
from service.feature import Rooms
from service.payments.providers import polar, stripe, telegram, yookassa
from service.payments.providers.provider import Provider
from service.telegram.client import BotApi
from service.telegram.pacing import FloodGuard

# Questions that callbacks may cause, of each processor: a busy shop's payments, and not a flood of forgeries.
QUESTIONS_RATE = 20.0  # a second
QUESTIONS_BURST = 200


class Providers:
    """The processors whose settings are there, in the order in which people are offered them."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._by_name = {provider.name: provider for provider in providers}
        self._questions = FloodGuard(QUESTIONS_RATE, QUESTIONS_BURST)

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._by_name.values())

    def get(self, name: str) -> Provider:
        """Raises NotFound for a processor that is not configured, or is none."""
        if name not in self._by_name:
            raise NotFound("There is no such payment processor here.")
        return self._by_name[name]

    def may_be_asked(self, name: str, at: float) -> bool:
        """Whether a callback may make us ask back now, `at` by the monotonic clock: forgers must not set the pace."""
        return self._questions.allows(name, at)


def opened(rooms: Rooms) -> Providers:
    """Every processor that has its settings."""
    config, session = rooms.of(Config), rooms.of(aiohttp.ClientSession)
    back = f"{config.public_url or 'https://t.me'}/payments/return"
    found: list[Provider] = []
    if yookassa.requires(config) is None:
        found.append(yookassa.configured(config, session, back))
    if stripe.requires(config) is None:
        found.append(stripe.configured(config, session, back))
    if polar.requires(config) is None:
        found.append(polar.configured(config, session, back))
    found += telegram.configured(config, rooms.of(BotApi))
    return Providers(found)
