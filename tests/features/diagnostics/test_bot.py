"""/stats and /failures in the bot: short, for operators alone, in both languages."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace

import asyncpg
import pytest

from service.features.diagnostics.repo import Counts
from tests.cast import FRIEND, OPERATOR, PAYER, STRANGER
from tests.features.diagnostics.generations import failed, generation, keep, paid
from tests.serving import Served

RUSSIAN = replace(OPERATOR, language_code="ru")
OFF = SimpleNamespace(en="⚠️ Database temporarily unavailable", ru="⚠️ База временно недоступна")


async def test_stats(served: Served) -> None:
    assert (await served.says(OPERATOR, "/stats"))["text"] == (
        "📊 The last 24 hours\n👥 1 person, new today: 1\n\n"
        "🎨 0 generations\n✅ 0, ❌ 0, of these ⏱ 0. Success rate: – %\n💰 Paid: 0 ₽"
    )
    await keep(
        served,
        *[generation(PAYER.user_id, model_id="_gone*<b>") for _ in range(3)],
        paid(FRIEND.user_id, "12.50"),
        paid(FRIEND.user_id, "7.50"),
        failed(PAYER.user_id, status="timeout"),
    )
    told = await served.says(OPERATOR, "/stats 1")
    assert told["text"] == (
        "📊 The last hour\n👥 3 people, new today: 3\n\n"
        "🎨 6 generations\n✅ 5, ❌ 1, of these ⏱ 1. Success rate: 83 %\n💰 Paid: 20 ₽\n\n"
        "Most used:\n1. _gone*<b>: 3\n2. image-large: 2"
    )
    assert "parse_mode" not in told
    assert "👥 3 человека, сегодня новых: 3\n\n🎨 6 генераций" in (await served.says(RUSSIAN, "/stats 21"))["text"]
    assert (await served.says(RUSSIAN, "/stats 21"))["text"].startswith("📊 За последний 21 час\n")


async def test_failures(served: Served) -> None:
    assert (await served.says(OPERATOR, "/failures"))["text"] == "❌ Failures of the last 24 hours:\n\nNone."
    await keep(
        served,
        *[failed(PAYER.user_id, "rate_limited", "key=hush *please* <wait>") for _ in range(2)],
        failed(FRIEND.user_id, None, None, model_id="other"),
    )
    told = await served.says(RUSSIAN, "/failures 3")
    assert told["text"] == (
        "❌ Ошибки за последние 3 часа:\n\n2 × text-card, rate_limited: key=*** *please* <wait>\n1 × other, –"
    )
    assert "parse_mode" not in told


async def test_a_long_list_fits_into_a_message(served: Served) -> None:
    many = [failed(PAYER.user_id, f"code{n:02}", "🙂" * 490, model_id="m" * 64) for n in range(12)]
    await keep(served, *many)
    text = (await served.says(OPERATOR, "/failures"))["text"]
    assert 2000 < len(text.encode("utf-16-le")) // 2 <= 4096
    assert "code00" in text
    few = [failed(STRANGER.user_id, f"short{n:02}", "no") for n in range(12) for _ in range(2)]
    await keep(served, *few)
    text = (await served.says(OPERATOR, "/failures"))["text"]
    assert len(text.splitlines()) == 2 + 10 + 1
    assert text.endswith("… and others")


@pytest.mark.parametrize("command", ["/stats", "/failures"])
@pytest.mark.parametrize("hours", ["0", "yesterday", "2161", "-1", "1 2"])
async def test_another_window_is_explained(served: Served, command: str, hours: str) -> None:
    text = (await served.says(OPERATOR, f"{command} {hours}"))["text"]
    assert text == f"{command} and a number of hours, from 1 to 2160."


@pytest.mark.parametrize("command", ["/stats", "/failures"])
async def test_for_anybody_else_it_does_not_exist(served: Served, command: str) -> None:
    assert await served.says(PAYER, command) == {**await served.says(PAYER, "/nonsense")}
    assert command not in (await served.says(OPERATOR, "/help"))["text"]


@pytest.mark.parametrize("command", ["/stats", "/failures 5"])
async def test_off_it_says_so(served: Served, raw: asyncpg.Connection, command: str) -> None:
    await raw.execute("DROP TABLE generation_events")
    assert (await served.says(OPERATOR, command))["text"] == OFF.en
    assert (await served.says(RUSSIAN, command))["text"] == OFF.ru


def test_a_success_rate_is_not_rounded_up() -> None:
    counts = Counts(total=1000, success=999, failed=1, timeouts=0, free_used=0, total_cost=Decimal(0))
    assert counts.success_percent == 99
