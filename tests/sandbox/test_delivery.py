"""Updates reach the bot as Telegram sends them: in order per queue, again after a failure, once confirmed no more."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from service.sandbox import Person, Sandbox, resend_after
from tests.sandbox.world import SECRET, TOKEN, Bot, Clock, Telegram, running, serving


def says_hello(update: dict[str, Any]) -> dict[str, Any]:
    return {"method": "sendMessage", "chat_id": update["message"]["chat"]["id"], "text": "Hello"}


async def test_what_a_person_types_is_posted_to_the_webhook(bot: Bot, payer: Person, clock: Clock) -> None:
    update = await payer.says("/start ref_5 now")
    assert update
    assert update.delivered
    message = bot.got[0]["message"]
    assert bot.got == [{"update_id": update.id, "message": message}]
    assert (message["text"], message["date"]) == ("/start ref_5 now", int(clock()))
    assert message["entities"] == [{"type": "bot_command", "offset": 0, "length": 6}]
    assert (message["from"]["id"], message["from"]["language_code"]) == (payer.id, "en")
    assert (message["chat"]["id"], message["chat"]["type"]) == (payer.id, "private")
    assert bot.secrets == [SECRET]


async def test_without_a_secret_there_is_no_header(telegram: Telegram, bot: Bot, payer: Person) -> None:
    await telegram.does("setWebhook", url=bot.url)
    await payer.says("Hi")
    assert bot.secrets == [None]


async def test_update_and_message_ids_rise(bot: Bot, payer: Person, friend: Person) -> None:
    for person in (payer, friend, payer):
        await person.says("Hi")
    for name in ("update_id", "message_id"):
        ids = [update.get(name) or update["message"][name] for update in bot.got]
        assert all(later == earlier + 1 for earlier, later in pairwise(ids))


async def test_update_ids_go_on_rising_after_a_restart(clock: Clock) -> None:
    first = Sandbox(TOKEN, clock).person("payer").send("Hi")
    clock.now += 60
    second = Sandbox(TOKEN, clock).person("payer").send("Hi")
    assert first
    assert second
    assert second.id > first.id


async def test_the_method_in_the_response_is_executed(telegram: Telegram, bot: Bot, payer: Person) -> None:
    bot.react = says_hello
    await payer.says("/start")
    assert payer.chat[-1].text == "Hello"
    call = await telegram.sandbox.wait_for(lambda call: call.method == "sendMessage")
    assert (call.via, call.status) == ("webhook", 200)


@pytest.mark.parametrize("kind", ["form", "multipart"])
async def test_the_response_may_be_a_form(bot: Bot, payer: Person, kind: str) -> None:
    fields = {"method": "sendMessage", "chat_id": str(payer.id), "text": "Привет"}

    def form(update: dict[str, Any]) -> web.Response:
        if kind == "form":
            body = f"method=sendMessage&chat_id={payer.id}&text=%D0%9F%D1%80%D0%B8%D0%B2%D0%B5%D1%82"
            return web.Response(text=body, content_type="application/x-www-form-urlencoded")
        parts = [f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                 for name, value in fields.items()]  # fmt: skip
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        return web.Response(body="".join([*parts, "--b--\r\n"]).encode(), headers=headers)

    bot.react = form
    await payer.says("/start")
    assert payer.chat[-1].text == "Привет"


@pytest.mark.parametrize("method", ["getMe", "deleteWebhook", "setWebhook", "close", "logOut", ""])
async def test_some_methods_are_not_executed_from_a_response(
    telegram: Telegram, bot: Bot, payer: Person, method: str
) -> None:
    bot.react = lambda update: {"method": method, "url": ""}
    telegram.sandbox.calls.clear()
    update = await payer.says("Hi")
    assert update
    assert update.delivered
    assert len(telegram.sandbox.calls) == 0
    assert (await telegram.does("getWebhookInfo"))["url"] == bot.url


async def test_a_refused_method_in_a_response_is_lost(telegram: Telegram, bot: Bot, payer: Person) -> None:
    bot.react = lambda update: {"method": "sendMessage", "chat_id": payer.id, "text": ""}
    await payer.says("Hi")
    assert len(bot.got) == 1
    assert [call.status for call in telegram.sandbox.calls.of("sendMessage")] == [400]


@pytest.mark.parametrize("status", [400, 404, 410, 500, 503, 302])
async def test_whatever_is_not_2xx_is_sent_again(
    telegram: Telegram, bot: Bot, payer: Person, clock: Clock, status: int
) -> None:
    bot.react = lambda update: status if len(bot.got) < 3 else None
    update = await payer.says("Hi")
    await telegram.sandbox.settled()
    assert update
    assert update.delivered
    assert bot.got == [update.wire()] * 3
    info = await telegram.does("getWebhookInfo")
    assert info["last_error_date"] == int(clock())
    assert info["last_error_message"].startswith(f"Wrong response from the webhook: {status} ")
    assert info["pending_update_count"] == 0


async def test_a_closed_connection_is_tried_again(telegram: Telegram, bot: Bot, payer: Person) -> None:
    async def hang_up_once(update: dict[str, Any]) -> Any:
        if len(bot.got) == 1:
            raise asyncio.CancelledError
        return None

    bot.react = hang_up_once
    await payer.says("Hi")
    await telegram.sandbox.settled()
    assert len(bot.got) == 2
    assert (await telegram.does("getWebhookInfo"))["last_error_message"] == "Webhook connection closed"


async def test_a_bot_that_is_away_is_told_in_the_info(telegram: Telegram, clock: Clock) -> None:
    hour = 3600.0
    async with running(Sandbox(TOKEN, clock, schedule=lambda failures, retry_after: hour)) as away:
        await away.does("setWebhook", url="http://127.0.0.1:9/hook")
        update = await away.sandbox.person("payer").says("Hi")
        info = await away.does("getWebhookInfo")
    assert update
    assert not update.delivered
    assert (info["pending_update_count"], info["last_error_message"]) == (1, "Connection refused")


async def test_the_next_update_of_a_person_waits_and_other_people_do_not(
    telegram: Telegram, bot: Bot, payer: Person, friend: Person
) -> None:
    recovered = asyncio.Event()

    async def poison(update: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        return 500 if update["message"]["text"] == "poison" and not recovered.is_set() else None

    bot.react = poison
    await payer.says("poison")
    await payer.says("after")
    await friend.says("hello")
    assert "hello" in bot.texts()
    assert "after" not in bot.texts()
    recovered.set()
    await telegram.sandbox.settled()
    assert [text for text in bot.texts() if text != "poison"] == ["hello", "after"]


async def test_a_button_does_not_wait_for_the_messages(telegram: Telegram, bot: Bot, payer: Person) -> None:
    markup = {"inline_keyboard": [[{"text": "Buy", "callback_data": "buy"}]]}
    await payer.says("/start")
    await telegram.does("sendMessage", chat_id=payer.id, text="Pick", reply_markup=markup)
    released = asyncio.Event()

    async def slow_messages(update: dict[str, Any]) -> None:
        if "message" in update:
            await released.wait()

    bot.react = slow_messages
    payer.send("slow")
    update = await payer.presses("Buy")
    assert update
    assert update.delivered
    released.set()
    await telegram.sandbox.settled()


async def test_at_most_max_connections_are_open(telegram: Telegram, bot: Bot) -> None:
    await telegram.does("setWebhook", url=bot.url, max_connections=2)
    under_way = most = 0
    released = asyncio.Event()
    second = asyncio.Event()

    async def count(update: dict[str, Any]) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 2:
            second.set()
        await released.wait()
        under_way -= 1

    bot.react = count
    for person in telegram.sandbox.people:
        person.send("Hi")
    await asyncio.wait_for(second.wait(), 5)
    assert len(bot.got) == 2
    released.set()
    await telegram.sandbox.settled()
    assert (len(bot.got), most) == (3, 2)


def test_the_real_schedule_doubles_up_to_its_cap() -> None:
    delays = [resend_after(failures, 0) for failures in range(6)]
    assert delays == [0, 2, 4, 8, 16, 32]
    assert all(60 <= resend_after(failures, 0) <= 120 for failures in range(7, 60))
    assert resend_after(0, 7) == 7
    assert resend_after(5, 9_999) == 3600


@pytest.fixture
def waits() -> list[tuple[int, float]]:
    return []


async def test_retry_after_is_passed_on(clock: Clock, waits: list[tuple[int, float]]) -> None:
    def schedule(failures: int, retry_after: float) -> float:
        waits.append((failures, retry_after))
        return 0.0

    bot = Bot(headers={"Retry-After": "17"})
    bot.react = lambda update: 503 if len(bot.got) < 3 else None
    app = web.Application()
    app.router.add_post("/", bot.handle)
    async with serving(app) as address, running(Sandbox(TOKEN, clock, schedule=schedule)) as telegram:
        await telegram.does("setWebhook", url=address)
        await telegram.sandbox.person("payer").says("Hi")
        await telegram.sandbox.settled()
    assert waits == [(0, 17.0), (1, 17.0)]


@pytest.mark.parametrize(("kind", "lives"), [("message", 86_400), ("callback_query", 150)])
async def test_an_update_is_given_up_when_it_is_too_old(clock: Clock, kind: str, lives: int) -> None:
    started = clock.now

    def schedule(failures: int, retry_after: float) -> float:
        clock.now += resend_after(failures, retry_after)
        return 0.0

    bot = Bot()
    bot.react = lambda update: 500 if kind in update else None
    app = web.Application()
    app.router.add_post("/", bot.handle)
    async with serving(app) as address, running(Sandbox(TOKEN, clock, schedule=schedule)) as telegram:
        payer = telegram.sandbox.person("payer")
        payer.send("Hi")
        await telegram.does("sendMessage", chat_id=payer.id, text="Pick",
                            reply_markup={"inline_keyboard": [[{"text": "A", "callback_data": "a"}]]})  # fmt: skip
        await telegram.does("setWebhook", url=address)
        update = payer.chat and await payer.presses("A")
        await telegram.sandbox.settled(30)
        assert update
        assert update.delivered == (kind == "message")
    assert lives - 120 <= clock.now - started <= lives + 120
