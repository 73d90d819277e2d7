"""The chat page in a real browser."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from service.sandbox import Person
from tests.browser import watched
from tests.sandbox.world import TOKEN, Bot, Telegram

# One red dot.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
)
NASTY = "<img src=x onerror=alert(1)> & <b>"


@pytest.fixture
async def page(browser: Browser, telegram: Telegram, bot: Bot) -> AsyncIterator[Page]:
    """The page as the payer, and a check that no script failed or was refused."""
    page = await browser.new_page(viewport={"width": 390, "height": 780})
    faults = watched(page)
    await page.goto(f"{telegram.base}#payer")
    await expect(page.get_by_test_id("person-payer")).to_be_visible()  # the state has come
    yield page
    await page.close()
    assert faults == []


def shopkeeper(update: dict[str, Any]) -> dict[str, Any]:
    if query := update.get("callback_query"):
        where = {"chat_id": query["from"]["id"], "message_id": query["message"]["message_id"]}
        return {"method": "editMessageText", **where, "text": f"Picked {query['data']}"}
    buttons = [[{"text": "Fox", "callback_data": "a fox"}]]
    return {
        "method": "sendMessage",
        "chat_id": update["message"]["chat"]["id"],
        "text": f"Hello, {NASTY}",
        "reply_markup": {"inline_keyboard": buttons},
    }


async def test_a_person_chats_and_presses_a_button(page: Page, bot: Bot, payer: Person) -> None:
    bot.react = shopkeeper
    await page.get_by_test_id("start-button").click()
    reply = page.get_by_test_id("message-2")
    await expect(reply).to_contain_text(f"Hello, {NASTY}")
    await expect(page.get_by_test_id("conversation").locator("img")).to_have_count(0)
    await reply.get_by_test_id("inline-button").click()
    await expect(reply).to_contain_text("Picked a fox")
    await expect(reply.get_by_test_id("inline-button")).to_have_count(0)
    assert [message.text for message in payer.chat] == ["/start", "Picked a fox"]


async def test_a_link_carries_what_a_person_starts_with(
    page: Page, telegram: Telegram, bot: Bot, friend: Person
) -> None:
    bot.react = shopkeeper
    await page.goto(f"{telegram.base}?start=ref_42#friend")
    await page.get_by_test_id("start-button").click()
    await expect(page.get_by_test_id("message-2")).to_contain_text("Hello")
    assert friend.chat[0].text == "/start ref_42"


async def test_a_link_into_a_chat_that_is_known_has_a_button_of_its_own(
    page: Page, telegram: Telegram, bot: Bot, payer: Person
) -> None:
    """As in Telegram's clients: nothing can be written there until Start is pressed."""
    await payer.says("/start")
    await page.goto(f"{telegram.base}?start=ref_42#payer")
    await expect(page.get_by_test_id("composer-input")).to_be_hidden()
    await page.get_by_test_id("start-by-link").click()
    await expect(page.get_by_test_id("message-2")).to_contain_text("/start ref_42")
    await expect(page.get_by_test_id("composer-input")).to_be_visible()
    await expect(page).to_have_url(f"{telegram.base}#payer")


async def test_a_link_is_for_whoever_is_new(page: Page, telegram: Telegram, bot: Bot, payer: Person) -> None:
    await payer.says("/start")
    await page.goto(f"{telegram.base}?start=ref_42")
    await expect(page.get_by_test_id("person-friend")).to_have_attribute("aria-selected", "true")


async def test_what_no_link_can_carry_is_left_out(page: Page, telegram: Telegram, friend: Person) -> None:
    await page.goto(f"{telegram.base}?start=ref%2042#friend")
    await page.get_by_test_id("start-button").click()
    await expect(page.get_by_test_id("message-1")).to_contain_text("/start")
    assert friend.chat[0].text == "/start"


async def test_the_keyboard_can_be_folded_and_makes_room_for_a_reply(
    page: Page, telegram: Telegram, payer: Person
) -> None:
    await payer.says("/start")
    keyboard = {"keyboard": [["💼 My projects"]]}
    await telegram.does("sendMessage", chat_id=payer.id, text="Here", reply_markup=keyboard)
    button, toggle = page.get_by_test_id("keyboard-button"), page.get_by_test_id("keyboard-toggle")
    await expect(button).to_be_visible()
    await toggle.click()
    await expect(button).to_be_hidden()
    await toggle.click()
    await expect(button).to_be_visible()
    await ask(telegram, payer)
    await expect(button).to_be_hidden()
    await page.get_by_test_id("asked-dismiss").click()
    await expect(button).to_be_visible()
    await toggle.click()
    await telegram.does("sendMessage", chat_id=payer.id, text="Another", reply_markup=keyboard)
    await expect(button).to_be_visible()


async def test_the_keyboard_the_toast_and_the_commands_are_shown(
    page: Page, telegram: Telegram, bot: Bot, payer: Person
) -> None:
    await telegram.does("setMyCommands", commands=[{"command": "menu", "description": "All I can do"}])
    await payer.says("/start")
    keyboard = {"keyboard": [["💼 My projects"]]}
    sent = {"chat_id": payer.id, "text": "<b>Bold</b>", "parse_mode": "HTML"}
    await telegram.does("sendMessage", **sent, reply_markup=keyboard)
    await expect(page.locator("strong", has_text="Bold")).to_be_visible()
    await page.get_by_test_id("keyboard-button").click()
    await expect(page.get_by_test_id("message-3")).to_contain_text("💼 My projects")
    await page.get_by_test_id("menu-button").click()
    await page.get_by_test_id("command-menu").click()
    await expect(page.get_by_test_id("message-4")).to_contain_text("/menu")
    telegram.sandbox.chats.toast(telegram.sandbox.chats.of(payer.id), "Saved")
    await expect(page.get_by_test_id("toast")).to_have_text("Saved")
    await telegram.sandbox.settled()
    assert bot.texts() == ["/start", "💼 My projects", "/menu"]


async def ask(telegram: Telegram, person: Person) -> None:
    answer = {"force_reply": True, "input_field_placeholder": "An animal"}
    await telegram.does("sendMessage", chat_id=person.id, text=f"Which animal?\n{NASTY}", reply_markup=answer)


async def test_a_question_is_replied_to(page: Page, telegram: Telegram, bot: Bot, payer: Person) -> None:
    await payer.says("/start")
    await ask(telegram, payer)
    await expect(page.get_by_test_id("asked")).to_contain_text("Which animal?")
    await expect(page.get_by_test_id("composer-input")).to_have_attribute("placeholder", "An animal")
    await page.get_by_test_id("composer-input").fill("a fox")
    await page.get_by_test_id("composer-send").click()
    await expect(page.get_by_test_id("message-3").get_by_test_id("replied")).to_contain_text("Which animal?")
    await expect(page.get_by_test_id("asked")).to_be_hidden()
    await expect(page.get_by_test_id("composer-input")).to_have_attribute("placeholder", "Message")
    await telegram.sandbox.settled()
    assert bot.got[-1]["message"]["reply_to_message"]["message_id"] == 2


async def test_a_question_can_be_left_alone(page: Page, telegram: Telegram, bot: Bot, payer: Person) -> None:
    await payer.says("/start")
    await ask(telegram, payer)
    await page.get_by_test_id("asked-dismiss").click()
    await expect(page.get_by_test_id("asked")).to_be_hidden()
    await page.get_by_test_id("composer-input").fill("Hello")
    await page.get_by_test_id("composer-send").click()
    await expect(page.get_by_test_id("message-3")).to_contain_text("Hello")
    await telegram.sandbox.settled()
    assert "reply_to_message" not in bot.got[-1]["message"]


async def test_a_picture_has_its_caption_and_its_buttons(
    page: Page, telegram: Telegram, bot: Bot, payer: Person
) -> None:
    await payer.says("/start")
    buttons = {"inline_keyboard": [[{"text": "Again", "callback_data": "again:1"}]]}
    form = aiohttp.FormData({"chat_id": str(payer.id), "caption": "A fox", "reply_markup": json.dumps(buttons)})
    form.add_field("photo", PIXEL, filename="fox.png", content_type="image/png")
    async with telegram.http.post(f"{telegram.base}/bot{TOKEN}/sendPhoto", data=form) as response:
        file_id = (await response.json())["result"]["photo"][0]["file_id"]
    sent = page.get_by_test_id("message-2")
    await expect(sent).to_contain_text("A fox")
    await expect(sent.get_by_test_id("photo")).to_have_js_property("naturalWidth", 1)
    await sent.get_by_test_id("inline-button").click()
    await telegram.does("sendPhoto", chat_id=payer.id, photo=file_id)
    await expect(page.get_by_test_id("message-3").get_by_test_id("photo")).to_have_js_property("naturalWidth", 1)
    await telegram.does("deleteMessage", chat_id=payer.id, message_id=2)
    await expect(sent).to_have_count(0)
    await telegram.does("sendChatAction", chat_id=payer.id, action="upload_photo")
    await expect(page.get_by_test_id("bot-note")).to_have_text("uploading photo…")
    assert bot.got[-1]["callback_query"]["data"] == "again:1"


async def test_people_are_apart_and_can_block_the_bot(page: Page, telegram: Telegram, bot: Bot, friend: Person) -> None:
    await friend.says("/start")
    await telegram.does("sendMessage", chat_id=friend.id, text="Для друга")
    await expect(page.get_by_test_id("unread-friend")).to_have_text("1")
    await expect(page.get_by_test_id("conversation")).not_to_contain_text("Для друга")
    await page.get_by_test_id("person-friend").click()
    await expect(page.get_by_test_id("conversation")).to_contain_text("Для друга")
    await page.get_by_test_id("block-toggle").click()
    await expect(page.get_by_test_id("blocked")).to_be_visible()
    await expect(page.get_by_test_id("composer-input")).to_be_hidden()
    await page.get_by_test_id("unblock").click()
    await expect(page.get_by_test_id("composer-input")).to_be_visible()
    await page.reload()
    await expect(page.get_by_test_id("person-friend")).to_have_attribute("aria-selected", "true")
    await expect(page.get_by_test_id("conversation")).to_contain_text("Для друга")


async def test_the_status_line_tells_of_trouble_in_plain_words(page: Page, bot: Bot) -> None:
    status = page.get_by_test_id("status")
    await expect(status).to_have_text("The bot has taken every update.")
    bot.react = lambda update: 503 if len(bot.got) < 3 else None
    await page.get_by_test_id("composer-input").fill("Hi")
    await page.get_by_test_id("composer-send").click()
    await expect(status).to_contain_text("Last trouble: the bot answered 503 Service Unavailable")
