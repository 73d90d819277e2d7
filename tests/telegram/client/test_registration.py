from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.telegram.client import BotApi
from service.telegram.client.registration import fingerprint, remove_webhook, set_webhook_if_differs
from tests.telegram.scripted import TOKEN, BotApiServer, HandClock, bot_api, ok

URL = "https://bot.example.org/telegram/webhook"
SECRET = "hook-secret-1"
UPDATES = ("message", "callback_query")
ADDRESS = f"{URL}?secret={fingerprint(TOKEN, SECRET)}"
AS_IT_SHOULD_BE = {"url": ADDRESS, "allowed_updates": ["callback_query", "message"], "pending_update_count": 3}

Fixture = tuple[BotApi, BotApiServer, HandClock]


@pytest.fixture
async def api() -> AsyncIterator[Fixture]:
    async with bot_api() as parts:
        yield parts


async def test_a_webhook_as_it_should_be_is_left_alone(api: Fixture) -> None:
    bot, server, _ = api
    server.script.append(ok(AS_IT_SHOULD_BE))
    assert not await set_webhook_if_differs(bot, url=URL, secret=SECRET, allowed_updates=UPDATES)
    assert server.methods() == ["getWebhookInfo"]


@pytest.mark.parametrize(
    "other",
    [
        {"url": ""},
        {"url": "https://elsewhere.example.org"},
        {"url": f"{URL}?secret={fingerprint(TOKEN, 'an older secret')}"},
        {"allowed_updates": ["message"]},
        {"last_error_message": "Wrong response from the webhook: 401 Unauthorized"},
    ],
)
async def test_a_webhook_that_differs_is_set(api: Fixture, other: dict[str, Any]) -> None:
    bot, server, _ = api
    server.script.append(ok(AS_IT_SHOULD_BE | other))
    assert await set_webhook_if_differs(bot, url=URL, secret=SECRET, allowed_updates=UPDATES)
    assert server.calls[1:] == [
        ("setWebhook", {"url": ADDRESS, "secret_token": SECRET, "allowed_updates": ["message", "callback_query"]})
    ]


async def test_a_bot_without_a_webhook_gets_one(api: Fixture) -> None:
    bot, server, _ = api
    server.script.append(ok({"url": "", "has_custom_certificate": False, "pending_update_count": 0}))
    assert await set_webhook_if_differs(bot, url=URL, secret=SECRET, allowed_updates=UPDATES)


def test_the_fingerprint_tells_nothing_of_the_secret() -> None:
    assert SECRET not in ADDRESS
    assert fingerprint(TOKEN, SECRET) != fingerprint("987654321:other", SECRET)
    assert fingerprint(TOKEN, SECRET) != fingerprint(TOKEN, SECRET + "2")


async def test_a_webhook_is_removed_for_polling_and_keeps_what_is_pending(api: Fixture) -> None:
    bot, server, _ = api
    server.script.append(ok(AS_IT_SHOULD_BE))
    await remove_webhook(bot)
    assert server.calls[1:] == [("deleteWebhook", {"drop_pending_updates": False})]


async def test_no_webhook_is_not_removed(api: Fixture) -> None:
    bot, server, _ = api
    server.script.append(ok({"url": ""}))
    await remove_webhook(bot)
    assert server.methods() == ["getWebhookInfo"]
