"""A person with projects in the chat, from the first name to the last result."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from service.telegram import reply
from service.telegram.client import InputFile
from tests.features.projects.shelf import made
from tests.payments.bot.shop import open_shop
from tests.waiting import until

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)


@pytest.mark.parametrize("russian", [False, True])
async def test_from_a_name_to_a_result(database_url: str, raw: Any, russian: bool) -> None:
    async with open_shop(database_url) as shop:
        person = shop.friend if russian else shop.payer

        def said(en: str, ru: str) -> str:
            return ru if russian else en

        await person.says("/start")
        await until(lambda: said("💼 My projects", "💼 Мои проекты") in person.keyboard)
        await person.presses(said("💼 My projects", "💼 Мои проекты"))
        await person.hears(said("no projects yet", "Проектов пока нет"))
        await person.presses(said("➕ New project", "➕ Новый проект"))
        await person.hears("/newproject")
        await person.says(said("Cats", "Коты"))
        await person.hears(said("💼 Cats · 0 results", "💼 Коты · 0 результатов"))

        picture = InputFile("card.png", "image/png", PIXEL)
        answer = await shop.served.operations.bot.call("sendPhoto", {"chat_id": person.id, "photo": picture})
        outputs = {"file_id": answer["photo"][-1]["file_id"], "method": "sendPhoto", "name": "card.png"}
        job_id = await made(raw, person.id, outputs)
        button = reply.inline_keyboard([[(said("💾 Save", "💾 Сохранить"), f"save:{job_id}")]])
        where = {"chat_id": person.id, "message_id": answer["message_id"]}
        await shop.served.operations.bot.call("editMessageReplyMarkup", {**where, "reply_markup": button})

        await person.presses(said("💾 Save", "💾 Сохранить"))
        await person.hears(said("Save into which", "В какой проект"))
        await person.presses(said("Cats · 0 results", "Коты · 0 результатов"))
        await person.hears(said("✅ Saved in “Cats”.", "✅ Сохранено в «Коты»."))
        await person.presses(said("Open the project", "Открыть проект"))
        await person.hears(said("💼 Cats · 1 result", "💼 Коты · 1 результат"))
        await person.presses("1")
        await until(lambda: "photo" in person.chat[-1].wire)
        assert person.chat[-1].wire["photo"] == answer["photo"], "the same picture, by its id"
        assert person.chat[-1].wire["caption"].endswith(": a tale")

        await person.presses(said("🗑 Delete", "🗑 Удалить"))
        await person.hears(said("Delete “Cats”", "Удалить «Коты»"))
        await person.presses(said("Yes, delete", "Да, удалить"))
        await person.hears(said("“Cats” is deleted.", "Проект «Коты» удалён."))
        assert await raw.fetchval("SELECT count(*) FROM projects") == 0
