"""The page's own API: what it serves, what it tells, what it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import orjson
import pytest

from service.sandbox import Person
from tests.sandbox.world import Bot, Telegram


async def test_the_page_runs_nothing_but_its_own_files(telegram: Telegram) -> None:
    async with telegram.http.get(telegram.base) as response:
        page, policy = await response.text(), response.headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "{prefix}" not in page
    for asset in ("chat.css", "chat.js", "messages.js"):
        async with telegram.http.get(f"{telegram.base}/page/{asset}") as response:
            assert response.status == 200
            assert "innerHTML" not in await response.text()
    for missing in ("page/chat.html", "page/..%2f__init__.py", "files/unknown"):
        async with telegram.http.get(f"{telegram.base}/{missing}") as response:
            assert response.status == 404


async def act(telegram: Telegram, person: str, action: str, **body: Any) -> tuple[int, Any]:
    url = f"{telegram.base}/api/people/{person}/{action}"
    async with telegram.http.post(url, json=body) as response:
        return response.status, await response.json()


async def test_the_stream_tells_the_state_and_then_every_change(telegram: Telegram, payer: Person) -> None:
    async with telegram.http.get(f"{telegram.base}/api/changes") as stream:
        state = await _event(stream)
        assert state["kind"] == "state"
        assert [chat["name"] for chat in state["chats"]] == ["payer", "friend", "stranger"]
        await act(telegram, "payer", "says", text="Hi")
        told = [await _event(stream) for _ in range(2)]
        assert [event["kind"] for event in told] == ["message", "status"]
        assert (told[0]["chat_id"], told[0]["message"]["text"]) == (payer.id, "Hi")
        assert told[1]["status"]["pending_update_count"] == 1


async def test_stop_ends_the_stream(telegram: Telegram) -> None:
    async with telegram.http.get(f"{telegram.base}/api/changes") as stream:
        await _event(stream)
        await telegram.sandbox.stop()
        assert (await asyncio.wait_for(stream.content.read(), 5)).strip() == b""


async def test_a_page_that_does_not_read_is_told_to_start_over(telegram: Telegram, payer: Person) -> None:
    with telegram.sandbox.chats.feed.reader() as changes:
        for number in range(1_200):
            telegram.sandbox.chats.toast(telegram.sandbox.chats.of(payer.id), str(number))
        assert await changes.get() is None


async def test_actions_of_the_page_reach_the_bot(telegram: Telegram, bot: Bot, payer: Person) -> None:
    markup = {"inline_keyboard": [[{"text": "A", "callback_data": "a"}]]}
    assert (await act(telegram, "payer", "says", text="/start"))[0] == 200
    sent = await telegram.does("sendMessage", chat_id=payer.id, text="Pick", reply_markup=markup)
    await telegram.sandbox.settled()

    bot.react = lambda update: {
        "method": "answerCallbackQuery",
        "callback_query_id": update["callback_query"]["id"],
    }
    where = {"message_id": sent["message_id"], "data": "a"}
    assert await act(telegram, "payer", "presses", **where) == (200, {"answered": True})
    bot.react = lambda update: None
    assert (await act(telegram, "payer", "blocks", blocked=True))[0] == 200
    await telegram.sandbox.settled()
    assert [next(reversed(update)) for update in bot.got] == ["message", "callback_query", "my_chat_member"]


async def test_an_invoice_is_paid_from_the_page(telegram: Telegram, bot: Bot, payer: Person) -> None:
    await payer.says("/start")
    stars = {"title": "Pack", "description": "A pack", "payload": "p", "currency": "XTR"}
    sent = await telegram.does("sendInvoice", chat_id=payer.id, prices=[{"label": "Pack", "amount": 5}], **stars)

    def approve(update: dict[str, Any]) -> dict[str, Any] | None:
        query = update.get("pre_checkout_query")
        answer = {"method": "answerPreCheckoutQuery", "ok": True}
        return {**answer, "pre_checkout_query_id": query["id"]} if query else None

    bot.react = approve
    status, paid = await act(telegram, "payer", "pays", message_id=sent["message_id"])
    assert (status, paid["answer"]["ok"]) == (200, True)


@pytest.mark.parametrize(
    ("person", "action", "body", "status"),
    [
        ("nobody", "says", {"text": "Hi"}, 404),
        ("payer", "says", {"text": ""}, 400),
        ("payer", "presses", {"message_id": 1, "data": "a"}, 400),
        ("payer", "pays", {"message_id": 1}, 400),
        ("payer", "pays", {"link": "https://t.me/$no"}, 400),
    ],
)
async def test_impossible_actions_are_refused(
    telegram: Telegram, person: str, action: str, body: dict[str, Any], status: int
) -> None:
    got, answer = await act(telegram, person, action, **body)
    assert got == status
    assert answer["error"]["message"]


async def test_a_form_of_a_foreign_page_presses_nothing(telegram: Telegram, payer: Person) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        async with telegram.http.post(
            f"{telegram.base}/api/people/payer/says", data='{"text": "Hi"}', headers={"Content-Type": kind}
        ) as response:
            assert response.status == 415
    assert payer.chat == []


async def _event(stream: aiohttp.ClientResponse) -> Any:
    async with asyncio.timeout(5):
        while not (line := await stream.content.readline()).startswith(b"data: "):
            assert line, "the stream ended"
    return orjson.loads(line.removeprefix(b"data: "))
