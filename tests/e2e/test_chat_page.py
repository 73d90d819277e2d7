"""What a person sees who runs `make run` with nothing prepared: a chat, and one thing that goes off and comes back.

PICTURES=docs/images also renews the pictures of the README.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from service.kernel import embedded
from tests.browser import watched
from tests.e2e.process import PRODUCTION, ROOT, SERVICE, START_WITHIN_S, Process, running
from tests.migrating import rows
from tests.postgres import free_port, place
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

MIGRATION = (ROOT / "migrations" / "0002_updates.sql").read_text()
PICTURES = os.environ.get("PICTURES")
DESKTOP = {"width": 1040, "height": 720}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where `make run` is given, with nothing there; short, for the socket of the server that is made in it."""
    with tempfile.TemporaryDirectory(prefix="ballast-", dir=place()) as path:
        yield Path(path)
        if (Path(path) / ".ballast/postgres/postmaster.pid").exists():  # the test has failed
            embedded.start(Path(path) / ".ballast").stop()


@asynccontextmanager
async def made_to_run(folder: Path, output: Path, **settings: str) -> AsyncIterator[Process]:
    """As `make run` starts it, but for the port, the log that is read here, and a quicker look at the tables."""
    told = {name: PRODUCTION[name] for name in ("PATH", "PYTHONPATH")}
    environ = {**told, "PORT": str(free_port()), "LOG_FORMAT": "json", "PROBE_INTERVAL": "1", **settings}
    async with running(SERVICE, output, environ, folder) as process:
        await process.listens()
        await until(process.is_ready, START_WITHIN_S)
        yield process
        await process.stop()


@pytest.fixture
async def process(folder: Path, tmp_path: Path) -> AsyncIterator[Process]:
    async with made_to_run(folder, tmp_path / "log") as process:
        yield process


async def by_sql(folder: Path, statement: str) -> None:
    """As another process would that joins the embedded server."""

    def execute() -> None:
        server = embedded.start(folder / ".ballast")
        try:
            rows(server.dsn(), statement)
        finally:
            server.stop()

    await asyncio.to_thread(execute)


async def off(process: Process) -> list[str]:
    """What is off for something that is missing, and not because no setting asks for it."""
    features = (await process.get("/health"))[1]["features"]
    return [name for name, feature in features.items() if feature["missing"]]


async def says(page: Page, text: str) -> None:
    await page.get_by_test_id("composer-input").fill(text)
    await page.get_by_test_id("composer-send").click()


async def picture(page: Page, name: str, tmp_path: Path) -> None:
    await page.screenshot(path=Path(PICTURES or tmp_path) / name, animations="disabled")


async def test_a_person_chats_drops_a_table_and_brings_it_back(
    process: Process, folder: Path, browser: Browser, tmp_path: Path
) -> None:
    from playwright.async_api import expect

    chat = await browser.new_page(viewport=DESKTOP, color_scheme="light")
    faults = watched(chat)
    await chat.goto(f"{process.base}/sandbox")
    conversation = chat.get_by_test_id("conversation")
    await says(chat, "/start")
    await expect(conversation).to_contain_text("Hello, Payer! I am here.")
    await says(chat, "/language")
    await chat.get_by_test_id("inline-button").get_by_text("Русский").click()
    await expect(conversation).to_contain_text("Теперь по-русски.")
    await expect(chat.get_by_test_id("keyboard-button").first).to_have_text("🌐 Язык")
    await says(chat, "/help")
    await expect(conversation).to_contain_text("Вот что я понимаю")
    await says(chat, "/language")
    await expect(chat.get_by_test_id("inline-button")).to_have_count(2)

    operators = await browser.new_page(viewport=DESKTOP, color_scheme="light")
    faults += watched(operators)
    await operators.goto(f"{process.base}/admin/login")
    token = json.loads((folder / ".ballast/secrets.json").read_text())["admin_token"]
    await operators.get_by_label("Operator token").fill(token)
    await operators.get_by_role("button", name="Log in").click()
    missing = operators.get_by_text("processed_updates table missing")
    await expect(missing).to_have_count(0)
    assert await off(process) == []

    await by_sql(folder, "DROP TABLE processed_updates")
    await until(lambda: off(process))
    assert await off(process) == ["processed_updates"]
    await operators.reload()
    await expect(missing).to_be_visible()
    await expect(operators.get_by_text("table missing")).to_have_count(1)
    await picture(operators, "operators.png", tmp_path)
    await says(chat, "/menu")
    await expect(conversation).to_contain_text("Что вам нужно?")

    await by_sql(folder, MIGRATION)
    await until(lambda: healthy(process))
    await operators.reload()
    await expect(missing).to_have_count(0)
    assert faults == []


async def test_a_person_has_a_picture_made(process: Process, browser: Browser, tmp_path: Path) -> None:
    from playwright.async_api import expect

    chat = await browser.new_page(viewport=DESKTOP, color_scheme="light")
    faults = watched(chat)
    await chat.goto(f"{process.base}/sandbox#friend")
    button = chat.get_by_test_id("inline-button")
    await says(chat, "/models")
    await button.get_by_text("Бесплатно", exact=True).click()
    await button.get_by_text("Открытка с вашими словами").click()
    await button.get_by_text("✨ Создать").click()
    await expect(chat.get_by_test_id("asked")).to_contain_text("Напишите, что нужно")
    await expect(chat.get_by_test_id("composer-input")).to_have_attribute("placeholder", "Опишите, что нужно")
    await says(chat, "С днём рождения!")
    pictures = chat.get_by_test_id("photo")
    await expect(pictures).to_have_count(1)
    await button.get_by_text("🔁 Повторить").click()
    await expect(pictures).to_have_count(2)
    await expect(chat.get_by_test_id("conversation")).to_contain_text("результат придёт сюда")
    await until(lambda: chat.evaluate("[...document.images].every((one) => one.naturalWidth > 100)"))
    await picture(chat, "chat.png", tmp_path)
    assert faults == []


async def healthy(process: Process) -> bool:
    return (await process.get("/health"))[1]["status"] == "healthy"
