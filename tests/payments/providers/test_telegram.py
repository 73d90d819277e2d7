"""Payments inside Telegram: what its messages mean, invoices, refunds, and the list of Stars."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
import pytest
from aiohttp import web

from service.errors import Forged, Invalid, Upstream
from service.kernel.clock import Clock
from service.payments.event import Money, Payment, PaymentEvent, Refund
from service.payments.providers import telegram
from service.payments.providers.telegram import Telegram, report_of
from service.telegram.client import BotApi
from service.telegram.pacing import Pacing
from service.telegram.update import decode
from tests.serving import TOKEN, config_for, listening

SAMPLES = Path(__file__).resolve().parents[2] / "data/payments/telegram"
ORDER = UUID("0190f0a0-0000-7000-8000-000000000001")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BANK = "381764678:TEST:100500"
PAYMENT = Payment(
    payment_id=ORDER,
    user_id=42,
    provider="telegram",
    provider_payment_id="c1",
    status="succeeded",
    amount=Decimal("230.00"),
    currency="XTR",
    credit_rub=Decimal("300.00"),
    refunded_amount=Decimal(0),
    refunded_rub=Decimal(0),
    pack_id="small",
    pay_url=None,
    test=False,
    created_at=NOW,
    expires_at=NOW,
    settled_at=NOW,
    told_at=None,
)
REFUND = Refund(
    refund_id=UUID("0190f0a0-0000-7000-8000-000000000002"),
    payment_id=ORDER,
    provider="telegram",
    provider_refund_id=None,
    kind="refund",
    status="requested",
    amount=Decimal("230.00"),
    amount_rub=Decimal("300.00"),
    reservation_id=None,
    reason="",
    created_at=NOW,
)


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())


def update(**fact: Any) -> Any:
    """An update with this in its message."""
    message = {"message_id": 3, "from": {"id": 42, "first_name": "A"}, "chat": {"id": 42}, **fact}
    return decode(json.dumps({"update_id": 2, "message": message}).encode())


def payment(**fields: Any) -> dict[str, Any]:
    told = {"currency": "XTR", "total_amount": 230, "invoice_payload": str(ORDER), "telegram_payment_charge_id": "c1"}
    return {**told, **fields}


class Api:
    """The Bot API as far as these calls go: answers by method, and what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.refusal: tuple[int, str] | None = None
        self.rows: list[Mapping[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        method, params = request.match_info["method"], await request.json()
        self.asked.append((method, params))
        if self.refusal:
            status, why = self.refusal
            return web.json_response({"ok": False, "error_code": status, "description": why}, status=status)
        return web.json_response({"ok": True, "result": self._result(method, params)})

    def _result(self, method: str, params: Any) -> Any:
        if method == "getStarTransactions":
            return {"transactions": self.rows[params["offset"] : params["offset"] + params["limit"]]}
        return "https://t.me/$link" if method == "createInvoiceLink" else True


@pytest.fixture
async def api() -> AsyncIterator[tuple[Api, BotApi]]:
    made, app = Api(), web.Application()
    app.router.add_post("/bot{token}/{method}", made.handle)
    async with listening(app) as base, aiohttp.ClientSession() as session:
        yield made, BotApi(token=TOKEN, base=base, session=session, clock=Clock(), pacing=Pacing())


@pytest.fixture
def nobody() -> BotApi:
    """A bot that must not be asked."""
    return None  # type: ignore[return-value]


def test_stars_that_were_paid() -> None:
    report = report_of(update(successful_payment=payment(provider_payment_charge_id="")))
    assert report.event == PaymentEvent(
        provider="telegram",
        delivery_key="successful_payment:c1",
        name="successful_payment",
        change="paid",
        references=(("telegram", "c1"),),
        order_id=ORDER,
        user_id=42,
        money=Money(Decimal("230.00"), "XTR"),
        effect_key="telegram:payment:c1",
        repeatable=True,
    )


def test_a_card_names_the_money_as_its_bank_does() -> None:
    """Case 3: the bank may tell of the same money itself."""
    told = payment(currency="RUB", total_amount=30_000, provider_payment_charge_id="2d1f")
    event = report_of(update(successful_payment=told)).event
    assert event.provider == "telegram_cards"
    assert event.references == (("telegram_cards", "c1"), ("yookassa", "2d1f"), ("stripe", "2d1f"))
    assert (event.money, event.effect_key) == (Money(Decimal("300.00"), "RUB"), "telegram:payment:c1")


def test_stars_that_went_back() -> None:
    event = report_of(update(refunded_payment=payment())).event
    assert (event.change, event.delivery_key, event.effect_key) == (
        "refunded",
        "refunded_payment:c1",
        "telegram:refund:c1",
    )
    assert (event.refund_id, event.order_id, event.references) == ("c1", None, (("telegram", "c1"),))


@pytest.mark.parametrize(
    ("name", "key", "change", "money"),
    [
        ("aiogram.successful_payment.json", "successful_payment", "review", None),
        ("aiogram.refunded_payment.json", "refunded_payment", "refunded", Money(Decimal("42.00"), "XTR")),
        ("ptb.successful_payment_de_json.json", "successful_payment", "paid", Money(Decimal("1.00"), "EUR")),
        ("ptb.refunded_payment_de_json.json", "refunded_payment", "refunded", Money(Decimal("1.00"), "EUR")),
    ],
)
def test_samples_of_the_objects(nobody: BotApi, name: str, key: str, change: str, money: Money | None) -> None:
    report = report_of(update(**{key: sample(name)}))
    assert (report.event.change, report.event.money, report.event.order_id) == (change, money, None)
    assert Telegram(nobody).parse(report.body) == report


def test_a_sample_of_an_update() -> None:
    """Case 38: with another bot's payload it is no order of ours, and stays to be looked at."""
    event = report_of(decode((SAMPLES / "kotlin.update_successful_payment.json").read_bytes())).event
    assert (event.change, event.order_id, event.references) == ("paid", None, (("telegram", "tg-charge"),))


@pytest.mark.parametrize(
    "fields",
    [
        {"total_amount": 230.0},
        {"total_amount": "230"},
        {"total_amount": -1},
        {"total_amount": 10**15},
        {"currency": "KWD"},
        {"currency": "RUВ"},
        {"currency": None},
        {"telegram_payment_charge_id": None},
        {"telegram_payment_charge_id": ""},
        {"telegram_payment_charge_id": "c\0"},
        {"telegram_payment_charge_id": "c" * 513},
    ],
)
def test_odd_money_is_for_review(fields: dict[str, Any]) -> None:
    """Cases 30, 32, 33, 34, 35."""
    report = report_of(update(successful_payment=payment(**fields)))
    assert (report.event.change, report.event.effect_key) == ("review", None)
    assert report.event.reason
    assert report_of(update(successful_payment=payment(**fields))).event.delivery_key == report.event.delivery_key


@pytest.mark.parametrize("payload", ["x", "", None, 5, str(ORDER).upper(), f" {ORDER}", f"{{{ORDER}}}"])
def test_a_payload_is_our_order_or_it_is_not(payload: Any) -> None:
    event = report_of(update(successful_payment=payment(invoice_payload=payload))).event
    assert (event.change, event.order_id) == ("paid", None)


def test_long_charges() -> None:
    charge = "c" * 150
    event = report_of(update(successful_payment=payment(telegram_payment_charge_id=charge))).event
    assert event.effect_key == f"telegram:payment:{charge}"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"type": "gift", "payment": {}}', b'{"type": "refunded_payment"}']
)
def test_what_we_never_stored(nobody: BotApi, body: bytes) -> None:
    with pytest.raises(Invalid):
        Telegram(nobody).parse(body)


def test_it_is_no_door(nobody: BotApi) -> None:
    """Case 17: whoever posts as Telegram is forged."""
    with pytest.raises(Forged):
        Telegram(nobody).verify({}, b"{}", NOW)


def test_what_the_settings_open(nobody: BotApi) -> None:
    stars, cards = telegram.configured(config_for("postgresql://x/y", TELEGRAM_PROVIDER_TOKEN=BANK), nobody)
    assert (stars.name, stars.currencies, stars.live, stars.asks_back) == ("telegram", {"XTR"}, True, False)
    assert (cards.name, cards.live) == ("telegram_cards", False)
    assert {"RUB", "USD"} < cards.currencies
    assert "XTR" not in cards.currencies
    assert Telegram(nobody, "381764678:LIVE:1").live
    assert [one.name for one in telegram.configured(config_for("postgresql://x/y"), nobody)] == ["telegram"]


async def test_an_invoice(api: tuple[Api, BotApi]) -> None:
    made, bot = api
    created = await Telegram(bot).create(PAYMENT, title="t" * 40, language="ru")
    assert (created.provider_payment_id, created.pay_url) == (None, "https://t.me/$link")
    method, asked = made.asked[0]
    assert method == "createInvoiceLink"
    assert (asked["payload"], asked["currency"], asked["provider_token"]) == (str(ORDER), "XTR", "")
    assert asked["prices"] == [{"label": "t" * 32, "amount": 230}]
    assert (asked["title"], len(asked["description"]) <= 255) == ("t" * 32, True)


async def test_an_invoice_for_a_card(api: tuple[Api, BotApi]) -> None:
    made, bot = api
    order = msgspec.structs.replace(PAYMENT, currency="RUB", amount=Decimal("300.50"))
    await Telegram(bot, BANK).create(order, title="Top-up", language="en")
    asked = made.asked[0][1]
    assert (asked["provider_token"], asked["prices"]) == (BANK, [{"label": "Top-up", "amount": 30_050}])


async def test_stars_are_given_back_whole(api: tuple[Api, BotApi]) -> None:
    made, bot = api
    report = await Telegram(bot).refund(REFUND, PAYMENT)
    assert made.asked == [("refundStarPayment", {"user_id": 42, "telegram_payment_charge_id": "c1"})]
    live = report_of(update(refunded_payment=payment())).event
    assert report.event == msgspec.structs.replace(live, request_id=REFUND.refund_id)
    assert Telegram(bot).parse(report.body) == report
    with pytest.raises(Upstream) as caught:
        await Telegram(bot).refund(msgspec.structs.replace(REFUND, amount=Decimal(1)), PAYMENT)
    assert caught.value.permanent
    assert len(made.asked) == 1


async def test_given_back_already_is_given_back(api: tuple[Api, BotApi]) -> None:
    """Case 42: the answer to the first call was lost."""
    made, bot = api
    made.refusal = (400, "Bad Request: CHARGE_ALREADY_REFUNDED")
    assert (await Telegram(bot).refund(REFUND, PAYMENT)).event.change == "refunded"
    made.refusal = (400, "Bad Request: CHARGE_NOT_FOUND")
    with pytest.raises(Upstream):
        await Telegram(bot).refund(REFUND, PAYMENT)


async def test_cards_are_given_back_at_the_bank(nobody: BotApi) -> None:
    for call in (Telegram(nobody, BANK).refund(REFUND, PAYMENT), Telegram(nobody).capture(PAYMENT)):
        with pytest.raises(Upstream) as caught:
            await call
        assert caught.value.permanent
    assert await Telegram(nobody).look_up(PAYMENT) == []
    assert [one async for one in Telegram(nobody, BANK).listed(NOW)] == []


def row(number: int, **more: Any) -> dict[str, Any]:
    """A payment that came `number` minutes after NOW."""
    at = int((NOW + timedelta(minutes=number)).timestamp())
    user = {"id": 42, "is_bot": False, "first_name": "A"}
    source = {"type": "user", "transaction_type": "invoice_payment", "user": user, "invoice_payload": str(ORDER)}
    return {"id": f"c{number}", "amount": 230, "date": at, "source": source, **more}


async def test_what_is_listed_is_what_the_messages_told(api: tuple[Api, BotApi]) -> None:
    made, bot = api
    paid = row(1)
    back = {**paid, "receiver": paid["source"]}
    del back["source"]
    gift = row(2, source={**paid["source"], "transaction_type": "gift_purchase"})
    withdrawn = {"id": "w", "amount": 5, "date": paid["date"], "receiver": {"type": "fragment"}}
    other = row(3, source={"type": "telegram_ads"})
    made.rows = [paid, gift, withdrawn, other, back]
    found = [one async for one in Telegram(bot).listed(NOW)]
    live = [update(successful_payment=payment()), update(refunded_payment=payment())]
    assert [one.event for one in found] == [report_of(one).event for one in live]
    assert [Telegram(bot).parse(one.body) for one in found] == found


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250, 1000])
@pytest.mark.parametrize("new", [0, 1, 100, 101, 150])
async def test_old_pages_are_not_read(api: tuple[Api, BotApi], count: int, new: int) -> None:
    """Telegram lists the oldest first and takes no date; what is new is found by halving."""
    made, bot = api
    made.rows = [row(number) for number in range(count)]
    since = NOW + timedelta(minutes=max(count - new, 0))
    found = [one.event.refund_id or one.event.references[0][1] async for one in Telegram(bot).listed(since)]
    assert found == [f"c{number}" for number in range(max(count - new, 0), count)]
    assert len(made.asked) <= 12


async def test_a_list_that_cannot_be_read(api: tuple[Api, BotApi]) -> None:
    made, bot = api
    for broken in ({"date": "x"}, {"date": True}):
        made.rows = [row(1, **broken)]
        with pytest.raises(Upstream):
            _ = [one async for one in Telegram(bot).listed(NOW)]
