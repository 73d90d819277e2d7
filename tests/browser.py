"""A real browser for the pages: headless Chromium, asked to phone nobody.

Where there is none a test is skipped; in CI, which installs one, its absence is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Request

QUIETLY = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 10_000


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    from playwright.async_api import async_playwright  # half a second that only its own tests should pay

    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("no chromium on this machine")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=QUIETLY)
        yield browser
        await browser.close()


def watched(page: Page) -> list[str]:
    """What goes wrong on a page from now on: errors of scripts, whatever the console has in red, requests that fail."""
    faults: list[str] = []
    page.set_default_timeout(PATIENCE_MS)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
    page.on("requestfailed", lambda one: faults.append(f"{one.url}: {one.failure}") if not _broken_off(one) else None)
    return faults


def _broken_off(request: Request) -> bool:
    """By the page itself, which was closed or reloaded."""
    return request.failure == "net::ERR_ABORTED"
