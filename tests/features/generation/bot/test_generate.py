"""From a model and a prompt to a result, in words that people understand."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cast import FRIEND, PAYER, STRANGER
from tests.features.generation.bot.studio import give, labels, open_studio, sees_pictures, stop_workers
from tests.payments.bot.shop import Shop
from tests.payments.money import balance_of, entries_of
from tests.serving import message, pressed

SORRY = "⚠️ База временно недоступна"


async def test_from_the_model_to_the_picture(studio: Shop, raw: Any) -> None:
    payer = studio.payer
    await payer.says("/models")
    await payer.presses("Tools")
    await payer.presses("QR code – free")
    await payer.presses("✨ Create")
    question = await payer.hears("Say what you want")
    assert question.text.splitlines()[-1] == "/generate qr"
    await payer.says("https://example.org")
    assert (await payer.hears("accepted")).text == "🎨 QR code: accepted, the result will come here."
    (picture,) = await sees_pictures(payer)
    assert (picture.text, labels(picture.buttons)[0]) == ("🎨 QR code", "🔁 Repeat")
    assert await raw.fetchval("SELECT prompt FROM generation_jobs") == "https://example.org"


async def test_in_one_line_with_a_prompt_of_several(studio: Shop, raw: Any) -> None:
    await studio.friend.says("/generate QR раз\nдва")
    assert labels((await studio.friend.hears("принято")).buttons) == ["✖️ Отменить"]
    (picture,) = await sees_pictures(studio.friend)
    assert (picture.text, labels(picture.buttons)[0]) == ("🎨 QR-код", "🔁 Повторить")
    assert await raw.fetchval("SELECT prompt FROM generation_jobs") == "раз\nдва"


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("/generate cat", "Модели «cat» нет. Выберите из этих: /models"),
        ("/generate elsewhere cat", "Модели «elsewhere» нет. Выберите из этих: /models"),
        ("/generate {0} {x}", "Модели «{0}» нет. Выберите из этих: /models"),
        ("/generate " + "я" * 4_000, f"Модели «{'я' * 64}» нет. Выберите из этих: /models"),
        ("/generate qr", "QR-код, бесплатно. Напишите, что нужно, в ответ на это сообщение.\n\n/generate qr"),
        ("/generate card ", "Открытка, 12.50 ₽. Напишите, что нужно, в ответ на это сообщение.\n\n/generate card"),
        (
            "/generate qr " + "я" * 22,
            "Слишком длинный запрос: 22, а «QR-код» принимает до 21 символа. Пришлите короче.",
        ),
    ],
)
async def test_what_is_to_be_done_first(studio: Shop, raw: Any, said: str, answer: str) -> None:
    assert (await studio.served.says(FRIEND, said))["text"] == answer
    assert await raw.fetchval("SELECT count(*) FROM generation_jobs") == 0


async def test_a_question_without_a_text_is_asked_again(studio: Shop) -> None:
    question = {"message_id": 3, "from": {"id": 1, "is_bot": True}, "text": "QR\n\n/generate qr"}
    update = message(PAYER, "", reply_to_message=question)
    del update["message"]["text"]  # a sticker, for instance
    answer = (await studio.served.post(update))[1]
    assert answer["text"].endswith("/generate qr")
    assert answer["reply_markup"]["force_reply"]


async def test_a_button_of_a_model_that_is_gone(studio: Shop) -> None:
    assert (await studio.served.post(pressed(PAYER, "make:gone")))[1]["text"].startswith("There is no model “gone”")


async def test_the_same_update_is_the_same_order(studio: Shop, raw: Any) -> None:
    await stop_workers(raw)
    update = json.dumps(message(STRANGER, "/generate qr hi")).encode()
    dispatcher = studio.served.operations.dispatcher
    first, again = await dispatcher.answer(update), await dispatcher.replay(update)
    assert first.body == again.body
    await raw.execute("TRUNCATE processed_updates")
    assert b"accepted" in (await dispatcher.replay(update)).body
    assert await raw.fetchval("SELECT count(*) FROM generation_jobs") == 1


async def test_paid_work_is_charged_when_it_is_there(studio: Shop, raw: Any) -> None:
    payer = studio.payer
    await payer.says("/start")
    await give(studio, payer, "20")
    await payer.says("/generate card With love")
    await sees_pictures(payer)
    assert await entries_of(raw, payer.id) == [("adjustment", Decimal("20.00")), ("deduction", Decimal("-12.50"))]


async def test_who_has_too_little_can_top_up(studio: Shop, raw: Any) -> None:
    friend = studio.friend
    await friend.says("/start")
    await give(studio, friend, "2.50")
    await friend.says("/generate card С любовью")
    answer = await friend.hears("Не хватает")
    assert answer.text == "Не хватает: нужно 12.50 ₽, на балансе 2.50 ₽."
    assert labels(answer.buttons) == ["➕ Пополнить"]
    assert await raw.fetchval("SELECT count(*) FROM generation_jobs") == 0
    assert await raw.fetchval("SELECT count(*) FROM payment_reservations") == 0
    assert await balance_of(raw, friend.id) == Decimal("2.50")
    await friend.presses("➕ Пополнить")
    await friend.hears("На сколько пополнить?")


async def test_so_many_at_once_and_no_more(database_url: str, tmp_path: Path, raw: Any) -> None:
    async with open_studio(database_url, tmp_path, jobs_per_person=2) as studio:
        await stop_workers(raw)
        payer = studio.payer
        await give(studio, payer, "100")
        await payer.says("/generate qr one")
        await payer.says("/generate card two")
        assert (await payer.hears("accepted")).text.endswith("1 order of yours is ahead of it.")
        for more in ("/generate qr three", "/generate card four"):
            await payer.says(more)
            await payer.hears("You have 2 orders open already. Wait for one or cancel it, then send this again.")
        assert await balance_of(raw, payer.id) == Decimal("87.50"), "what was refused is not put aside"
        await studio.friend.says("/generate qr раз")
        await studio.friend.hears("принято")


async def test_what_fails_is_said_and_not_charged(studio: Shop, raw: Any) -> None:
    friend = studio.friend
    await friend.says("/start")
    await give(studio, friend, "20")
    await friend.says("/generate card 🙂")
    answer = await friend.hears("не получилось")
    assert answer.text == "😔 Открытка: не получилось. В запросе нечего нарисовать. Деньги не списаны."
    assert labels(answer.buttons) == ["🔁 Повторить"]
    assert await balance_of(raw, friend.id) == Decimal("20.00")


async def test_without_the_queue_what_is_free_is_made_here(studio: Shop, raw: Any) -> None:
    await raw.execute("DROP TABLE generation_jobs")
    await studio.served.operations.switchboard.refresh()
    friend = studio.friend
    await friend.says("/generate qr раз")
    assert (await friend.hears("принято")).buttons == [], "there is nothing to cancel it by"
    (picture,) = await sees_pictures(friend)
    assert picture.buttons == []
    await friend.says("/generate card раз")
    assert (await friend.hears(SORRY)).text == SORRY


async def test_without_the_database_what_is_free_is_made(tmp_path: Path) -> None:
    async with open_studio("postgresql://127.0.0.1:9/none", tmp_path, away=True) as studio:
        friend = studio.friend
        await friend.says("/generate card раз")
        await friend.hears(SORRY)
        await friend.says("/generate qr раз")
        await friend.hears("принято")
        await sees_pictures(friend)


async def test_a_prompt_that_no_table_holds(studio: Shop, raw: Any) -> None:
    status, answer = await studio.served.post(message(PAYER, "/generate qr a\0b"))
    assert (status, answer["method"]) == (200, "sendMessage")
    assert "accepted" in answer["text"]
    assert await raw.fetchval("SELECT prompt FROM generation_jobs") == "ab"
