"""What is made on this machine: no settings, no network, no database."""

from __future__ import annotations

import asyncio
from io import BytesIO

import pytest
from PIL import Image

from service.feature import Rooms
from service.features.generation.providers import local
from service.features.generation.providers.provider import Output
from tests.features.generation.providers.makers import failure, request


@pytest.mark.parametrize("kind", local.KINDS)
async def test_a_picture_is_made(kind: str) -> None:
    made = await local.configured(Rooms({})).start(request("Привет", kind=kind))
    assert made.text is None
    assert made.file is not None
    assert (made.file.name, made.file.media_type) == (f"{kind}.png", "image/png")
    with Image.open(BytesIO(made.file.body)) as picture:
        assert picture.format == "PNG"


async def test_the_loop_turns_meanwhile() -> None:
    turns, provider = 0, local.configured(Rooms({}))
    making = asyncio.create_task(provider.start(request("слово " * 40, kind="card")))
    while not making.done():
        await asyncio.sleep(0)
        turns += 1
    assert isinstance(making.result(), Output)
    assert turns > 10


@pytest.mark.parametrize(("kind", "limit"), [("qr", "1273 bytes"), ("card", "20 lines")])
async def test_what_cannot_be_drawn_fails_for_good(kind: str, limit: str) -> None:
    error = await failure(local.configured(Rooms({})).start(request("слово\n" * 300, kind=kind)))
    assert (error.code, error.permanent) == ("too_long", True)
    assert limit in error.message


async def test_asked_again_it_is_the_same() -> None:
    asked, provider = request("Привет", kind="card"), local.configured(Rooms({}))
    assert await provider.check(asked, "whatever") == await provider.start(asked)
    await provider.cancel(asked, "whatever")
