"""Ids and numbers as operators write them, and the time that a read may take."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import Invalid, NotFound
from service.feature import Feature, Rooms
from service.features import FEATURES
from service.ops import reading
from service.ops.reading import Asked
from service.text import Text
from tests.serving import serving


@pytest.mark.parametrize("text", ["0", str(2**63 - 1), "007"])
def test_an_id(text: str) -> None:
    assert Asked({"user_id": text}, {}).id("user_id") == int(text)


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "x", "٣", "²", " 1", str(2**63), "9" * 5000])
def test_what_is_no_id_is_nobody(text: str) -> None:
    with pytest.raises(NotFound):
        Asked({"user_id": text}, {}).id("user_id")


def test_a_number_within_its_bounds() -> None:
    assert Asked({}, {}).number("hours", 24, 100) == 24
    assert Asked({}, {"hours": "100"}).number("hours", 24, 100) == 100
    for text in ("", "0", "101", "-1", "1e1", "٣"):
        with pytest.raises(Invalid, match=r"^`hours` must be a number from 1 to 100\.$"):
            Asked({}, {"hours": text}).number("hours", 24, 100)


async def test_a_read_takes_no_longer_than_a_door(database_url: str) -> None:
    async def never(_rooms: Rooms, _asked: Asked) -> object:
        return await asyncio.Event().wait()

    slow = Feature(name="slow", title=Text("Slow", "Медленная"), routes=(reading.route("/admin/slow", never),))
    async with serving(database_url, features=[*FEATURES, slow], DOOR_TIMEOUT="1") as served:
        status, told = await served.get("/admin/slow", admin=True)
    assert (status, told["error"]["code"]) == (503, "deadline_exceeded")
