"""An order is its owner's to call off while it is under way, and to repeat once it is over."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from tests.cast import PAYER, STRANGER
from tests.features.generation.bot.studio import give, labels, sees_pictures, stop_workers
from tests.payments.bot.shop import Shop
from tests.payments.money import balance_of
from tests.serving import pressed
from tests.waiting import until


async def test_called_off_and_the_money_is_back(studio: Shop, raw: Any) -> None:
    await stop_workers(raw)
    friend = studio.friend
    await friend.says("/start")
    await give(studio, friend, "20")
    await friend.says("/generate card раз")
    await friend.hears("принято")
    assert await balance_of(raw, friend.id) == Decimal("7.50")
    await friend.presses("✖️ Отменить")
    answer = await friend.hears("отменено")
    assert answer.text == "✖️ Открытка: отменено. 12.50 ₽ снова на балансе."
    assert labels(answer.buttons) == ["🔁 Повторить"]
    assert await balance_of(raw, friend.id) == Decimal("20.00")
    assert await raw.fetchval("SELECT status FROM generation_jobs") == "cancelled"


async def test_what_is_free_has_no_money_to_give_back(studio: Shop, raw: Any) -> None:
    await stop_workers(raw)
    await studio.payer.says("/generate qr one")
    await studio.payer.presses("✖️ Cancel")
    assert (await studio.payer.hears("cancelled")).text == "✖️ QR code: cancelled."


async def test_the_message_about_the_progress_goes_too(studio: Shop, raw: Any) -> None:
    await stop_workers(raw)
    payer = studio.payer
    await payer.says("/generate qr one")
    sent = await studio.served.operations.bot.call("sendMessage", {"chat_id": payer.id, "text": "⏳"})
    await raw.execute("UPDATE generation_jobs SET progress_message_id = $1", sent["message_id"])
    await payer.presses("✖️ Cancel")
    await payer.hears("cancelled")
    await until(lambda: all("⏳" not in one.text for one in payer.chat))


async def test_the_message_about_the_progress_has_the_button(studio: Shop, raw: Any) -> None:
    await stop_workers(raw)
    await studio.served.says(PAYER, "/generate qr one")
    await raw.execute("UPDATE generation_jobs SET progress_message_id = 5")
    job_id = await raw.fetchval("SELECT job_id FROM generation_jobs")
    answer = (await studio.served.post(pressed(PAYER, f"cancel:{job_id}")))[1]
    assert (answer["method"], answer["message_id"], answer["text"]) == (
        "editMessageText",
        5,
        "✖️ QR code: cancelled.",
    )


@pytest.mark.parametrize("word", ["cancel", "again"])
async def test_it_is_nobody_elses(studio: Shop, raw: Any, word: str) -> None:
    await stop_workers(raw)
    await studio.served.says(PAYER, "/generate qr one")
    job_id = await raw.fetchval("SELECT job_id FROM generation_jobs")
    for button in (f"{word}:{job_id}", f"{word}:{uuid4()}"):
        answer = (await studio.served.post(pressed(STRANGER, button)))[1]
        assert (answer["method"], answer["text"]) == ("answerCallbackQuery", "You have no such order.")
    assert await raw.fetchval("SELECT array_agg(status) FROM generation_jobs") == ["waiting"]


@pytest.mark.parametrize("data", ["cancel", "cancel:", "again:x", "again:1:2"])
async def test_a_button_that_is_none(studio: Shop, data: str) -> None:
    status, answer = await studio.served.post(pressed(PAYER, data))
    assert (status, answer["method"]) == (200, "answerCallbackQuery")


async def test_over_already(studio: Shop) -> None:
    payer = studio.payer
    await payer.says("/generate qr one")
    await sees_pictures(payer)
    await payer.presses("✖️ Cancel")
    await until(lambda: payer.toasts)
    assert payer.toasts == ["This order is over already."]
    await until(lambda: "✖️ Cancel" not in labels([one for said in payer.chat for one in said.buttons]))


async def test_repeated(studio: Shop, raw: Any) -> None:
    payer = studio.payer
    await payer.says("/generate qr one")
    await sees_pictures(payer)
    await payer.presses("🔁 Repeat")
    await payer.hears("accepted")
    await sees_pictures(payer, 2)
    assert await raw.fetchval("SELECT array_agg(prompt) FROM generation_jobs") == ["one", "one"]


async def test_repeated_by_who_has_too_little_now(studio: Shop, raw: Any) -> None:
    payer = studio.payer
    await payer.says("/start")
    await give(studio, payer, "20")
    await payer.says("/generate card one")
    await sees_pictures(payer)
    await payer.presses("🔁 Repeat")
    await payer.hears("Not enough: it takes 12.50 ₽, and your balance is 7.50 ₽.")
    assert await raw.fetchval("SELECT count(*) FROM generation_jobs") == 1
