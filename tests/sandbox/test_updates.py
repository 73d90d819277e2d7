"""getUpdates and the webhook's settings: what waits, what is confirmed, what the bot has asked for."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from service.sandbox import Person
from tests.sandbox.world import SECRET, Bot, Telegram, serving, until


async def test_get_updates_keepsuntil_confirmed(telegram: Telegram, payer: Person, friend: Person) -> None:
    sent = [person.send("Hi") for person in (payer, friend, payer)]
    first, second, third = (update.id for update in sent if update)

    async def ids(**params: Any) -> list[int]:
        return [update["update_id"] for update in await telegram.does("getUpdates", **params)]

    assert await ids() == [first, second, third]
    assert await ids(limit=1) == [first]
    assert await ids(offset=first) == [first, second, third]
    assert await ids(offset=first + 1) == [second, third]
    assert await ids(offset=0) == [second, third]
    assert (await telegram.does("getWebhookInfo"))["pending_update_count"] == 2
    assert await ids(offset=-1) == [third]
    assert await ids(offset=third + 1) == []


async def test_a_long_poll_ends_with_the_first_update(telegram: Telegram, payer: Person) -> None:
    poll = asyncio.create_task(telegram.does("getUpdates", timeout=30))
    await until(lambda: telegram.sandbox.updates.polled)
    payer.send("Hi")
    assert [update["message"]["text"] for update in await asyncio.wait_for(poll, 5)] == ["Hi"]


async def test_a_long_poll_ends_empty(telegram: Telegram) -> None:
    assert await telegram.does("getUpdates", timeout=1) == []


async def test_a_second_poll_ends_the_first(telegram: Telegram, payer: Person) -> None:
    poll = asyncio.create_task(telegram.refuses("getUpdates", timeout=30))
    await until(lambda: telegram.sandbox.updates.polled)
    other = asyncio.create_task(telegram.does("getUpdates", timeout=30))
    assert (await poll).startswith("409 Conflict: terminated by other getUpdates request")
    payer.send("Hi")
    assert len(await other) == 1


async def test_polling_conflicts_with_a_webhook(telegram: Telegram, bot: Bot) -> None:
    why = await telegram.refuses("getUpdates")
    assert why.startswith("409 Conflict: can't use getUpdates method while webhook is active")
    await telegram.does("deleteWebhook")
    poll = asyncio.create_task(telegram.refuses("getUpdates", timeout=30))
    await until(lambda: telegram.sandbox.updates.polled)
    await telegram.does("setWebhook", url=bot.url)
    assert await poll == "409 Conflict: terminated by setWebhook request"


async def test_what_waited_goes_to_a_webhook_set_later(telegram: Telegram, payer: Person) -> None:
    payer.send("early")
    bot = Bot()
    app = web.Application()
    app.router.add_post("/", bot.handle)
    async with serving(app) as address:
        await telegram.does("setWebhook", url=address)
        await telegram.sandbox.settled()
    assert bot.texts() == ["early"]


async def test_set_webhook_tells_whether_it_changed_anything(telegram: Telegram, bot: Bot) -> None:
    same = {"url": bot.url, "secret_token": SECRET}
    assert (await telegram.call("setWebhook", **same))[1]["description"] == "Webhook is already set"
    assert (await telegram.call("setWebhook", **same, max_connections=500))[1]["description"] == "Webhook was set"
    assert (await telegram.does("getWebhookInfo"))["max_connections"] == 100
    assert (await telegram.call("deleteWebhook"))[1]["description"] == "Webhook was deleted"
    assert (await telegram.call("setWebhook", url=""))[1]["description"] == "Webhook is already deleted"


async def test_allowed_updates_stay_when_omitted(telegram: Telegram, bot: Bot, payer: Person) -> None:
    await telegram.does("setWebhook", url=bot.url, allowed_updates=["callback_query"])
    assert await payer.says("unwanted") is None
    await telegram.does("setWebhook", url=bot.url)
    assert (await telegram.does("getWebhookInfo"))["allowed_updates"] == ["callback_query"]
    assert await payer.says("unwanted") is None
    await telegram.does("setWebhook", url=bot.url, allowed_updates=[])
    assert await payer.says("wanted")
    assert bot.texts() == ["wanted"]


async def test_pending_updates_are_dropped_when_asked(telegram: Telegram, payer: Person) -> None:
    payer.send("Hi")
    assert (await telegram.does("getWebhookInfo"))["pending_update_count"] == 1
    await telegram.does("deleteWebhook", drop_pending_updates=True)
    assert (await telegram.does("getWebhookInfo"))["pending_update_count"] == 0
