"""What can be made is shown shelf by shelf, whatever the database does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cast import FRIEND, PAYER
from tests.features.generation.bot.studio import labels, open_studio
from tests.payments.bot.shop import Shop
from tests.serving import pressed, serving


async def test_from_the_shelves_to_a_model_and_back(studio: Shop) -> None:
    payer = studio.payer
    await payer.says("/models")
    shelves = await payer.hears("What shall I make?")
    assert labels(shelves.buttons) == ["Tools", "Art"], "a shelf of what nobody is there to make is not shown"
    await payer.presses("Art")
    assert labels((await payer.hears("Art: which model?")).buttons) == ["Card – 12.50 ₽", "« Back"]
    await payer.presses("Card – 12.50 ₽")
    page = await payer.hears("Card")
    assert page.text == "Card\n\nPrice: 12.50 ₽\nPrompt: up to 4000 characters"
    assert labels(page.buttons) == ["✨ Create", "« Back"]
    await payer.presses("« Back")
    await payer.presses("« Back")
    await payer.presses("Tools")
    assert labels((await payer.hears("Tools")).buttons) == ["QR code – free", "« Back"]
    assert len(payer.chat) == 2, "it is one message that turns"


@pytest.mark.parametrize("said", ["✨ Модели", "/generate"])
async def test_in_russian(studio: Shop, said: str) -> None:
    await studio.friend.says(said)
    await studio.friend.hears("Что создадим?")
    await studio.friend.presses("Инструменты")
    await studio.friend.presses("QR-код – бесплатно")
    assert (await studio.friend.hears("Цена")).text == "QR-код\n\nЦена: бесплатно\nЗапрос: до 21 символа"


async def test_a_long_shelf_has_pages(database_url: str, tmp_path: Path) -> None:
    async with open_studio(database_url, tmp_path, more=17) as studio:
        payer = studio.payer
        await payer.says("/models")
        await payer.presses("Tools")
        assert labels((await payer.hears("Tools")).buttons)[7:] == ["More 6 – free", "Next ›", "« Back"]
        await payer.presses("Next ›")
        assert labels((await payer.hears("Tools")).buttons)[7:] == ["More 14 – free", "‹ Previous", "Next ›", "« Back"]
        await payer.presses("Next ›")
        assert labels((await payer.hears("Tools")).buttons) == [
            "More 15 – free",
            "More 16 – free",
            "‹ Previous",
            "« Back",
        ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("models:tools:99", "Tools"),
        ("models:tools:x", "Tools"),
        ("models:tools:-1", "Tools"),
        ("models:gone", "What shall I make?"),
        ("models::7", "What shall I make?"),
        ("model:gone", "There is no model “gone”"),
        ("model:elsewhere", "There is no model “elsewhere”"),
        ("model", "There is no model “”"),
    ],
)
async def test_a_button_from_another_time(studio: Shop, data: str, said: str) -> None:
    status, answer = await studio.served.post(pressed(PAYER, data))
    assert (status, answer["method"]) == (200, "editMessageText")
    assert answer["text"].startswith(said)
    assert answer["reply_markup"]["inline_keyboard"]


async def test_one_shelf_is_not_asked_for(database_url: str, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text(
        '[[categories]]\nid = "a"\ntitle = { en = "Only", ru = "Одна" }\n'
        '[[models]]\nid = "qr"\ntitle = { en = "QR", ru = "QR" }\ncategory = "a"\nprice_rub = 0\nprovider = "local"\n'
        'params = { kind = "qr" }\n'
    )
    async with serving(database_url, CATALOG=str(catalog)) as bot:
        answer = await bot.says(PAYER, "/models")
        assert (answer["text"], rows(answer)) == ("Only: which model?", [["QR – free"]])


async def test_nothing_to_make(database_url: str, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text("")
    async with serving(database_url, CATALOG=str(catalog)) as bot:
        assert (await bot.says(FRIEND, "/models"))["text"] == "Сейчас нет доступных моделей."


async def test_with_the_database_away(tmp_path: Path) -> None:
    async with open_studio("postgresql://127.0.0.1:9/none", tmp_path, away=True) as studio:
        await studio.payer.says("/models")
        await studio.payer.presses("Tools")
        await studio.payer.presses("QR code – free")
        await studio.payer.hears("up to 21 characters")


async def test_the_menu_and_the_help_name_it(studio: Shop) -> None:
    await studio.payer.says("/help")
    told = await studio.payer.hears("/models – what I can make")
    assert "/generate – make something: model and prompt" in told.text
    await studio.payer.says("/menu")
    await studio.payer.hears("What would you like?")
    assert "✨ Models" in studio.payer.keyboard


def rows(answer: dict[str, Any]) -> list[list[str]]:
    return [labels(row) for row in answer["reply_markup"]["inline_keyboard"]]
