"""People do what a Telegram client lets them do, and the bot is told."""

from __future__ import annotations

from typing import Any

import pytest

from service.sandbox import CannotDo, Person, Sandbox
from tests.sandbox.world import TOKEN, Bot, Clock, Telegram

BUY = {"inline_keyboard": [[{"text": "Buy", "callback_data": "buy:1"}, {"text": "Site", "url": "example.org"}]]}


async def menu(telegram: Telegram, person: Person) -> dict[str, Any]:
    person.send("/start")
    result: dict[str, Any] = await telegram.does("sendMessage", chat_id=person.id, text="Pick", reply_markup=BUY)
    return result


async def test_the_cast_differs_in_language_and_in_the_size_of_the_id(telegram: Telegram) -> None:
    people = telegram.sandbox.people
    assert [person.name for person in people] == ["payer", "friend", "stranger"]
    assert [person.user["language_code"] for person in people] == ["en", "ru", "de"]
    assert people[2].id > 2**32
    with pytest.raises(KeyError):
        telegram.sandbox.person("nobody")


async def test_a_button_becomes_a_callback_query(telegram: Telegram, bot: Bot, payer: Person) -> None:
    message = await menu(telegram, payer)
    bot.react = lambda update: {
        "method": "answerCallbackQuery",
        "callback_query_id": update["callback_query"]["id"],
        "text": "Bought",
    }
    await payer.presses("Buy")
    query = bot.got[-1]["callback_query"]
    assert query["data"] == "buy:1"
    assert query["message"] == message
    assert query["from"] == payer.user
    assert payer.toasts == ["Bought"]


async def test_only_visible_buttons_can_be_pressed(telegram: Telegram, bot: Bot, payer: Person) -> None:
    message = await menu(telegram, payer)
    with pytest.raises(CannotDo, match="no button 'Sell'"):
        await payer.presses("Sell")
    with pytest.raises(CannotDo, match="not for the bot"):
        await payer.presses("Site")
    await telegram.does("deleteMessage", chat_id=payer.id, message_id=message["message_id"])
    with pytest.raises(CannotDo, match="no such button"):
        payer.press(message["message_id"], "buy:1")


async def test_an_answer_to_a_button_has_its_limits(telegram: Telegram, payer: Person, clock: Clock) -> None:
    message = await menu(telegram, payer)
    _, question = payer.press(message["message_id"], "buy:1")
    why = await telegram.refuses("answerCallbackQuery", callback_query_id=question.id, text="x" * 201)
    assert why == "400 Bad Request: MESSAGE_TOO_LONG"
    assert await telegram.does("answerCallbackQuery", callback_query_id=question.id, text="x" * 200)
    assert await telegram.does("answerCallbackQuery", callback_query_id=question.id)
    clock.now += 16
    why = await telegram.refuses("answerCallbackQuery", callback_query_id=question.id)
    assert why.startswith("400 Bad Request: query is too old")


ASK = {"text": "Which animal?", "reply_markup": {"force_reply": True, "input_field_placeholder": "An animal"}}


async def test_who_is_asked_replies(telegram: Telegram, bot: Bot, payer: Person) -> None:
    payer.send("/start")
    question = await telegram.does("sendMessage", chat_id=payer.id, **ASK)
    assert "reply_markup" not in question
    await payer.says("a fox")
    said = bot.got[-1]["message"]
    assert (said["text"], said["reply_to_message"]) == ("a fox", question)
    assert said["reply_to_message"]["from"]["is_bot"]
    await payer.says("a dog")
    assert "reply_to_message" not in bot.got[-1]["message"], "a question is answered once"


async def test_a_reply_does_not_tell_what_its_question_replied_to(telegram: Telegram, bot: Bot, payer: Person) -> None:
    payer.send("/start")
    await telegram.does("sendMessage", chat_id=payer.id, **ASK)
    await payer.says("a fox")
    telegram.sandbox.chats.offer_reply(telegram.sandbox.chats.of(payer.id), {"message_id": 3, "placeholder": ""})
    await payer.says("I mean a dog")
    assert bot.got[-1]["message"]["reply_to_message"]["text"] == "a fox"
    assert "reply_to_message" not in bot.got[-1]["message"]["reply_to_message"]


async def test_a_button_of_the_keyboard_is_no_reply(telegram: Telegram, bot: Bot, payer: Person) -> None:
    payer.send("/start")
    await telegram.does("sendMessage", chat_id=payer.id, text="Menu", reply_markup={"keyboard": [["Help"]]})
    await telegram.does("sendMessage", chat_id=payer.id, **ASK)
    await payer.presses("Help")
    assert "reply_to_message" not in bot.got[-1]["message"]


async def test_a_question_that_is_deleted_is_not_asked_any_more(telegram: Telegram, bot: Bot, payer: Person) -> None:
    payer.send("/start")
    question = await telegram.does("sendMessage", chat_id=payer.id, **ASK)
    await telegram.does("deleteMessage", chat_id=payer.id, message_id=question["message_id"])
    await payer.says("a fox")
    assert "reply_to_message" not in bot.got[-1]["message"]


async def test_blocking_is_told_once(bot: Bot, payer: Person) -> None:
    await payer.says("/start")
    await payer.blocks()
    assert await payer.blocks() is None
    with pytest.raises(CannotDo, match="blocked"):
        await payer.says("Hi")
    await payer.unblocks()
    changes = [update["my_chat_member"] for update in bot.got if "my_chat_member" in update]
    assert [change["new_chat_member"]["status"] for change in changes] == ["kicked", "member"]
    assert [change["old_chat_member"]["status"] for change in changes] == ["member", "kicked"]
    assert changes[0]["new_chat_member"]["user"]["id"] == 1000
    assert changes[0]["chat"]["id"] == payer.id


@pytest.mark.parametrize("text", ["", "  ", "x" * 4097, "😀" * 2049])
async def test_a_client_does_not_send_nothing_or_too_much(payer: Person, text: str) -> None:
    with pytest.raises(CannotDo):
        await payer.says(text)
    assert payer.chat == []


async def test_hears_waits_for_what_comes_after_the_last_action(telegram: Telegram, payer: Person) -> None:
    sent = await menu(telegram, payer)
    assert (await payer.hears("Pick")).id == sent["message_id"]
    await payer.says("again")
    with pytest.raises(TimeoutError, match="payer did not hear 'Pick'"):
        await payer.hears("Pick", timeout=0.05)
    await telegram.does("editMessageText", chat_id=payer.id, message_id=sent["message_id"], text="Picked")
    assert (await payer.hears("Picked")).id == sent["message_id"]


async def test_one_person_sees_nothing_of_another(telegram: Telegram, payer: Person, friend: Person) -> None:
    await menu(telegram, payer)
    assert (friend.chat, friend.toasts, friend.keyboard) == ([], [], [])


async def test_a_chat_keeps_its_newest_messages(telegram: Telegram, payer: Person) -> None:
    for number in range(320):
        payer.send(str(number))
    assert len(payer.chat) == 300
    assert payer.chat[-1].text == "319"


async def test_a_test_may_bring_its_own_people(clock: Clock) -> None:
    operator = {"id": 9, "is_bot": False, "first_name": "Operator"}
    sandbox = Sandbox(TOKEN, clock, users={"operator": operator})
    sandbox.person("operator").send("/stats")
    assert [person.id for person in sandbox.people] == [9]
    assert len(sandbox.updates) == 1
