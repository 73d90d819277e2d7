"""The question before a payment: what is answered, to whom, and in time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from service.payments.bot import texts
from service.payments.bot.checkout import objection
from service.payments.event import Payment
from service.telegram.update import PreCheckoutQuery, Sender
from tests.outage import away
from tests.payments.bot.shop import Shop, invoice_for
from tests.waiting import until

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ORDER = Payment(
    payment_id=uuid4(),
    user_id=7,
    provider="telegram",
    provider_payment_id=None,
    status="pending",
    amount=Decimal("230.00"),
    currency="XTR",
    credit_rub=Decimal("300.00"),
    refunded_amount=Decimal(0),
    refunded_rub=Decimal(0),
    pack_id="small",
    pay_url="https://t.me/$x",
    test=False,
    created_at=NOW,
    expires_at=NOW + timedelta(hours=1),
    settled_at=None,
    told_at=None,
)
QUESTION = PreCheckoutQuery(
    id="q", sender=Sender(7), currency="XTR", total_amount=230, invoice_payload=str(ORDER.payment_id)
)

UNKNOWN = UUID("0f0e0d0c-0b0a-4908-8706-050403020100")  # of no order


@pytest.mark.parametrize("status", ["creating", "pending"])
def test_an_open_order_may_be_paid(status: Any) -> None:
    assert objection(msgspec.structs.replace(ORDER, status=status), QUESTION, NOW) is None


@pytest.mark.parametrize(
    ("order", "question", "said"),
    [
        ({"status": "succeeded"}, {}, texts.PAID_ALREADY),
        ({"status": "canceled"}, {}, texts.OUT_OF_DATE),
        ({"status": "expired"}, {}, texts.OUT_OF_DATE),
        ({"status": "review"}, {}, texts.OUT_OF_DATE),
        ({"expires_at": NOW}, {}, texts.OUT_OF_DATE),
        ({"provider": "yookassa"}, {}, texts.UNKNOWN_ORDER),
        ({}, {"sender": Sender(8)}, texts.ANOTHERS_ORDER),
        ({}, {"total_amount": 229}, texts.OTHER_AMOUNT),
        ({}, {"currency": "RUB"}, texts.OTHER_AMOUNT),
        ({"currency": "RUB", "provider": "telegram_cards"}, {"currency": "RUB"}, texts.OTHER_AMOUNT),
    ],
)
def test_what_must_not_be_paid(order: Mapping[str, Any], question: Mapping[str, Any], said: Any) -> None:
    payment = msgspec.structs.replace(ORDER, **order)
    assert objection(payment, msgspec.structs.replace(QUESTION, **question), NOW) is said


def test_an_order_that_nobody_knows() -> None:
    assert objection(None, QUESTION, NOW) is texts.UNKNOWN_ORDER


async def test_a_stranger_is_refused_in_his_language(shop: Shop, raw: Any) -> None:
    link = await invoice_for(shop.payer)
    answer = await shop.friend.pays(link)
    assert answer == {"ok": False, "error_message": "Этот счёт выставлен не вам."}
    assert (await shop.stranger.pays(link))["error_message"] == "This invoice is for somebody else."
    assert await raw.fetchval("SELECT count(*) FROM payment_events") == 0


async def test_paid_already(shop: Shop) -> None:
    """Case 47: as far as a question can, it keeps a person from paying twice."""
    link = await invoice_for(shop.payer)
    assert (await shop.payer.pays(link))["ok"]
    await shop.payer.hears("arrived")
    assert await shop.payer.pays(link) == {"ok": False, "error_message": "This was paid already."}


async def test_the_price_has_changed(shop: Shop, raw: Any) -> None:
    """Case 37: before the money, not after it."""
    link = await invoice_for(shop.friend)
    await raw.execute("UPDATE payments SET amount = 231")
    assert await shop.friend.pays(link) == {"ok": False, "error_message": "Цена изменилась: /topup"}


async def test_without_the_database_the_answer_is_no_and_in_time(shop: Shop, raw: Any, database_url: str) -> None:
    link = await invoice_for(shop.payer)
    await raw.close()
    async with away(database_url):
        await until(lambda: not shop.served.operations.database.reachable)
        answer = await shop.payer.pays(link, timeout=5)
        assert answer == {"ok": False, "error_message": "⚠️ Database temporarily unavailable"}
    await until(lambda: shop.served.operations.database.reachable)
    assert (await shop.payer.pays(link))["ok"]


@pytest.mark.parametrize("payload", ["", "x", "pack=1", "0" * 36, str(UNKNOWN), str(UNKNOWN).upper(), "é" * 64])
async def test_a_payload_of_no_order(shop: Shop, payload: str) -> None:
    query = {"id": "q", "from": shop.payer.user, "currency": "XTR", "total_amount": 1, "invoice_payload": payload}
    status, body = await shop.served.post({"update_id": int(uuid4().int % 10**9), "pre_checkout_query": query})
    assert (status, body["ok"], body["error_message"]) == (200, False, "There is no such order.")
