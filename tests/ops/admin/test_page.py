"""The operators' page, as a person meets it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import asyncpg

from service.ops.admin.html import document, tag
from tests.browser import watched
from tests.outage import away
from tests.serving import ADMIN_TOKEN, Served
from tests.waiting import until

if TYPE_CHECKING:
    from playwright.async_api import Browser

NASTY = "<img src=x onerror=alert(1)>'\"&"
BROWSER = {"Accept": "text/html", "Authorization": f"Bearer {ADMIN_TOKEN}"}
POISON = """
    INSERT INTO failed_updates (bot_id, update_id, body, error, attempts, parked_at)
    VALUES (4242, 3, convert_to($1, 'UTF8'), $1, 3, now())
"""


async def html(served: Served, method: str = "GET", path: str = "/admin") -> tuple[int, str]:
    async with served.http.request(method, served.base + path, headers=BROWSER, allow_redirects=False) as response:
        return response.status, await response.text()


def test_what_is_not_markup_is_escaped() -> None:
    made = tag("p", NASTY, tag("b", 1, hidden=True), None, title=NASTY, class_="x")
    assert made == (
        '<p title="&lt;img src=x onerror=alert(1)&gt;&#x27;&quot;&amp;" class="x">'
        "&lt;img src=x onerror=alert(1)&gt;&#x27;&quot;&amp;<b hidden>1</b></p>"
    )
    assert NASTY not in (document(NASTY, NASTY).text or "")


async def test_it_shows_people_and_poison_and_escapes_both(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("INSERT INTO users (user_id, first_name) VALUES (1, $1)", NASTY)
    await raw.execute(POISON, NASTY)
    status, text = await html(served)
    assert status == 200
    assert text.count("&lt;img src=x") == 3  # the name, the error and the body
    assert "<img" not in text
    assert "<script" not in text
    assert "/admin/updates/3/replay" in text


async def test_without_the_database_the_rest_is_shown(served: Served, database_url: str) -> None:
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        status, text = await html(served)
        assert status == 200
        assert "away: " in text
        assert text.count("The database is away.") == 2
        status, text = await html(served, "POST", "/admin/features/refresh")
        assert (status, text.count("The database is away.")) == (503, 3)


async def test_without_failed_updates_the_reason_is_shown(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("DROP TABLE failed_updates")
    await served.operations.switchboard.refresh()
    _, text = await html(served)
    assert text.count("failed_updates table missing") == 2  # at the feature, and in place of the updates


async def test_a_refused_button_says_why(served: Served) -> None:
    status, text = await html(served, "POST", "/admin/updates/5/replay")
    assert status == 404
    assert "There is no such failed update." in text


async def test_in_a_browser(served: Served, raw: asyncpg.Connection, browser: Browser) -> None:
    from playwright.async_api import expect

    await raw.execute("INSERT INTO users (user_id, username) VALUES (1, 'payer')")
    page = await browser.new_page(viewport={"width": 390, "height": 800})
    faults = watched(page)
    await page.goto(f"{served.base}/admin/login")
    await page.get_by_label("Operator token").fill(ADMIN_TOKEN)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Features")).to_be_visible()
    await expect(page.get_by_text("payer")).to_be_visible()
    off = page.get_by_text("processed_updates table missing")
    await expect(off).to_have_count(0)
    await raw.execute("ALTER TABLE processed_updates RENAME TO elsewhere")
    await page.get_by_role("button", name="Probe now").click()
    await expect(off).to_be_visible()
    await raw.execute("ALTER TABLE elsewhere RENAME TO processed_updates")
    await page.get_by_role("button", name="Probe now").click()
    await expect(off).to_have_count(0)
    too_wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not await page.evaluate(too_wide)
    await page.get_by_role("button", name="Log out").click()
    await expect(page).to_have_url(re.compile("/admin/login$"))
    assert faults == []
