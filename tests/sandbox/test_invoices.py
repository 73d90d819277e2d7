"""A Stars payment goes its whole way: invoice, question, charge, refund."""

from __future__ import annotations

from typing import Any

import pytest

from service.sandbox import CannotDo, Person
from tests.sandbox.world import Bot, Clock, Telegram

STARS = {
    "title": "Pack",
    "description": "A pack",
    "payload": "pack:1",
    "currency": "XTR",
    "prices": [{"label": "Pack", "amount": 50}],
}


def answering(**answer: Any) -> Any:
    def react(update: dict[str, Any]) -> dict[str, Any] | None:
        if query := update.get("pre_checkout_query"):
            return {"method": "answerPreCheckoutQuery", "pre_checkout_query_id": query["id"], **answer}
        return None

    return react


@pytest.fixture(autouse=True)
async def acquainted(bot: Bot, payer: Person) -> None:
    await payer.says("/start")
    bot.react = answering(ok=True)


async def test_an_approved_payment_is_charged_and_told(telegram: Telegram, bot: Bot, payer: Person) -> None:
    invoice = await telegram.does("sendInvoice", chat_id=payer.id, **STARS)
    assert invoice["invoice"]["total_amount"] == 50
    assert invoice["reply_markup"] == {"inline_keyboard": [[{"text": "Pay ⭐ 50", "pay": True}]]}
    assert (await payer.pays())["ok"]
    await telegram.sandbox.settled()
    query, payment = bot.got[-2]["pre_checkout_query"], bot.got[-1]["message"]["successful_payment"]
    for told in (query, payment):
        assert (told["currency"], told["total_amount"], told["invoice_payload"]) == ("XTR", 50, "pack:1")
    assert payment["telegram_payment_charge_id"]
    assert payment["provider_payment_charge_id"]
    with pytest.raises(CannotDo, match="nothing to pay"):
        await payer.pays()


async def test_a_refused_payment_is_not_charged(telegram: Telegram, bot: Bot, payer: Person) -> None:
    bot.react = answering(ok=False, error_message="Sold out")
    await telegram.does("sendInvoice", chat_id=payer.id, **STARS)
    assert await payer.pays() == {"ok": False, "error_message": "Sold out"}
    assert payer.toasts == ["Sold out"]
    assert await telegram.does("getStarTransactions") == {"transactions": []}


async def test_a_question_is_answered_once_and_in_time(
    telegram: Telegram, bot: Bot, payer: Person, clock: Clock
) -> None:
    bot.react = lambda update: None
    await telegram.does("sendInvoice", chat_id=payer.id, **STARS)
    question, late = (payer.checkout(payer.chat[-1]) for _ in range(2))
    answer = {"pre_checkout_query_id": question.id, "ok": True}
    assert await telegram.does("answerPreCheckoutQuery", **answer)
    assert "query is too old" in await telegram.refuses("answerPreCheckoutQuery", **answer)
    clock.now += 11
    why = await telegram.refuses("answerPreCheckoutQuery", pre_checkout_query_id=late.id, ok=True)
    assert "query is too old" in why


async def test_a_link_can_be_paid_again(telegram: Telegram, bot: Bot, payer: Person, friend: Person) -> None:
    link = await telegram.does("createInvoiceLink", **STARS)
    assert link.startswith("https://t.me/$")
    for person in (payer, friend, payer):
        await person.pays(link)
    await telegram.sandbox.settled()
    charges = [
        update["message"]["successful_payment"]["telegram_payment_charge_id"]
        for update in bot.got
        if "successful_payment" in update.get("message", {})
    ]
    assert len(set(charges)) == 3
    with pytest.raises(CannotDo):
        await payer.pays("https://t.me/$unknown")


async def test_a_refund_happens_once(telegram: Telegram, bot: Bot, payer: Person, friend: Person) -> None:
    await telegram.does("sendInvoice", chat_id=payer.id, **STARS)
    await payer.pays()
    await telegram.sandbox.settled()
    charge = bot.got[-1]["message"]["successful_payment"]["telegram_payment_charge_id"]
    assert await telegram.does("getMyStarBalance") == {"amount": 50}
    why = await telegram.refuses("refundStarPayment", user_id=friend.id, telegram_payment_charge_id=charge)
    assert why == "400 Bad Request: CHARGE_NOT_FOUND"
    theirs = {"user_id": payer.id, "telegram_payment_charge_id": charge}
    assert await telegram.does("refundStarPayment", **theirs) is True
    assert await telegram.refuses("refundStarPayment", **theirs) == "400 Bad Request: CHARGE_ALREADY_REFUNDED"
    await telegram.sandbox.settled()
    assert bot.got[-1]["message"]["refunded_payment"] == {
        "currency": "XTR",
        "total_amount": 50,
        "invoice_payload": "pack:1",
        "telegram_payment_charge_id": charge,
    }
    rows = (await telegram.does("getStarTransactions"))["transactions"]
    assert [row["id"] for row in rows] == [charge, charge]
    assert "source" in rows[0]
    assert "receiver" in rows[1]
    assert await telegram.does("getStarTransactions", offset=1, limit=1) == {"transactions": rows[1:]}
    assert await telegram.does("getMyStarBalance") == {"amount": 0}


async def test_a_subscription_tells_when_it_ends(telegram: Telegram, bot: Bot, payer: Person, clock: Clock) -> None:
    link = await telegram.does("createInvoiceLink", **STARS, subscription_period=2_592_000)
    await payer.pays(link)
    await telegram.sandbox.settled()
    payment = bot.got[-1]["message"]["successful_payment"]
    assert payment["subscription_expiration_date"] == int(clock()) + 2_592_000
    assert payment["is_first_recurring"]


async def test_a_card_payment_needs_a_provider(telegram: Telegram, bot: Bot, payer: Person) -> None:
    price = [{"label": "Pack", "amount": 15_000}]
    rubles = {**STARS, "currency": "RUB", "prices": price, "provider_token": "x"}
    sent = await telegram.does("sendInvoice", chat_id=payer.id, **rubles)
    assert sent["reply_markup"]["inline_keyboard"][0][0]["text"] == "Pay 150.00 RUB"
    await payer.pays()
    await telegram.sandbox.settled()
    charge = bot.got[-1]["message"]["successful_payment"]["telegram_payment_charge_id"]
    why = await telegram.refuses("refundStarPayment", user_id=payer.id, telegram_payment_charge_id=charge)
    assert why == "400 Bad Request: CHARGE_NOT_FOUND"
