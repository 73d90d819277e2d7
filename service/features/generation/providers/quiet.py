"""Which models asked to be left alone, and for how long: what one call was told, the next one need not ask.

It knows names and seconds, of this process; it knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from service.features.generation.providers.provider import ProviderFailed
from service.kernel.clock import Clock

UNTOLD_S = 5.0  # where a provider says "too many" and not until when


class Quiet:
    """Silences of one provider, by model."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}

    @contextmanager
    def kept(self, model: str) -> Iterator[None]:
        """Around a start: fails at once while the silence lasts, and begins one where too many were told.

        Raises ProviderFailed, with the seconds that are left of it.
        """
        left = self._until.get(model, 0.0) - self._clock.monotonic()
        if left > 0:
            raise ProviderFailed("rate_limited", "the provider asked us to wait", permanent=False, retry_after=left)
        try:
            yield
        except ProviderFailed as failure:
            if failure.code == "rate_limited":
                failure.retry_after = UNTOLD_S if failure.retry_after is None else failure.retry_after
                self._until[model] = self._clock.monotonic() + failure.retry_after
            raise
