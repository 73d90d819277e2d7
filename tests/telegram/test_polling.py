import asyncio
from collections.abc import AsyncIterator, Callable

import orjson
import pytest

from service.errors import DatabaseAway, Upstream
from service.telegram.client import BotApi
from service.telegram.polling import Polling
from tests.telegram.scripted import BotApiServer, HandClock, bot_api, ok, refusal

Fixture = tuple[BotApi, BotApiServer, HandClock]
NO_WEBHOOK = ok({"url": ""})


@pytest.fixture
async def api() -> AsyncIterator[Fixture]:
    async with bot_api() as parts:
        yield parts


class Handler:
    """Remembers the updates it handled; fails at those it was told to, once for each error."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.troubles: dict[int, list[Exception]] = {}
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, body: bytes) -> None:
        self.begun.set()
        await self.may_end.wait()
        update_id = orjson.loads(body)["update_id"]
        if self.troubles.get(update_id):
            raise self.troubles[update_id].pop(0)
        self.seen.append(update_id)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)


def polling(api: Fixture, handler: Handler) -> tuple[Polling, asyncio.Task[None]]:
    bot, _, clock = api
    door = Polling(bot, handler, allowed_updates=("message",), sleep=clock.sleep)
    return door, asyncio.create_task(door.run())


def offsets(server: BotApiServer) -> list[int | None]:
    return [params.get("offset") for method, params in server.calls if method == "getUpdates"]


async def finish(door: Polling, task: asyncio.Task[None], server: BotApiServer) -> None:
    door.stop()
    server.held.set()
    await asyncio.wait_for(task, 10)


async def test_updates_are_handled_in_order_and_confirmed_after(api: Fixture) -> None:
    _, server, _ = api
    server.script.extend([NO_WEBHOOK, ok([{"update_id": 5}, {"update_id": 6}]), ok([{"update_id": 9}])])
    handler = Handler()
    door, task = polling(api, handler)
    await until(lambda: len(server.calls) == 4)
    assert handler.seen == [5, 6, 9]
    assert offsets(server) == [None, 7, 10]
    assert server.calls[1][1] == {"timeout": 25, "allowed_updates": ["message"]}
    await finish(door, task, server)
    assert server.methods().count("deleteWebhook") == 0


async def test_a_webhook_that_is_set_is_removed_first(api: Fixture) -> None:
    _, server, _ = api
    server.script.append(ok({"url": "https://bot.example.org"}))
    door, task = polling(api, Handler())
    await until(lambda: len(server.calls) == 3)
    assert server.methods() == ["getWebhookInfo", "deleteWebhook", "getUpdates"]
    assert server.calls[1][1] == {"drop_pending_updates": False}
    await finish(door, task, server)


@pytest.mark.parametrize("trouble", [DatabaseAway(), RuntimeError("a fault of ours")])
async def test_what_was_not_stored_is_fetched_again(api: Fixture, trouble: Exception) -> None:
    _, server, clock = api
    both = ok([{"update_id": 5}, {"update_id": 6}])
    server.script.extend([NO_WEBHOOK, both, both, both])
    handler = Handler()
    handler.troubles = {5: [trouble, trouble]}
    door, task = polling(api, handler)
    await until(lambda: len(server.calls) == 5)
    assert handler.seen == [5, 6]
    assert offsets(server) == [None, None, None, 7]
    assert clock.slept == [0.5, 1.0]
    await finish(door, task, server)


async def test_what_came_before_the_trouble_is_not_fetched_again(api: Fixture) -> None:
    _, server, _ = api
    server.script.extend([NO_WEBHOOK, ok([{"update_id": 5}, {"update_id": 6}]), ok([{"update_id": 6}])])
    handler = Handler()
    handler.troubles = {6: [DatabaseAway()]}
    door, task = polling(api, handler)
    await until(lambda: len(server.calls) == 4)
    assert handler.seen == [5, 6]
    assert offsets(server) == [None, 6, 7]
    await finish(door, task, server)


async def test_another_poller_is_waited_for(api: Fixture) -> None:
    _, server, clock = api
    server.script.extend([NO_WEBHOOK, refusal(409, "Conflict"), ok([{"update_id": 5}])])
    handler = Handler()
    door, task = polling(api, handler)
    await until(lambda: handler.seen == [5])
    assert clock.slept == [0.5]
    await finish(door, task, server)


async def test_a_start_without_a_network_is_tried_again(api: Fixture) -> None:
    _, server, clock = api
    away = [refusal(502, "Bad Gateway")] * 3  # as often as the client itself tries
    server.script.extend([*away, NO_WEBHOOK, ok([{"update_id": 5}])])
    handler = Handler()
    door, task = polling(api, handler)
    await until(lambda: handler.seen == [5])
    assert clock.slept[-1] == 0.5
    await finish(door, task, server)


async def test_a_wrong_token_ends_it(api: Fixture) -> None:
    _, server, _ = api
    server.script.append(refusal(401, "Unauthorized"))
    _, task = polling(api, Handler())
    with pytest.raises(Upstream, match="401"):
        await asyncio.wait_for(task, 10)


async def test_stop_breaks_off_a_long_poll(api: Fixture) -> None:
    _, server, _ = api
    server.script.append(NO_WEBHOOK)
    door, task = polling(api, Handler())
    await until(lambda: len(server.calls) == 2)
    door.stop()
    await asyncio.wait_for(task, 10)
    assert offsets(server) == [None]


async def test_stop_lets_the_update_under_way_finish_and_leaves_the_rest(api: Fixture) -> None:
    _, server, _ = api
    server.script.extend([NO_WEBHOOK, ok([{"update_id": 5}, {"update_id": 6}])])
    handler = Handler()
    handler.may_end.clear()
    door, task = polling(api, handler)
    await asyncio.wait_for(handler.begun.wait(), 10)
    door.stop()
    handler.may_end.set()
    server.held.set()
    await asyncio.wait_for(task, 10)
    assert handler.seen == [5]
    assert offsets(server) == [None, 6], "5 is confirmed, 6 stays with Telegram"
    assert server.calls[-1][1]["timeout"] == 0
