"""The chat page in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from service.sandbox import Person
from tests.browser import watched
from tests.sandbox.world import Bot, Telegram

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
