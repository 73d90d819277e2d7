"""A person's whole story in the browser: by a friend's link, through what is free, to money, projects and a reward.

On phones, in Russian, with `make run` as it comes. PICTURES=docs/images also renews the pictures of it.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from service.kernel import embedded
from tests.browser import watched
from tests.e2e.process import PRODUCTION, Process
from tests.e2e.test_chat_page import folder, healthy, made_to_run, picture, says
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

__all__ = ["folder"]

PHONE = {"width": 375, "height": 812}
SHARPNESS = 2  # pixels of a phone for each of the page's
OPERATOR = 7_000_000_003  # the sandbox's stranger
HUMAN_S = 0.6  # between two things that somebody does
WAITS_MS = 20_000  # for what is made, paid or told meanwhile
REWARDS_WITHIN_MS = 90_000  # links are made once a minute, rewards and notices twice
# Whatever any message says from now on.
LISTEN = """
  window.heard = [];
  const listener = new MutationObserver((changes) => {
    for (const { addedNodes } of changes) heard.push(...[...addedNodes].map((one) => one.textContent));
  });
  listener.observe(document.getElementById("log"), { childList: true });
"""
PROGRESS = re.compile(r"⏳ Картинка получше, не сразу: (\d+ %, )?\d:\d\d")


@dataclass
class Phone:
    """A person's browser, with the chat in it."""

    page: Page
    faults: list[str]
    acted_at: float = 0.0  # of the loop's clock

    @property
    def chat(self) -> Locator:
        return self.page.get_by_test_id("conversation")

    @property
    def last(self) -> Locator:
        """What the bot said last."""
        return self.chat.locator("[data-from=bot]").last

    @property
    def photos(self) -> Locator:
        return self.page.get_by_test_id("photo")

    async def _at_a_persons_pace(self) -> None:
        """Whoever is quicker than that for long is told so by the flood guard."""
        await until(lambda: asyncio.get_running_loop().time() > self.acted_at + HUMAN_S)
        self.acted_at = asyncio.get_running_loop().time()

    async def says(self, text: str) -> None:
        await self._at_a_persons_pace()
        await says(self.page, text)

    async def chooses(self, label: str) -> None:
        """A button of the keyboard below."""
        await self._at_a_persons_pace()
        await self.page.get_by_test_id("keyboard-button").get_by_text(label, exact=True).click()

    async def presses(self, label: str | re.Pattern[str]) -> None:
        """A button under a message; of several that say the same, the last."""
        await self._at_a_persons_pace()
        await self.page.get_by_test_id("inline-button").get_by_text(label).last.click()

    async def hears(self, *texts: str, within_ms: int = WAITS_MS) -> None:
        from playwright.async_api import expect

        for text in texts:
            await expect(self.last).to_contain_text(text, timeout=within_ms)

    async def answers(self, question: str, answer: str) -> None:
        """A question that wants a reply, which shows that it is one."""
        from playwright.async_api import expect

        await expect(self.page.get_by_test_id("asked")).to_contain_text(question)
        await self.says(answer)
        await expect(self.page.get_by_test_id("replied").last).to_contain_text(question)

    async def sees(self, pictures: int) -> None:
        """So many pictures, every one of them drawn."""
        from playwright.async_api import expect

        await expect(self.photos).to_have_count(pictures, timeout=WAITS_MS)
        await until(lambda: self.page.evaluate("[...document.images].every((one) => one.naturalWidth > 100)"))


@asynccontextmanager
async def phone(browser: Browser, address: str) -> AsyncIterator[Phone]:
    """A phone of somebody's own, on which nothing goes wrong."""
    context = await browser.new_context(viewport=PHONE, device_scale_factor=SHARPNESS, locale="ru-RU")
    page = await context.new_page()
    made = Phone(page, watched(page))
    await page.goto(address)
    yield made
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than a phone"
    await context.close()
    assert made.faults == []


@pytest.fixture
async def process(folder: Path, tmp_path: Path) -> AsyncIterator[Process]:
    async with made_to_run(folder, tmp_path / "log", ADMIN_IDS=str(OPERATOR)) as process:
        yield process


async def in_russian(person: Phone) -> None:
    await person.says("/start")
    await person.says("/language")
    await person.presses("Русский")
    await person.hears("Что вам нужно?")


async def link_of(referrer: Phone) -> str:
    await referrer.chooses("🤝 Партнёрка")
    await referrer.hears("10 % от первого пополнения друга", "По ней пришло 0 друзей.")
    return str(await referrer.last.get_by_role("link", name="ref_").get_attribute("href"))


async def has_a_free_one_made(newcomer: Phone) -> None:
    await newcomer.chooses("✨ Модели")
    await newcomer.presses("Бесплатно")
    await newcomer.presses("QR-код")
    await newcomer.presses("✨ Создать")
    await newcomer.answers("QR-код, бесплатно. Напишите, что нужно", "https://example.com")
    await newcomer.sees(1)


async def orders_a_picture(newcomer: Phone) -> None:
    await newcomer.chooses("✨ Модели")
    await newcomer.presses("Картинки")
    await newcomer.presses("Картинка – 15 ₽")
    await newcomer.presses("✨ Создать")
    await newcomer.answers("Картинка, 15 ₽. Напишите, что нужно", "Лиса под дождём, акварель")


async def tops_up(newcomer: Phone) -> None:
    await newcomer.presses("➕ Пополнить")
    await newcomer.presses(re.compile(r"^300\D"))
    await newcomer.presses("ЮKassa")
    async with newcomer.page.context.expect_page() as opened:
        await newcomer.chat.get_by_role("link", name="Оплатить 300 ₽").click()
    page = await opened.value
    newcomer.faults.extend(watched(page))
    await page.get_by_test_id("pay").click()
    await newcomer.hears("Поступило 300 ₽. Баланс: 300 ₽.")
    await page.close()


async def waits_for_a_fine_one(newcomer: Phone) -> None:
    """The message about it changes while it is made, and is gone when it is there."""
    from playwright.async_api import expect

    await newcomer.page.evaluate(LISTEN)
    await newcomer.says("/generate fine Лиса на лыжах")
    await newcomer.sees(4)
    await expect(newcomer.chat.get_by_text(PROGRESS)).to_have_count(0)
    said = await newcomer.page.evaluate("heard")
    assert len({text for text in said if PROGRESS.match(text)}) >= 2, said


async def saves_it(newcomer: Phone) -> None:
    """Into a project that is begun for it, called by a name of his own, and found again."""
    await newcomer.presses("💾 Сохранить")
    await newcomer.hears("В какой проект сохранить?")
    await newcomer.presses("➕ Картинка")
    await newcomer.hears("✅ Сохранено в «Картинка».")
    await newcomer.presses("Открыть проект")
    await newcomer.presses("✏️ Переименовать")
    await newcomer.answers("Как теперь назвать «Картинка»?", "Лисы")
    await newcomer.hears("💼 Лисы · 1 результат")
    await newcomer.chooses("💼 Мои проекты")
    await newcomer.presses("Лисы · 1 результат")
    await newcomer.hears("Картинка: Лиса под дождём, акварель")
    await newcomer.presses("1")
    await newcomer.sees(3)


async def an_operator_asks(operator: Phone) -> None:
    await in_russian(operator)
    await operator.says("/stats")
    await operator.hears("👥 3 человека, сегодня новых: 3", "🎨 3 генерации", "Доля успешных: 100 %", "Оплачено: 40 ₽")
    await operator.says("/failures")
    await operator.hears("Ошибок не было.")
    await operator.says("/features")
    await operator.hears("✅ Проекты", "✅ Партнёрка", "✅ Платные модели")


def warnings(process: Process) -> list[dict[str, Any]]:
    return process.log(level="WARNING") + process.log(level="ERROR")


async def large_picture(person: Phone, name: str, tmp_path: Path) -> None:
    """With the keyboard folded away: there is more of the chat to see."""
    toggle = person.page.get_by_test_id("keyboard-toggle")
    await toggle.click()
    await picture(person.page, name, tmp_path)
    await toggle.click()


async def verified(folder: Path) -> str:
    """What `ledger verify` says of the server that this folder holds, when it finds nothing wrong."""
    server = await asyncio.to_thread(embedded.start, folder / ".ballast")
    environ = {**PRODUCTION, "ENVIRONMENT": "development", "DATABASE_URL": server.dsn()}
    argv = ("-m", "service", "ledger", "verify")
    try:
        done = await asyncio.create_subprocess_exec(
            sys.executable, *argv, cwd=folder, env=environ, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await done.communicate()
    finally:
        await asyncio.to_thread(server.stop)
    assert done.returncode == 0, said.decode()
    return said.decode()


async def test_a_persons_whole_story(process: Process, folder: Path, browser: Browser, tmp_path: Path) -> None:
    chat = f"{process.base}/sandbox"
    async with AsyncExitStack() as phones:
        referrer = await phones.enter_async_context(phone(browser, f"{chat}#payer"))
        await in_russian(referrer)
        newcomer = await phones.enter_async_context(phone(browser, await link_of(referrer)))
        await newcomer.page.get_by_test_id("start-button").click()
        await newcomer.hears("Здравствуйте, Друг!")
        await has_a_free_one_made(newcomer)
        await picture(newcomer.page, "story-free.png", tmp_path)

        await orders_a_picture(newcomer)
        await newcomer.hears("Не хватает: нужно 15 ₽, на балансе 0 ₽.")
        await tops_up(newcomer)
        await orders_a_picture(newcomer)
        await newcomer.sees(2)
        await large_picture(newcomer, "story-paid.png", tmp_path)
        await saves_it(newcomer)
        await large_picture(newcomer, "story-project.png", tmp_path)
        await waits_for_a_fine_one(newcomer)
        await newcomer.chooses("💰 Баланс")
        await newcomer.hears("Баланс: 260 ₽", "+300 ₽", "-15 ₽  списание: Картинка", "-25 ₽")

        await referrer.hears("Ваш друг пополнил баланс: вам начислено 30 ₽.", within_ms=REWARDS_WITHIN_MS)
        await referrer.chooses("💰 Баланс")
        await referrer.hears("Баланс: 30 ₽", "за приглашённого друга")
        await referrer.chooses("🤝 Партнёрка")
        await referrer.hears("По ней пришёл 1 друг.", "Пополнил баланс 1 из них.", "Вы заработали 30 ₽.", "+30 ₽")
        await large_picture(referrer, "story-reward.png", tmp_path)
        await an_operator_asks(await phones.enter_async_context(phone(browser, f"{chat}#stranger")))
    assert await healthy(process)
    assert [line for line in warnings(process) if line["msg"] != "slow query"] == []
    assert await verified(folder) == "2 people checked, 0 differences\n"
