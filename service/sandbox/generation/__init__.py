"""A stand-in for the makers of texts and pictures: chat completions, images and predictions over real HTTP.

For development and tests only. It knows the wire formats of OpenAI's and Replicate's APIs and must not know anything
of the shop: the shop knows of it as GENERATION_API_BASE and PREDICTIONS_API_BASE alone. Nothing here thinks or draws:
it repeats what it is told, and paints a few colours. Words in a prompt make it refuse (REFUSED) or fail (FAILED), for
whoever wants to see that.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web

from service.sandbox.calls import Calls
from service.sandbox.generation.doors import Doors
from service.sandbox.generation.predictions import Prediction, Predictions
from service.sandbox.generation.wording import FAILED, REFUSED
from service.sandbox.processors.api import ApiCall, Faults

__all__ = ["FAILED", "REFUSED", "Generation", "Prediction"]

KEY = "sk-sandbox"
TAKES_S = 6.0  # long enough for a progress message to be seen moving


class Generation:
    """Both APIs at `prefix`/v1, with one key.

    takes_s: seconds a prediction takes; None: until a test ends it. clock: seconds since the epoch.
    """

    def __init__(
        self, key: str = KEY, *, takes_s: float | None = TAKES_S, clock: Callable[[], float] = time.time
    ) -> None:
        self._predictions = Predictions(takes_s, clock)
        self._doors = Doors(key, self._predictions, clock)

    def mount(self, app: web.Application, prefix: str = "/sandbox/generation") -> None:
        """Serve from this app, and stop with it."""
        app.add_routes(self._doors.routes(prefix))

        async def on_shutdown(_: web.Application) -> None:
            await self.stop()

        app.on_shutdown.append(on_shutdown)

    async def stop(self) -> None:
        """Let go everything that waits. What was under way is lost."""
        self.faults.clear()
        await self._predictions.stop()

    @property
    def calls(self) -> Calls[ApiCall]:
        """The last calls, oldest first; `method` is "POST /chat/completions", "GET /predictions/{id}"."""
        return self._doors.calls

    @property
    def faults(self) -> Faults:
        """What the next calls shall suffer, by the same names."""
        return self._doors.faults

    def told_to_wait(self, seconds: str) -> None:
        """What Retry-After says from now on to calls that are too many; "" for no such header."""
        self._doors.retry_after = seconds

    @property
    def predictions(self) -> list[Prediction]:
        """All there are, oldest first."""
        return self._predictions.all

    def advance(self, prediction_id: str, percent: int) -> None:
        """It is at work, and so far."""
        self._predictions.advance(prediction_id, percent)

    def finish(self, prediction_id: str) -> None:
        """It ends now, as its prompt says, and whoever is to be called is called."""
        self._predictions.finish(prediction_id)
