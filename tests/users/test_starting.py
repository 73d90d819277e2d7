"""The first /start of a person is kept, with what the link carried by which he came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from service.feature import Event
from service.features import FEATURES
from service.users import FEATURE as USERS
from tests.cast import FRIEND, PAYER
from tests.serving import Served, message, serving


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
async def served(database_url: str, heard: list[Event]) -> AsyncIterator[Served]:
    """With somebody who hears of starts, and keeps them."""
    listening = replace(USERS, hears={"started": lambda _, event: heard.append(event)})
    features = tuple(listening if feature is USERS else feature for feature in FEATURES)
    async with serving(database_url, features=features) as running:
        yield running


async def started_with(raw: Any, user_id: int = FRIEND.user_id) -> str | None:
    return await raw.fetchval("SELECT started_with FROM users WHERE user_id = $1", user_id)


async def test_the_first_counts_and_is_told_of(served: Served, raw: Any, heard: list[Event]) -> None:
    await served.says(FRIEND, "/menu")
    assert await started_with(raw) is None
    for text in ("/start ref_7000000001", "/start ref_1003", "/start"):
        assert "Друг" in (await served.says(FRIEND, text))["text"]
    assert await started_with(raw) == "ref_7000000001"
    assert await raw.fetchval("SELECT started_at FROM users WHERE user_id = $1", FRIEND.user_id) is not None
    assert heard == [Event("started", FRIEND.user_id)]


@pytest.mark.parametrize(
    ("payload", "kept"),
    [
        ("", ""),
        ("  ref_42 ", "ref_42"),
        ("a" * 64, "a" * 64),
        ("a" * 65, ""),
        ("two words", ""),
        ("ref_{0}", ""),
        ("nul\x00", "nul"),  # which no table takes
    ],
)
async def test_what_no_link_can_carry_is_nothing(served: Served, raw: Any, payload: str, kept: str) -> None:
    assert "Друг" in (await served.says(FRIEND, f"/start {payload}"))["text"]
    assert await started_with(raw) == kept


async def test_twice_at_once_is_one_start(served: Served, heard: list[Event]) -> None:
    await served.says(FRIEND, "/menu")
    await asyncio.gather(*(served.says(FRIEND, f"/start ref_{number}") for number in range(5)))
    assert len(heard) == 1


async def test_the_same_update_twice_is_answered_the_same(served: Served, heard: list[Event]) -> None:
    update = message(FRIEND, "/start ref_42")
    first = await served.post(update)
    served.operations.dispatcher.recent.forget(update["update_id"])
    assert await served.post(update) == first
    assert len(heard) == 1


async def test_a_group_does_not_start_a_person(served: Served, raw: Any, heard: list[Event]) -> None:
    await served.post(message(PAYER, "/start ref_42", chat={"id": -9, "type": "group"}))
    assert await started_with(raw, PAYER.user_id) is None
    assert not heard
