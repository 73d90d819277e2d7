"""What is made on this machine: it needs no network, no database and no settings, and so is always there.

It knows which picture a model wants; it knows nothing of how pictures are drawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from service.catalog import Params
from service.feature import Rooms
from service.features.generation.providers.drawing import NotDrawable, card, qr
from service.features.generation.providers.params import checked, one_of
from service.features.generation.providers.provider import File, Output, ProviderFailed, Request

NAME = "local"
KINDS: dict[str, Callable[[str], bytes]] = {"qr": qr.drawn, "card": card.drawn}


class Local:
    """Draws, in a thread: pictures keep a processor busy."""

    async def start(self, request: Request) -> Output:
        """Raises ProviderFailed where the text cannot be drawn; no other try would change that."""
        kind = request.model.params["kind"]
        try:
            body = await asyncio.to_thread(KINDS[kind], request.prompt)
        except NotDrawable as error:
            raise ProviderFailed(error.code, str(error), permanent=True) from None
        return Output(file=File(f"{kind}.png", "image/png", body))

    async def check(self, request: Request, reference: str) -> Output:
        """There is never anything under way: whoever asks began elsewhere. Made anew, it is the same."""
        return await self.start(request)

    async def cancel(self, request: Request, reference: str) -> None:
        """There is never anything under way."""


def check(params: Params) -> Iterable[str]:
    """The faults of a model's parameters."""
    return checked(params, required={"kind": one_of(*KINDS)})


def configured(_rooms: Rooms) -> Local:
    return Local()
