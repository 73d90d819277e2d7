"""Faults come when they are asked for, and every call is on record."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from service.sandbox import Person
from tests.sandbox.world import Bot, Telegram


@pytest.fixture(autouse=True)
async def acquainted(payer: Person) -> None:
    payer.send("/start")


async def test_a_flood_tells_when_to_come_back(telegram: Telegram, payer: Person) -> None:
    telegram.sandbox.faults.flood("sendMessage", retry_after=3, times=2)
    for _ in range(2):
        status, body = await telegram.call("sendMessage", chat_id=payer.id, text="Hi")
        assert status == 429
        assert body == {
            "ok": False,
            "error_code": 429,
            "description": "Too Many Requests: retry after 3",
            "parameters": {"retry_after": 3},
        }
    await telegram.does("getMe")
    await telegram.does("sendMessage", chat_id=payer.id, text="Hi")
    assert [call.status for call in telegram.sandbox.calls.of("sendMessage")] == [429, 429, 200]


async def test_a_failure_has_the_status_that_was_asked(telegram: Telegram) -> None:
    faults = telegram.sandbox.faults
    faults.fail("getMe")
    faults.fail("getMe", status=403)
    faults.fail("*", status=502, description="Bad Gateway")
    assert await telegram.refuses("getMe") == "500 Internal Server Error"
    assert await telegram.refuses("getMe") == "403 Forbidden: bot was blocked by the user"
    assert await telegram.refuses("getMe") == "502 Bad Gateway"
    await telegram.does("getMe")


async def test_a_dropped_connection_does_nothing(telegram: Telegram, payer: Person) -> None:
    telegram.sandbox.faults.drop("sendMessage")
    with pytest.raises(aiohttp.ClientError):
        await telegram.call("sendMessage", chat_id=payer.id, text="Hi")
    assert [message.text for message in payer.chat] == ["/start"]
    assert (await telegram.sandbox.wait_for(lambda call: call.method == "sendMessage")).status == 0


async def test_a_hanging_call_hangs_until_it_is_let_go(telegram: Telegram) -> None:
    telegram.sandbox.faults.hang("getMe")
    call = asyncio.create_task(telegram.call("getMe"))
    await telegram.sandbox.wait_for(lambda call: call.method == "getMe")
    assert not call.done()
    telegram.sandbox.faults.clear()
    with pytest.raises(aiohttp.ClientError):
        await asyncio.wait_for(call, 5)
    await telegram.does("getMe")


async def test_a_fault_also_meets_a_webhooks_response(telegram: Telegram, bot: Bot, payer: Person) -> None:
    await telegram.sandbox.settled()
    bot.react = lambda update: {"method": "sendMessage", "chat_id": payer.id, "text": "Hello"}
    telegram.sandbox.faults.flood("sendMessage", retry_after=1)
    await payer.says("one")
    await payer.says("two")
    assert [message.text for message in payer.chat[1:]] == ["one", "two", "Hello"]


async def test_wait_for_sees_the_past_and_the_future(telegram: Telegram) -> None:
    sandbox = telegram.sandbox
    await telegram.does("getMe")
    assert (await sandbox.wait_for(lambda call: call.method == "getMe")).via == "request"
    waiting = asyncio.create_task(sandbox.wait_for(lambda call: call.params.get("language_code") == "ru"))
    await telegram.does("getMyCommands", language_code="ru")
    assert (await waiting).method == "getMyCommands"
    with pytest.raises(TimeoutError):
        await sandbox.wait_for(lambda call: call.method == "logOut", timeout=0.05)


async def test_the_record_is_bounded(telegram: Telegram) -> None:
    call = await telegram.does("getMe") and next(iter(telegram.sandbox.calls))
    for _ in range(3_000):
        telegram.sandbox.calls.record(call)
    assert len(telegram.sandbox.calls) == 2_000
