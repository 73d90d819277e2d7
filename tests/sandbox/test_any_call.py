"""Whatever the bot sends, the answer is a result or a refusal, never a crash."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from service.sandbox import Refusal, Sandbox
from service.sandbox.calls import Arguments
from tests.sandbox.world import TOKEN, Clock

scalars = some.none() | some.booleans() | some.integers(-5, 5) | some.floats(allow_nan=False) | some.text(max_size=5)
anything = some.recursive(
    scalars, lambda inner: some.lists(inner, max_size=2) | some.dictionaries(some.text(max_size=3), inner, max_size=2)
)


def some_of(**fields: Any) -> some.SearchStrategy[Any]:
    """An object with some of these fields, or anything instead of it."""
    return some.fixed_dictionaries({}, optional=fields) | anything


def lists(of: some.SearchStrategy[Any]) -> some.SearchStrategy[Any]:
    return some.lists(of, max_size=2) | anything


chat = some.just(700_000_001) | anything
rows = lists(lists(some_of(text=some.text(), callback_data=anything, url=anything, pay=anything)))
markup = some_of(inline_keyboard=rows, keyboard=rows, remove_keyboard=anything)
text = some.text(max_size=9) | some.sampled_from(["<b>x", "*x*", "/start"]) | anything
mode = some.sampled_from(["HTML", "MarkdownV2", ""]) | anything
message = {"chat_id": chat, "reply_markup": markup, "parse_mode": mode}
edited = {**message, "message_id": some.integers(1, 3) | anything}
amounts = lists(some_of(label=some.text(min_size=1), amount=some.integers() | anything))
invoice = {
    "title": text,
    "description": text,
    "payload": text,
    "currency": some.sampled_from(["XTR", "RUB"]) | anything,
    "prices": amounts,
    "provider_token": some.sampled_from(["", "x"]) | anything,
    "subscription_period": anything,
}
scope = {"scope": some_of(type=text, chat_id=anything), "language_code": text}
webhook = {"url": some.just("http://127.0.0.1:9") | text, "secret_token": text, "max_connections": anything}
polled = {"offset": anything, "limit": anything, "allowed_updates": lists(text)}
described = lists(some_of(command=some.just("start") | anything, description=text))
PARAMS: dict[str, dict[str, Any]] = {
    "getMe": {},
    "sendMessage": {**message, "text": text},
    "sendPhoto": {**message, "photo": text, "caption": text},
    "sendDocument": {**message, "document": text, "caption": text},
    "sendChatAction": {"chat_id": chat, "action": some.just("typing") | anything},
    "editMessageText": {**edited, "text": text},
    "editMessageReplyMarkup": edited,
    "deleteMessage": edited,
    "answerCallbackQuery": {"callback_query_id": text, "text": text, "show_alert": anything},
    "setMyCommands": {**scope, "commands": described},
    "getMyCommands": scope,
    "deleteMyCommands": scope,
    "setWebhook": {**webhook, "allowed_updates": lists(text), "drop_pending_updates": anything},
    "deleteWebhook": {"drop_pending_updates": anything},
    "getWebhookInfo": {},
    "getUpdates": polled,
    "sendInvoice": {**invoice, "chat_id": chat, "reply_markup": markup},
    "createInvoiceLink": invoice,
    "answerPreCheckoutQuery": {"pre_checkout_query_id": text, "ok": anything, "error_message": text},
    "refundStarPayment": {"user_id": chat, "telegram_payment_charge_id": text},
    "getStarTransactions": polled,
    "getMyStarBalance": {},
}


def test_every_method_is_tried() -> None:
    assert {name.lower() for name in PARAMS} == set(Sandbox(TOKEN, Clock()).methods)


@pytest.mark.parametrize("method", PARAMS)
def test_any_arguments_are_answered(method: str) -> None:
    async def call(params: dict[str, Any]) -> None:
        sandbox = Sandbox(TOKEN, Clock(), schedule=lambda failures, retry_after: 60.0)
        payer = sandbox.person("payer")
        payer.send("/start")
        sandbox.chats.post(sandbox.chats.of(payer.id), {"text": "Hi"}, from_bot=True)
        with suppress(Refusal):
            await sandbox.execute(method, Arguments(params), "request")
        await sandbox.stop()

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(params=some.fixed_dictionaries({}, optional=PARAMS[method]))
    def whatever(params: dict[str, Any]) -> None:
        asyncio.run(call(params))

    whatever()
