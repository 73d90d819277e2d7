"""Broadcasts as operators ask for them, and how each recipient is served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from service.errors import Unavailable
from service.features.broadcasts import sending
from service.features.broadcasts.sending import give_up_lost, send_broadcasts
from service.telegram import pacing
from service.telegram.pacing import Limit
from tests.features.broadcasts import town
from tests.payments.operators.desk import Desk, code
from tests.serving import serving, telegram
from tests.waiting import until

PATH = "/admin/broadcasts"
COUNTS = "SELECT status, count(*) FROM broadcast_recipients GROUP BY status"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for Telegram's limits, which the sandbox has not."""
    monkeypatch.setattr(sending, "PACE", timedelta(milliseconds=1))
    monkeypatch.setattr(pacing, "OVERALL", Limit(100_000, 1.0))


@asynccontextmanager
async def bot(database_url: str, count: int = 5, **settings: str) -> AsyncIterator[tuple[Desk, Any, Any]]:
    """The operator's desk, the sandbox, and the rooms. Jobs run when a test says so."""
    users = town.people(count)
    async with (
        telegram(users=users) as (sandbox, base),
        serving(database_url, TELEGRAM_API_BASE=base, **settings) as served,
    ):
        town.meet(sandbox)
        await served.operations.jobs.stop()
        yield Desk(served), sandbox, served.operations.switchboard.mounted.rooms


async def run(rooms: Any, desk: Desk, broadcast_id: str, ends: str = "done", within: int = 200) -> Any:
    """Step by step until it ends."""
    for _ in range(within):
        status, told = await desk.get(f"{PATH}/{broadcast_id}")
        assert status == 200
        if told["status"] == ends:
            return told
        await send_broadcasts(rooms)
    raise AssertionError(f"it is {told}")


async def test_each_reads_it_once(database_url: str, raw: Any) -> None:
    await town.settle(raw, 60)
    async with bot(database_url, 60) as (desk, sandbox, rooms):
        gone = town.block(sandbox, 10)
        button = {"text": "Look", "url": "https://example.org/news"}
        status, told = await desk.post(PATH, {"text": "News!", "button": button}, "k")
        assert (status, told["status"], told["recipients"]["queued"]) == (200, "gathering", 0)
        again = await desk.post(PATH, {"text": "News!", "button": button}, "k")
        assert again == (200, told), "one key, one broadcast"
        told = await run(rooms, desk, told["broadcast_id"])
        assert (told["recipients"]["sent"], told["recipients"]["blocked"]) == (54, 6)
        assert town.read(sandbox, "News!") == dict.fromkeys(set(town.ids(60)) - gone, 1)
        shown = next(message for message in sandbox.people[1].chat if message.text == "News!")
        assert shown.buttons[0]["url"] == button["url"]
        inactive = await raw.fetch("SELECT user_id FROM users WHERE NOT is_active")
        assert {row["user_id"] for row in inactive} == gone
        status, page = await desk.get(PATH)
        assert (len(page["items"]), page["next"]) == (1, None)
        status, log = await desk.get("/admin/log")
        assert [(one["what"], one["subject"]) for one in log["items"]] == [
            ("broadcast", f"broadcast:{told['broadcast_id']}")
        ]


@pytest.mark.parametrize(
    ("segment", "meant"),
    [
        ({}, {0, 1, 2, 4}),
        ({"active": None}, {0, 1, 2, 3, 4}),
        ({"active": False}, {3}),
        ({"language": "ru"}, {0, 2}),
        ({"language": "en"}, {1, 4}),
        ({"paid": True}, {1}),
        ({"paid": False, "language": "ru"}, {0, 2}),
        ({"since_days": 2}, {0, 1, 4}),
    ],
)
async def test_a_segment(database_url: str, raw: Any, segment: Any, meant: set[int]) -> None:
    await raw.execute(
        """
        INSERT INTO users (user_id, language_code, language, is_active, created_at) VALUES
            ($1, 'RU-ru', NULL, true, now() - interval '1 day'), ($1 + 1, NULL, NULL, true, now() - interval '1 day'),
            ($1 + 2, 'en', 'ru', true, now() - interval '3 day'), ($1 + 3, 'en', NULL, false, now() - interval '3 day'),
            ($1 + 4, 'ru', 'en', true, now() - interval '1 day'), (4503599627370496, 'en', NULL, true, now())
        """,
        town.FIRST,
    )
    await raw.execute(
        """
        INSERT INTO payments (payment_id, user_id, provider, status, amount, credit_rub, pack_id, expires_at,
            settled_at)
        VALUES (gen_random_uuid(), $1, 'yookassa', 'succeeded', 5, 5, 'p', now(), now()),
            (gen_random_uuid(), $1 + 1, 'yookassa', 'canceled', 5, 5, 'p', now(), NULL)
        """,
        town.FIRST + 1,
    )
    async with bot(database_url) as (desk, sandbox, rooms):
        _, told = await desk.post(PATH, {"text": "News!", "segment": segment})
        await run(rooms, desk, told["broadcast_id"])
        assert {user_id - town.FIRST for user_id in town.read(sandbox, "News!")} == meant


@pytest.mark.parametrize(
    "body",
    [
        {}, {"text": ""}, {"text": " "}, {"text": "x" * 4097}, {"text": "🎉" * 2049}, {"text": "a\0"}, {"text": 5},
        {"text": "x", "segment": {"language": "de"}}, {"text": "x", "segment": {"everybody": True}},
        {"text": "x", "segment": {"since_days": 0}}, {"text": "x", "button": {"text": "y"}},
        {"text": "x", "button": {"text": "y", "url": "javascript:1"}}, {"text": "x", "more": 1}, b"{", b"[]",
    ],
)  # fmt: skip
async def test_what_is_no_broadcast(database_url: str, raw: Any, body: Any) -> None:
    async with bot(database_url) as (desk, _, _rooms):
        assert code(await desk.post(PATH, body)) == (400, "invalid")
        assert code(await desk.post(PATH, {"text": "x"}, None)) == (400, "invalid"), "without a key"
    assert await raw.fetchval("SELECT count(*) FROM broadcasts") == 0
    assert await raw.fetchval("SELECT count(*) FROM admin_log") == 0


async def test_cancelled_and_resumed(database_url: str, raw: Any) -> None:
    await town.settle(raw, 100)
    async with bot(database_url, 100) as (desk, sandbox, rooms):
        _, told = await desk.post(PATH, {"text": "News!"})
        one = f"{PATH}/{told['broadcast_id']}"
        for _ in range(3):
            await send_broadcasts(rooms)
        status, told = await desk.post(f"{one}/cancel", {})
        assert (status, told["status"]) == (200, "cancelled")
        so_far = town.read(sandbox, "News!").total()
        assert 0 < so_far < 100
        assert await send_broadcasts(rooms) == {}
        assert code(await desk.post(f"{one}/cancel", {})) == (409, "conflict")
        assert town.read(sandbox, "News!").total() == so_far
        status, told = await desk.post(f"{one}/resume", {})
        assert (status, told["status"]) == (200, "sending")
        told = await run(rooms, desk, told["broadcast_id"])
        assert town.read(sandbox, "News!") == dict.fromkeys(town.ids(100), 1)
        assert code(await desk.post(f"{one}/resume", {})) == (409, "conflict")
        assert code(await desk.post(f"{PATH}/{'0' * 32}/resume", {})) == (404, "not_found")
        assert code(await desk.post(f"{PATH}/nonsense/cancel", {})) == (404, "not_found")


async def test_a_429_is_obeyed(database_url: str, raw: Any) -> None:
    """What Telegram did not take is queued again, and nobody is written to before the silence is over."""
    await town.settle(raw, 30)
    async with bot(database_url, 30) as (desk, sandbox, rooms):
        _, told = await desk.post(PATH, {"text": "News!"})
        await send_broadcasts(rooms)
        sandbox.faults.flood("sendMessage", retry_after=60, times=25)
        with pytest.raises(Unavailable):
            await send_broadcasts(rooms)
        assert town.statuses(await raw.fetch(COUNTS)) == {"queued": 30}
        left = await raw.fetchval("SELECT next_at - now() FROM broadcasts")
        assert timedelta(seconds=50) < left <= timedelta(seconds=60)
        calls = len(sandbox.calls.of("sendMessage"))
        assert await send_broadcasts(rooms) == {}
        assert len(sandbox.calls.of("sendMessage")) == calls
        await raw.execute("UPDATE broadcasts SET next_at = now()")
        for chat in town.ids(30):
            rooms.of(sending.BotApi).pacing.silence(chat, 0)
        rooms.of(sending.BotApi).pacing._silent.clear()  # the minute is over
        await run(rooms, desk, told["broadcast_id"])
        assert town.read(sandbox, "News!") == dict.fromkeys(town.ids(30), 1)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"status": 400, "description": "Bad Request: message is too long"}, "failed"),
        ({"status": 403}, "blocked"),
        ({"status": 400, "description": "Bad Request: chat not found"}, "blocked"),
        ({"status": 500}, "unknown"),
        ({"status": 401, "description": "Unauthorized"}, "queued"),
    ],
)
async def test_what_a_refusal_means(database_url: str, raw: Any, fault: Any, outcome: str) -> None:
    await town.settle(raw, 2)
    async with bot(database_url, 2) as (desk, sandbox, rooms):
        await desk.post(PATH, {"text": "News!"})
        await send_broadcasts(rooms)
        sandbox.faults.fail("sendMessage", **fault)
        await send_broadcasts(rooms)
        assert town.statuses(await raw.fetch(COUNTS)) == {outcome: 1, "sent": 1}


async def test_an_answer_that_is_lost_is_not_asked_for_twice(database_url: str, raw: Any) -> None:
    await town.settle(raw, 1)
    async with bot(database_url, 1) as (desk, sandbox, rooms):
        _, told = await desk.post(PATH, {"text": "News!"})
        await send_broadcasts(rooms)
        sandbox.faults.drop("sendMessage")
        await send_broadcasts(rooms)
        told = await run(rooms, desk, told["broadcast_id"])
        assert told["recipients"]["unknown"] == 1
        assert town.read(sandbox, "News!").total() == 0


async def test_what_a_dead_process_claimed_is_unknown(database_url: str, raw: Any) -> None:
    await town.settle(raw, 3)
    async with bot(database_url, 3) as (desk, sandbox, rooms):
        _, told = await desk.post(PATH, {"text": "News!"})
        await send_broadcasts(rooms)
        await raw.execute(
            "UPDATE broadcast_recipients SET status = 'sending', claimed_at = now() - interval '1 minute'"
            " WHERE user_id = $1",
            town.FIRST,
        )
        assert await give_up_lost(rooms) == {"unknown": 0}, "it may be at it"
        await raw.execute(
            "UPDATE broadcast_recipients SET claimed_at = now() - interval '3 minutes' WHERE status = 'sending'"
        )
        assert await give_up_lost(rooms) == {"unknown": 1}
        await run(rooms, desk, told["broadcast_id"])
        assert town.read(sandbox, "News!") == {town.FIRST + 1: 1, town.FIRST + 2: 1}


async def test_one_after_another_and_by_many(database_url: str, raw: Any) -> None:
    """Several instances at work, two broadcasts: each person once of each, and never two batches in one moment."""
    await town.settle(raw, 120)
    async with bot(database_url, 120) as (desk, sandbox, rooms):
        for text in ("First", "Second"):
            await desk.post(PATH, {"text": text})

        async def work() -> None:
            while await raw_open(desk):
                await send_broadcasts(rooms)

        await asyncio.gather(*(work() for _ in range(4)))
        for text in ("First", "Second"):
            assert town.read(sandbox, text) == dict.fromkeys(town.ids(120), 1)
        order = [call.params["text"] for call in sandbox.calls.of("sendMessage")]
        assert order == ["First"] * 120 + ["Second"] * 120


async def raw_open(desk: Desk) -> bool:
    _, page = await desk.get(PATH)
    return any(one["status"] in ("gathering", "sending") for one in page["items"])


async def test_the_pace_is_one_for_all(database_url: str, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PACE", timedelta(hours=1))
    monkeypatch.setattr(sending, "WAITS_S", 0.0)
    await town.settle(raw, 60)
    async with bot(database_url, 60) as (desk, sandbox, rooms):
        await desk.post(PATH, {"text": "News!"})
        await send_broadcasts(rooms)
        await asyncio.gather(*(send_broadcasts(rooms) for _ in range(4)))
        assert await send_broadcasts(rooms) == {}
        assert town.read(sandbox, "News!").total() == sending.BATCH == 25


async def test_a_job_of_the_loop_does_it(database_url: str, raw: Any) -> None:
    await town.settle(raw, 3)
    async with (
        telegram(users=town.people(3)) as (sandbox, base),
        serving(database_url, TELEGRAM_API_BASE=base) as served,
    ):
        town.meet(sandbox)
        await Desk(served).post(PATH, {"text": "News!"})
        await until(lambda: town.read(sandbox, "News!").total() == 3, within=15)
