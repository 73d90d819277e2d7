"""What a newcomer sees of money after `make run`: packs, a page to pay on, the callback that follows, and the balance.

PICTURES=docs/images also renews the picture of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.browser import watched
from tests.e2e.process import Process
from tests.e2e.test_chat_page import DESKTOP, folder, picture, process, says
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

__all__ = ["folder", "process"]

SMALL = re.compile(r"^300\D")  # the smallest pack's button
ARRIVES_WITHIN_MS = 20_000


async def paying(chat: Page, processor: str, turn: int = 1) -> Page:
    """From /topup to the processor's page, which opens beside the chat; for the manieth time."""
    from playwright.async_api import expect

    await says(chat, "/topup")
    await chat.get_by_test_id("inline-button").get_by_text(SMALL).last.click()
    await chat.get_by_test_id("inline-button").get_by_text(processor).last.click()
    links = chat.get_by_test_id("conversation").get_by_role("link", name="Pay ")
    await expect(links).to_have_count(turn)
    async with chat.context.expect_page() as opened:
        await links.last.click()
    return await opened.value


async def test_a_person_tops_up_in_the_browser(process: Process, browser: Browser, tmp_path: Path) -> None:
    """Case 7: as the processors do it, the callback may be quicker than the page that the payer comes back to."""
    from playwright.async_api import expect

    context = await browser.new_context(viewport=DESKTOP, color_scheme="light")
    chat = await context.new_page()
    faults = watched(chat)
    await chat.goto(f"{process.base}/sandbox")
    conversation = chat.get_by_test_id("conversation")
    await says(chat, "/balance")
    await expect(conversation).to_contain_text("Balance: 0")
    for turn, (processor, amount) in enumerate({"Stripe": "3.90", "YooKassa": "300.00", "Polar": "3.90"}.items(), 1):
        page = await paying(chat, processor, turn)
        faults += watched(page)
        await expect(page.get_by_test_id("amount")).to_contain_text(amount)
        await expect(page.get_by_test_id("callback")).to_have_count(0)
        await page.get_by_test_id("pay").click()
        await expect(page.get_by_test_id("callbacks").locator("[data-state=good]").first).to_be_visible()
        await expect(page.get_by_test_id("callbacks").locator("[data-state=bad]")).to_have_count(0)
        await expect(conversation.get_by_text("arrived")).to_have_count(turn, timeout=ARRIVES_WITHIN_MS)
        if processor == "YooKassa":
            await picture(page, "topup.png", tmp_path)
        await page.close()
    await says(chat, "/balance")
    await expect(conversation).to_contain_text("Balance: 900")
    assert faults == []


async def test_a_person_who_leaves_pays_nothing(process: Process, browser: Browser) -> None:
    """Case 8: canceled is canceled; the balance is as before."""
    from playwright.async_api import expect

    context = await browser.new_context(viewport=DESKTOP, color_scheme="light")
    chat = await context.new_page()
    await chat.goto(f"{process.base}/sandbox")
    page = await paying(chat, "YooKassa")
    await page.get_by_test_id("cancel").click()
    await expect(page.get_by_test_id("callbacks").locator("[data-state=good]").first).to_be_visible()
    await says(chat, "/balance")
    await expect(chat.get_by_test_id("conversation")).to_contain_text("Balance: 0")
    await until(lambda: process.log(path="/payments/yookassa", result="applied"))
