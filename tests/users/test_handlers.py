"""The conversation that every bot has, through the whole service."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from service.text import Text
from service.users import texts
from tests.cast import CAST, FRIEND, OPERATOR, PAYER, STRANGER, Person
from tests.serving import Served, message, pressed, update_ids


def membership(person: Person, status: str, chat_type: str = "private") -> dict[str, Any]:
    chat = {"id": person.user_id if chat_type == "private" else -9, "type": chat_type}
    change = {"chat": chat, "from": person.wire, "new_chat_member": {"status": status}}
    return {"update_id": next(update_ids), "my_chat_member": change}


async def is_active(raw: asyncpg.Connection, person: Person) -> bool:
    return bool(await raw.fetchval("SELECT is_active FROM users WHERE user_id = $1", person.user_id))


@pytest.mark.parametrize(
    ("person", "greeting"),
    [(PAYER, "Hello, Payer!"), (FRIEND, "Здравствуйте, Друг!"), (STRANGER, "Hello, Stranger!")],
    ids=["english", "russian", "untold"],
)
async def test_start_greets_by_name_in_the_persons_language(served: Served, person: Person, greeting: str) -> None:
    answer = await served.says(person, "/start")
    assert (answer["method"], answer["chat_id"]) == ("sendMessage", person.user_id)
    assert answer["text"].startswith(greeting)
    assert answer["reply_markup"]["keyboard"]


async def test_who_has_no_name_is_greeted_too(served: Served) -> None:
    update = message(STRANGER, "/start")
    update["message"]["from"] = {"id": STRANGER.user_id}
    assert "👋" in (await served.post(update))[1]["text"]


async def test_a_name_with_braces_is_a_name(served: Served) -> None:
    update = message(STRANGER, "/start ref_{0}")
    update["message"]["from"]["first_name"] = "{name} {0}"
    assert "{name} {0}" in (await served.post(update))[1]["text"]


async def test_everybody_is_a_row(served: Served, raw: asyncpg.Connection) -> None:
    for person in CAST:
        await served.says(person, "/start")
    rows = await raw.fetch("SELECT user_id, username, first_name, last_name, language_code, is_active FROM users")
    told = {(p.user_id, p.username, p.first_name, p.last_name, p.language_code, True) for p in CAST}
    assert {tuple(row) for row in rows} == told


async def test_the_buttons_of_the_menu_are_understood_in_both_languages(served: Served) -> None:
    for person in (OPERATOR, FRIEND):
        menu = (await served.says(person, "/menu"))["reply_markup"]["keyboard"]
        for row in menu:
            for button in row:
                assert (await served.says(person, button["text"]))["text"] != texts.NOT_UNDERSTOOD.in_("en")


@pytest.mark.parametrize("text", ["/help", texts.HELP_BUTTON.en, texts.HELP_BUTTON.ru])
async def test_help_names_every_command(served: Served, text: str) -> None:
    answer = await served.says(PAYER, text)
    for command in ("/start", "/menu", "/language", "/help"):
        assert command in answer["text"]


@pytest.mark.parametrize("text", ["gibberish", "/unknown", "🎉"])
async def test_what_is_not_understood_is_admitted(served: Served, text: str) -> None:
    assert (await served.says(FRIEND, text))["text"] == texts.NOT_UNDERSTOOD.ru


async def test_choosing_a_language_and_keeping_it(served: Served, raw: asyncpg.Connection) -> None:
    offer = await served.says(FRIEND, "/language")
    buttons = offer["reply_markup"]["inline_keyboard"][0]
    assert offer["text"] == texts.CHOOSE_LANGUAGE.ru
    assert {button["text"]: button["callback_data"] for button in buttons} == {
        "English": "language:en",
        "Русский": "language:ru",
    }
    done = (await served.post(pressed(FRIEND, "language:en")))[1]
    assert (done["method"], done["message_id"], done["text"]) == ("editMessageText", 5, "From now on in English.")
    assert await raw.fetchval("SELECT language FROM users WHERE user_id = $1", FRIEND.user_id) == "en"
    assert (await served.says(FRIEND, "/start"))["text"].startswith("Hello, ")
    assert (await served.says(FRIEND, "/language"))["text"] == texts.CHOOSE_LANGUAGE.en
    await served.post(pressed(FRIEND, "language:ru"))
    assert (await served.says(FRIEND, "/start"))["text"].startswith("Здравствуйте")


@pytest.mark.parametrize("data", ["language:", "language:de", "language:ru:x", "language"])
async def test_a_language_that_we_do_not_speak_is_refused(served: Served, raw: asyncpg.Connection, data: str) -> None:
    status, answer = await served.post(pressed(PAYER, data))
    assert (status, answer["method"]) == (200, "answerCallbackQuery")
    assert await raw.fetchval("SELECT language FROM users WHERE user_id = $1", PAYER.user_id) is None


async def test_a_language_chosen_at_a_message_that_is_gone(served: Served) -> None:
    update = pressed(PAYER, "language:ru")
    del update["callback_query"]["message"]
    answer = (await served.post(update))[1]
    assert (answer["method"], answer["chat_id"], answer["text"]) == ("sendMessage", PAYER.user_id, "Теперь по-русски.")
    assert answer["reply_markup"]["keyboard"][0] == [{"text": "🌐 Язык"}, {"text": "❓ Помощь"}]


async def test_a_button_from_another_time_stops_spinning(served: Served) -> None:
    answer = (await served.post(pressed(PAYER, "gone:1")))[1]
    assert answer == {"method": "answerCallbackQuery", "callback_query_id": "77"}


async def test_who_blocks_the_bot_is_inactive_until_he_writes_again(served: Served, raw: asyncpg.Connection) -> None:
    await served.says(PAYER, "/start")
    assert await served.post(membership(PAYER, "kicked")) == (200, None)
    assert not await is_active(raw, PAYER)
    assert (await served.says(PAYER, "/start"))["method"] == "sendMessage"
    assert await is_active(raw, PAYER)


async def test_who_takes_the_bot_back_is_active(served: Served, raw: asyncpg.Connection) -> None:
    await served.post(membership(PAYER, "kicked"))
    assert not await is_active(raw, PAYER)
    await served.post(membership(PAYER, "member"))
    assert await is_active(raw, PAYER)


async def test_a_group_says_nothing_about_the_person(served: Served, raw: asyncpg.Connection) -> None:
    await served.says(PAYER, "/start")
    await served.post(membership(PAYER, "kicked", "group"))
    assert await is_active(raw, PAYER)
    await served.post(membership(PAYER, "kicked"))
    await served.says(PAYER, "/start")
    await served.post(membership(PAYER, "kicked"))
    await served.post(message(PAYER, "/help", chat={"id": -9, "type": "group"}))
    assert not await is_active(raw, PAYER), "the bot still cannot write to him"


def test_every_sentence_is_there_in_both_languages() -> None:
    for name, text in vars(texts).items():
        if isinstance(text, Text):
            assert text.en.strip(), name
            assert text.ru.strip(), name
