"""GET /admin/tail: a stream that can be resumed, filtered, bounded and ended; or a page."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import asyncpg
import pytest

from service import app as composition
from service.feature import Event
from service.ops import streaming
from service.ops.streaming import STREAMS
from tests.cast import FRIEND, PAYER
from tests.features.tail.watching import GUARDED, keep, listening, page
from tests.outage import away
from tests.serving import ADMIN_TOKEN, Served, config_for, serving
from tests.serving import listening as port_of
from tests.waiting import until

STARTED = Event("started", PAYER.user_id)


def generation(user_id: int, model_id: str = "qr") -> Event:
    return Event("generation", user_id, {"status": "success", "model_id": model_id, "price_rub": 0})


async def test_what_happens_is_sent_at_once(served: Served) -> None:
    async with listening(served) as listener:
        started = time.monotonic()
        await keep(served, generation(PAYER.user_id))
        event = await listener.next()
        assert time.monotonic() - started < 1, "by the bell, before the next look"
    assert event.pop("at")
    assert ":" in event.pop("instance")
    assert event == {
        "id": "1",
        "cursor": "1",
        "name": "generation",
        "user_id": PAYER.user_id,
        "model_id": "qr",
        "told": {"status": "success", "price_rub": 0},
    }


async def test_from_another_instance(served: Served, database_url: str) -> None:
    async with serving(database_url) as other, listening(served) as listener:
        await keep(other, STARTED)
        assert (await listener.next())["name"] == "started"


async def test_without_notifications_it_is_seen_within_the_second(served: Served, raw: asyncpg.Connection) -> None:
    async with listening(served) as listener:
        await raw.execute(
            "INSERT INTO tail_events (key, name, instance, happened_at)"
            " VALUES (gen_random_uuid(), 'started', 'a', now())"
        )
        assert (await listener.next(within=3))["instance"] == "a"


async def test_it_is_resumed_where_it_was(served: Served) -> None:
    await keep(served, *[generation(user_id) for user_id in (1, 2, 3, 4)])
    async with listening(served, "?after=1") as listener:
        assert [(await listener.next())["user_id"] for _ in range(3)] == [2, 3, 4]
    async with listening(served, "?after=0", **{"Last-Event-ID": "3"}) as listener:
        assert (await listener.next())["id"] == "4", "a browser comes back with the address that it began with"
    async with listening(served) as listener:
        await keep(served, generation(5))
        assert (await listener.next())["user_id"] == 5, "without a cursor it begins now"


async def test_filters(served: Served) -> None:
    events = [generation(PAYER.user_id), generation(FRIEND.user_id, "card"), STARTED, Event("started", FRIEND.user_id)]
    await keep(served, *events)

    async def names(query: str) -> list[tuple[str, int]]:
        return [(one["name"], one["user_id"]) for one in (await page(served, query))[1]["items"]]

    assert await names("?name=started") == [("started", PAYER.user_id), ("started", FRIEND.user_id)]
    assert len(await names("?name=started,generation")) == 4
    assert await names(f"?user_id={FRIEND.user_id}&name=generation") == [("generation", FRIEND.user_id)]
    assert await names("?model=card&after=0") == [("generation", FRIEND.user_id)]
    async with listening(served, f"?after=0&user_id={FRIEND.user_id}") as listener:
        assert [(await listener.next())["id"] for _ in range(2)] == ["2", "4"]


async def test_pages(served: Served) -> None:
    await keep(served, *[generation(number) for number in range(1, 6)])
    _, first = await page(served, "?after=0&limit=2")
    assert [one["user_id"] for one in first["items"]] == [1, 2]
    _, second = await page(served, f"?after={first['next']}&limit=500")
    assert [one["user_id"] for one in second["items"]] == [3, 4, 5]
    assert (await page(served, f"?after={second['next']}"))[1] == {"items": [], "next": "5"}
    _, last = await page(served, "?limit=2")
    assert ([one["user_id"] for one in last["items"]], last["next"]) == ([4, 5], "5")


@pytest.mark.parametrize("query", ["?after=x", "?after=-1", "?user_id=me", "?limit=0", "?after=99999999999999999999"])
async def test_nonsense_is_refused(served: Served, query: str) -> None:
    assert (await page(served, query))[0] == 400


async def test_nonsense_is_refused_before_a_stream_begins(served: Served) -> None:
    headers = {**GUARDED, "Last-Event-ID": "x"}
    async with served.http.get(f"{served.base}/admin/tail", headers=headers) as response:
        assert response.status == 400
    async with served.http.get(f"{served.base}/admin/tail") as response:
        assert response.status == 401


async def test_it_lives_through_an_outage(served: Served, database_url: str, raw: asyncpg.Connection) -> None:
    await raw.close()
    async with listening(served) as listener:
        async with away(database_url):
            await until(lambda: not served.operations.database.reachable)
        await until(lambda: served.operations.database.reachable, within=15)
        await keep(served, STARTED)
        assert (await listener.next())["name"] == "started"


async def test_a_silent_stream_beats(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.0)
    async with listening(served) as listener, asyncio.timeout(5):
        assert await listener.response.content.readuntil(b"\n\n") == b":\n\n"


async def test_only_so_many_listen(served: Served, monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setattr(streaming.Streams.__init__, "__defaults__", (1,))
    async with serving(database_url) as few:
        async with listening(few):
            headers = {**GUARDED, "Accept": "text/event-stream"}
            async with few.http.get(f"{few.base}/admin/tail", headers=headers) as response:
                assert (response.status, (await response.json())["error"]["code"]) == (503, "too_many_listeners")
            assert (await page(few))[0] == 200
        async with asyncio.timeout(5):
            while True:
                async with few.http.get(f"{few.base}/admin/tail", headers=headers) as response:
                    if response.status == 200:
                        return


async def test_a_stop_ends_it_at_once(database_url: str) -> None:
    app = composition.build(config_for(database_url))
    async with aiohttp.ClientSession() as http:
        async with port_of(app) as base:
            await until(lambda: app[composition.ASSEMBLY].operations.switchboard.probed_at, within=30)
            headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
            response = await http.get(f"{base}/admin/tail", headers=headers)
            assert response.status == 200
            await until(lambda: len(app[STREAMS]) == 1)
            started = time.monotonic()
        assert len(app[STREAMS]) == 0
        assert time.monotonic() - started < 10, "the jobs of a stop may take a while, the stream none"
        async with asyncio.timeout(1):
            while await response.content.readline():
                pass


async def test_who_reads_nothing_holds_no_memory_and_is_let_go(
    served: Served, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page at a time, and no more than the sockets take; then he is cut off."""
    monkeypatch.setattr(streaming, "SLOW_S", 0.5)
    await raw.execute(
        "INSERT INTO tail_events (key, name, instance, told, happened_at)"
        " SELECT gen_random_uuid(), 'started', 'a', jsonb_build_object('x', repeat('x', 5000)), now()"
        " FROM generate_series(1, 20000)"
    )
    host, port = served.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1)
    writer.write(f"GET /admin/tail?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
    await writer.drain()
    await until(lambda: reader._buffer)  # type: ignore[attr-defined]
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(20):
            while True:  # the client's side breaks when the other has cut it
                writer.write(b"\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
