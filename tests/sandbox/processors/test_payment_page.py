"""The page on which a person pays, with a real browser once and without scripts besides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser import watched
from tests.sandbox.processors.shop import BACK, CHECKOUT, PAYMENT, SESSION, Shop, opened

if TYPE_CHECKING:
    from playwright.async_api import Browser

NASTY = "</dd><img src=x onerror=alert(1)> {log}"


async def links(shop: Shop) -> list[str]:
    """Where each processor sends the payer."""
    payment = await shop.yookassa("POST", "/payments", PAYMENT)
    session = await shop.stripe("POST", "/v1/checkout/sessions", SESSION)
    checkout = await shop.polar("POST", "/v1/checkouts", CHECKOUT)
    return [payment["confirmation"]["confirmation_url"], session["url"], checkout["url"]]


async def text(shop: Shop, address: str) -> str:
    async with shop.http.get(address) as response:
        assert response.status == 200
        return await response.text()


async def press(shop: Shop, address: str, act: str, **headers: str) -> int:
    async with shop.http.post(f"{address}/{act}", headers=headers) as response:
        return response.status


@pytest.mark.parametrize(("place", "amount", "count"), [(0, "150.00 RUB", 1), (1, "10.00 USD", 3), (2, "10.00 USD", 3)])
async def test_a_person_pays(shop: Shop, place: int, amount: str, count: int) -> None:
    address = (await links(shop))[place]
    before = await text(shop, address)
    assert amount in before
    assert "The shop was told nothing yet." in before
    assert BACK not in before
    assert await press(shop, address, "pay") == 200
    await shop.processors.settled()
    after = await text(shop, address)
    assert after.count("answered 200 OK") == count
    assert BACK in after
    assert "<form" not in after
    assert await press(shop, address, "pay") == 200  # too late, and nothing happens
    assert len(await shop.events()) == count


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_person_leaves(shop: Shop, place: int) -> None:
    address = (await links(shop))[place]
    assert await press(shop, address, "cancel") == 200
    assert await shop.events() == [["payment.canceled"], ["checkout.session.expired"], ["checkout.expired"]][place]


async def test_another_sites_page_cannot_press_the_buttons(shop: Shop) -> None:
    address = (await links(shop))[0]
    assert await press(shop, address, "pay", **{"Sec-Fetch-Site": "cross-site"}) == 403
    assert await shop.events() == []


async def test_what_there_is_not(shop: Shop) -> None:
    for path in ("yookassa/x", "stripe/x", "polar/x", "other/x", "page/other"):
        async with shop.http.get(f"{shop.sandbox}/pay/{path}") as response:
            assert response.status == 404


async def test_the_log_tells_what_went_wrong(shop: Shop) -> None:
    shop.react = lambda got: 503 if len(shop.got) < 3 else 200
    address = (await links(shop))[0]
    await press(shop, address, "pay")
    await shop.processors.settled()
    page = await text(shop, address)
    assert (page.count("answered 503 Service Unavailable"), page.count("answered 200 OK")) == (2, 1)
    assert f"{shop.sandbox.removesuffix('/sandbox')}/payments/yookassa" in page


async def test_in_a_browser(browser: Browser) -> None:
    async with opened(schedule=lambda failures: 0.1) as shop:
        await pays_and_watches(shop, browser)


async def pays_and_watches(shop: Shop, browser: Browser) -> None:
    from playwright.async_api import expect

    nasty = {**PAYMENT, "description": NASTY, "metadata": {"said": NASTY}}
    payment = await shop.yookassa("POST", "/payments", nasty)
    page = await browser.new_page(viewport={"width": 390, "height": 780})
    faults = watched(page)
    await page.goto(payment["confirmation"]["confirmation_url"])
    await expect(page.get_by_test_id("bill")).to_contain_text(NASTY)
    shop.react = lambda got: 503
    await page.get_by_test_id("pay").click()
    await expect(page.get_by_test_id("callback")).to_contain_text("answered 503")
    await page.get_by_test_id("callback").locator("summary").click()
    shop.react = lambda got: 200
    await expect(page.get_by_test_id("callback")).to_contain_text("answered 200 OK")
    await expect(page.get_by_test_id("callback").locator("details")).to_have_attribute("open", "")
    await expect(page.get_by_test_id("callback").locator("pre").last).to_contain_text('"event": "payment.succeeded"')
    await expect(page.get_by_test_id("back")).to_have_attribute("href", BACK)
    await expect(page.get_by_test_id("pay")).to_have_count(0)
    assert await page.locator("img").count() == 0
    await page.close()
    assert faults == []
