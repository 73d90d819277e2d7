import asyncio
import traceback
from collections.abc import AsyncIterator

import pytest

from service.errors import Upstream
from service.telegram.client import BotApi, InputFile
from service.telegram.reply import Call
from tests.telegram.scripted import BROKEN, TOKEN, Answer, BotApiServer, HandClock, bot_api, ok, refusal

Fixture = tuple[BotApi, BotApiServer, HandClock]


@pytest.fixture
async def api() -> AsyncIterator[Fixture]:
    async with bot_api() as parts:
        yield parts


async def test_a_call_returns_its_result(api: Fixture) -> None:
    bot, server, _ = api
    server.script.append(ok({"message_id": 5}))
    sent = await bot.send(Call("sendMessage", {"chat_id": 7, "text": "Привет", "reply_markup": None}))
    assert sent == {"message_id": 5}
    assert server.calls == [("sendMessage", {"chat_id": 7, "text": "Привет"})]
    assert server.paths == [f"/bot{TOKEN}/sendMessage"]


async def test_a_file_goes_up_with_its_name(api: Fixture) -> None:
    bot, server, _ = api
    photo = InputFile('a "лис".png', "image/png", b"\x89PNG\r\n")
    await bot.call("sendPhoto", {"chat_id": 7, "photo": photo, "reply_markup": {"a": 1}, "caption": "x"})
    assert server.calls == [("sendPhoto", {"chat_id": "7", "photo": photo, "reply_markup": '{"a":1}', "caption": "x"})]


async def test_a_name_cannot_break_out_of_its_header(api: Fixture) -> None:
    bot, server, _ = api
    await bot.call("sendDocument", {"chat_id": 7, "document": InputFile("a\r\nX: y.txt", "text/plain", b"x")})
    assert server.calls[0][1]["document"] == InputFile("aX: y.txt", "text/plain", b"x")


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refusal_for_good_is_not_repeated(api: Fixture, status: int) -> None:
    bot, server, clock = api
    server.script.append(refusal(status, "No: because"))
    with pytest.raises(Upstream) as caught:
        await bot.call("getMe")
    assert caught.value.permanent
    assert caught.value.message == f"getMe: {status} No: because"
    assert (len(server.calls), clock.slept) == (1, [])


async def test_another_poller_is_retryable_but_not_here(api: Fixture) -> None:
    bot, server, _ = api
    server.script.append(refusal(409, "Conflict: terminated by other getUpdates request"))
    with pytest.raises(Upstream) as caught:
        await bot.call("getUpdates")
    assert caught.value.retryable
    assert len(server.calls) == 1


async def test_retry_after_is_obeyed_even_for_a_send(api: Fixture) -> None:
    bot, server, clock = api
    server.script.extend([refusal(429, "Too Many Requests", retry_after=3), ok("sent")])
    assert await bot.call("sendMessage", {"chat_id": 7, "text": "x"}) == "sent"
    assert clock.slept == [3.0]
    assert len(server.calls) == 2


async def test_retry_after_beyond_patience_is_told(api: Fixture) -> None:
    bot, server, clock = api
    server.script.append(refusal(429, "Too Many Requests", retry_after=31))
    with pytest.raises(Upstream) as caught:
        await bot.call("sendMessage", {"chat_id": 7, "text": "x"})
    assert (caught.value.retry_after, caught.value.retryable, clock.slept) == (31.0, True, [])


async def test_patience_covers_all_waits_together(api: Fixture) -> None:
    bot, server, clock = api
    server.script.extend(refusal(429, "Too Many Requests", retry_after=12) for _ in range(3))
    with pytest.raises(Upstream):
        await bot.call("sendMessage", {"chat_id": 7, "text": "x"})
    assert clock.slept == [12.0, 12.0]


async def test_a_silenced_chat_waits_and_others_do_not(api: Fixture) -> None:
    bot, server, clock = api
    bot.pacing.silence(7, clock.seconds + 5)
    await bot.call("sendMessage", {"chat_id": 8, "text": "x"})
    assert clock.slept == []
    await bot.call("sendMessage", {"chat_id": 7, "text": "x"})
    assert clock.slept == [5.0]
    assert len(server.calls) == 2


async def test_a_silenced_chat_beyond_patience_is_not_called(api: Fixture) -> None:
    bot, server, clock = api
    bot.pacing.silence(7, clock.seconds + 50)
    with pytest.raises(Upstream) as caught:
        await bot.call("sendMessage", {"chat_id": 7, "text": "x"})
    assert (caught.value.retry_after, server.calls) == (50.0, [])


async def test_silence_that_falls_while_a_call_waits_is_kept(api: Fixture) -> None:
    bot, _, clock = api
    for _ in range(3):
        bot.pacing.reserve(7, clock.seconds)

    async def silenced_meanwhile(seconds: float) -> None:
        bot.sleep = clock.sleep
        await clock.sleep(seconds)
        bot.pacing.silence(7, clock.seconds + 9)

    bot.sleep = silenced_meanwhile
    await bot.call("sendMessage", {"chat_id": 7, "text": "x"})
    assert clock.slept == [3.0, 9.0]


@pytest.mark.parametrize("trouble", [Answer(502, b"<html>bad gateway</html>"), refusal(500, "Internal"), BROKEN])
@pytest.mark.parametrize("method", ["getMe", "setWebhook", "editMessageText", "answerCallbackQuery", "deleteMessage"])
async def test_what_may_be_repeated_is(api: Fixture, method: str, trouble: Answer) -> None:
    bot, server, clock = api
    server.script.extend([trouble, trouble])
    assert await bot.call(method) is True
    assert len(server.calls) == 3
    assert [0.125 <= clock.slept[0] <= 0.375, 0.25 <= clock.slept[1] <= 0.75] == [True, True]


async def test_repeats_end(api: Fixture) -> None:
    bot, server, _ = api
    server.script.extend([refusal(500, "Internal")] * 5)
    with pytest.raises(Upstream) as caught:
        await bot.call("getMe")
    assert caught.value.retryable
    assert len(server.calls) == 3


@pytest.mark.parametrize("trouble", [Answer(502, b"bad gateway"), BROKEN])
async def test_a_send_that_may_have_arrived_is_not_repeated(api: Fixture, trouble: Answer) -> None:
    bot, server, _ = api
    server.script.append(trouble)
    with pytest.raises(Upstream) as caught:
        await bot.call("sendMessage", {"chat_id": 7, "text": "x"})
    assert caught.value.retryable
    assert len(server.calls) == 1


async def test_a_send_that_was_never_sent_is_repeated(api: Fixture) -> None:
    bot, server, clock = api
    there, bot.base = bot.base, "http://127.0.0.1:1"

    async def comes_back(seconds: float) -> None:
        await clock.sleep(seconds)
        bot.base = there

    bot.sleep = comes_back
    assert await bot.call("sendMessage", {"chat_id": 7, "text": "x"}) is True
    assert server.methods() == ["sendMessage"]


async def test_an_answer_that_does_not_come_is_given_up(api: Fixture) -> None:
    bot, server, _ = api
    with pytest.raises(Upstream, match="no answer"):
        await asyncio.wait_for(bot.call("getUpdates", timeout=0.05), 10)
    assert len(server.calls) == 3


async def test_a_group_that_moved_is_followed_once(api: Fixture) -> None:
    bot, server, _ = api
    moved = refusal(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=-1009)
    server.script.append(moved)
    assert await bot.call("sendMessage", {"chat_id": -9, "text": "x"}) is True
    assert [params["chat_id"] for _, params in server.calls] == [-9, -1009]
    server.script.extend([moved, moved])
    with pytest.raises(Upstream):
        await bot.call("sendMessage", {"chat_id": -9, "text": "x"})
    assert len(server.calls) == 4


@pytest.mark.parametrize(
    ("status", "description", "chat", "told"),
    [
        (403, "Forbidden: bot was blocked by the user", 7, [7]),
        (403, "Forbidden: user is deactivated", 7, [7]),
        (403, "Forbidden: bot can't initiate conversation with a user", 7, [7]),
        (400, "Bad Request: chat not found", 7, [7]),
        (400, "Bad Request: chat not found", -100, []),
        (400, "Bad Request: chat not found", "@channel", []),
        (400, "Bad Request: message text is empty", 7, []),
        (403, "Forbidden: bot was kicked from the group chat", -100, []),
    ],
)
async def test_whoever_is_gone_is_told_of(
    api: Fixture, status: int, description: str, chat: int | str, told: list[int]
) -> None:
    bot, server, _ = api
    gone = []

    async def on_blocked(chat_id: int) -> None:
        gone.append(chat_id)

    bot.on_blocked = on_blocked
    server.script.append(refusal(status, description))
    with pytest.raises(Upstream) as caught:
        await bot.call("sendMessage", {"chat_id": chat, "text": "x"})
    assert caught.value.permanent
    assert gone == told


@pytest.mark.parametrize(
    ("method", "description"),
    [
        ("answerCallbackQuery", "Bad Request: query is too old and response timeout expired or query ID is invalid"),
        ("editMessageText", "Bad Request: message is not modified: specified new message content is the same"),
    ],
)
async def test_what_needs_no_doing_any_more_is_done(api: Fixture, method: str, description: str) -> None:
    bot, server, _ = api
    server.script.append(refusal(400, description))
    assert await bot.call(method, {"chat_id": 7}) is True


async def test_messages_keep_their_pace(api: Fixture) -> None:
    bot, server, clock = api
    for _ in range(5):
        await bot.call("sendMessage", {"chat_id": 7, "text": "x"})
    assert clock.slept == [3.0]
    for _ in range(5):
        await bot.call("answerCallbackQuery", {"callback_query_id": "1"})
    assert clock.slept == [3.0]
    assert len(server.calls) == 10


async def test_the_token_is_nowhere(api: Fixture) -> None:
    bot, server, _ = api
    server.script.append(refusal(404, "Not Found"))
    troubles = []
    for base in (server.url, "http://127.0.0.1:1", "http://[", "ftp://host"):
        bot.base = base
        try:
            await bot.call("sendMessage", {"chat_id": 7, "text": "x"})
        except Upstream as error:
            troubles.append(error)
    assert len(troubles) == 4
    for error in troubles:
        assert error.__context__ is None
        assert error.__cause__ is None
        shown = f"{error!r} {error} {''.join(traceback.format_exception(error))}"
        assert TOKEN.partition(":")[2] not in shown
    assert repr(bot) == "BotApi(bot 123456789)"
