"""From /topup to the money on the balance, as people see it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from service.catalog import Pack
from service.payments.bot.topup import ways_to_pay
from service.payments.event import Money
from tests.cast import FRIEND, STRANGER
from tests.payments.bot.shop import Shop, invoice_for, link_of, open_shop
from tests.payments.money import entries_of
from tests.serving import pressed, serving
from tests.waiting import until


async def test_stars_in_english(shop: Shop, raw: Any) -> None:
    payer = shop.payer
    link = await invoice_for(payer)
    assert (await payer.hears("Top-up by 300 ₽")).buttons[0]["text"] == "Pay 230 ⭐"
    assert (await payer.pays(link))["ok"]
    assert (await payer.hears("arrived")).text == "300 ₽ arrived. Balance: 300 ₽."
    assert await entries_of(raw, payer.id) == [("topup", Decimal("300.00"))]
    row = await raw.fetchrow("SELECT * FROM payments")
    assert (row["status"], row["provider"], row["amount"], row["currency"]) == ("succeeded", "telegram", 230, "XTR")
    await until(lambda: raw.fetchval("SELECT told_at IS NOT NULL FROM payments"))


async def test_stars_in_russian(shop: Shop) -> None:
    friend = shop.friend
    link = await invoice_for(friend, topup="/topup")
    assert (await friend.hears("Пополнение на 300 ₽")).buttons[0]["text"] == "Оплатить 230 ⭐"
    assert (await friend.pays(link))["ok"]
    assert (await friend.hears("Поступило")).text == "Поступило 300 ₽. Баланс: 300 ₽."


async def test_several_processors_are_offered(database_url: str) -> None:
    settings = {"TELEGRAM_PROVIDER_TOKEN": "1234:LIVE:bank", "YOOKASSA_SHOP_ID": "100500"}
    async with open_shop(database_url, **settings) as shop:
        payer = shop.payer
        await payer.says("/topup")
        assert [one["text"] for one in (await payer.hears("How much")).buttons] == [
            "300 ₽",
            "1000 ₽",
            "3300 ₽ for the price of 3000",
        ]
        await payer.presses("1000 ₽")
        offered = [one["text"] for one in (await payer.hears("Top-up by 1000 ₽. How")).buttons]
        assert offered == [
            "Card, SBP (YooKassa) – 1000 ₽",
            "Telegram Stars – 750 ⭐",
            "Card in Telegram – 1000 ₽",
            "« Back",
        ]
        await payer.presses("Card in Telegram – 1000 ₽")
        assert (await payer.hears("I shall write")).buttons[0]["text"] == "Pay 1000 ₽"
        assert (await payer.pays(link_of(payer)))["ok"]
        await payer.hears("1000 ₽ arrived")


async def test_the_same_update_is_the_same_order(shop: Shop, raw: Any) -> None:
    update = pressed(STRANGER, "topup:small")
    dispatcher = shop.served.operations.dispatcher
    first = await dispatcher.answer(json.dumps(update).encode())
    again = await dispatcher.replay(json.dumps(update).encode())
    assert first.body == again.body
    assert await raw.fetchval("SELECT count(*) FROM payments") == 1


@pytest.mark.parametrize(
    "data", ["topup:gone", "topup:small:yookassa", "topup:small:nobody", "topup::x:y:z:" + "y" * 40]
)
async def test_what_is_not_sold_any_more(shop: Shop, data: str) -> None:
    status, body = await shop.served.post(pressed(FRIEND, data))
    assert status == 200
    assert ("не получилось" in str(body).lower()) == ("::" not in data)


@pytest.mark.parametrize(
    ("fault", "said", "status"),
    [(400, "refused", "canceled"), (503, "does not answer", "creating")],
)
async def test_a_processor_that_does_not_make_it(
    shop: Shop, raw: Any, caplog: pytest.LogCaptureFixture, fault: int, said: str, status: str
) -> None:
    shop.sandbox.faults.fail("createInvoiceLink", status=fault)
    payer = shop.payer
    await payer.says("/topup")
    await payer.presses("300 ₽")
    await payer.hears(said)
    assert "order not made" in caplog.messages
    assert await raw.fetchval("SELECT status FROM payments") == status
    await payer.presses("Try again")
    await payer.hears("I shall write")


async def test_nothing_to_buy(database_url: str, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text('[[packs]]\nid = "rare"\ncredit_rub = 100\nprices = { THB = "50" }\n')
    async with open_shop(database_url, CATALOG=str(catalog)) as shop:
        await shop.payer.says("➕ Top up")
        await shop.payer.hears("no way to pay")


def test_a_processor_takes_the_first_price_it_can() -> None:
    class Some:
        def __init__(self, *currencies: str) -> None:
            self.currencies = frozenset(currencies)

    prices = {"USD": Decimal("3.90"), "RUB": Decimal("300.00")}
    pack = Pack(id="small", credit_rub=Decimal("300.00"), prices=prices)
    both, roubles, stars = Some("RUB", "USD"), Some("RUB"), Some("XTR")
    assert ways_to_pay(pack, [both, roubles, stars]) == [
        (both, Money(Decimal("3.90"), "USD")),
        (roubles, Money(Decimal("300.00"), "RUB")),
    ]


async def test_back_to_the_chat(shop: Shop) -> None:
    async with shop.served.http.get(f"{shop.served.base}/payments/return", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "https://t.me")
    shop.served.operations.bot.username = "some_bot"
    async with shop.served.http.get(f"{shop.served.base}/payments/return", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "https://t.me/some_bot")


async def test_back_to_the_sandbox(database_url: str) -> None:
    here = "http://127.0.0.1:9"
    settings = {"PUBLIC_URL": here, "TELEGRAM_API_BASE": f"{here}/sandbox"}
    async with (
        serving(database_url, **settings) as served,
        served.http.get(f"{served.base}/payments/return", allow_redirects=False) as response,
    ):
        assert (response.status, response.headers["Location"]) == (302, f"{here}/sandbox")
