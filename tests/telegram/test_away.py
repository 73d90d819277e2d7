"""The database is away, or users is: free work goes on, money waits with Telegram, the rest is told; then it heals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest

from service import errors
from service.telegram.webhook import PATH, SECRET_HEADER
from tests.cast import FRIEND, PAYER, STRANGER
from tests.outage import away
from tests.serving import SECRET, Served, message, pressed, serving, update_ids
from tests.telegram.trial import Trial
from tests.waiting import until

SORRY = {"en": "⚠️ Database temporarily unavailable", "ru": "⚠️ База временно недоступна"}


@pytest.fixture
async def trial(raw: asyncpg.Connection) -> Trial:
    made = Trial()
    await made.prepare(raw)
    await raw.close()
    return made


@pytest.fixture
async def served(database_url: str, trial: Trial) -> AsyncIterator[Served]:
    async with serving(database_url, features=trial.features) as running:
        yield running


def checkout(person: Any) -> dict[str, Any]:
    query = {"id": "q", "from": person.wire, "currency": "XTR", "total_amount": 1, "invoice_payload": "p"}
    return {"update_id": next(update_ids), "pre_checkout_query": query}


def blocked(person: Any, status: str = "kicked") -> dict[str, Any]:
    chat = {"id": person.user_id, "type": "private"}
    change = {"chat": chat, "from": person.wire, "new_chat_member": {"status": status}}
    return {"update_id": next(update_ids), "my_chat_member": change}


def paid(person: Any) -> dict[str, Any]:
    return message(person, "", successful_payment={"currency": "XTR", "total_amount": 20})


async def test_each_kind_of_route_does_what_it_declares(served: Served, database_url: str, trial: Trial) -> None:
    await served.says(PAYER, "/start")  # somebody who is remembered
    database = served.operations.database
    async with away(database_url):
        await until(lambda: not database.reachable)
        for person in (PAYER, STRANGER):
            assert (await served.says(person, "/look"))["text"].startswith("run "), "works without"
            assert (await served.says(person, "/effect"))["text"] == SORRY["en"]
            status, body = await served.post(checkout(person))
            assert (status, body["method"], body["ok"]) == (200, "answerPreCheckoutQuery", False)
            assert body["error_message"]
            assert (await served.post(paid(person)))[0] == 503
            assert (await served.post(blocked(person)))[0] == 503
        assert (await served.says(FRIEND, "/effect"))["text"] == SORRY["ru"]
        assert (await served.post(pressed(FRIEND, "language:en")))[1]["text"] == SORRY["ru"]
        assert await served.post({"update_id": next(update_ids), "poll": {}}) == (200, None)
        started = time.perf_counter()
        await served.says(STRANGER, "/start")
        assert time.perf_counter() - started < 1, "an answer of milliseconds, on a machine that may be busy"
        assert (await served.get("/health/live"))[0] == 200
        assert (await served.get("/health/ready"))[0] == 503
    await until(lambda: database.reachable)
    assert (await served.says(PAYER, "/effect"))["text"].startswith("run ")


async def test_a_503_tells_when_to_come_again(served: Served, database_url: str) -> None:
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        async with served.http.post(served.base + PATH, json=paid(PAYER), headers={SECRET_HEADER: SECRET}) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "3")
            assert (await response.json())["error"]["code"] == "database_away"


async def test_an_apology_is_not_remembered(served: Served, database_url: str) -> None:
    update = message(PAYER, "/effect")
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        assert (await served.post(update))[1]["text"] == SORRY["en"]
    await until(lambda: served.operations.database.reachable)
    assert (await served.post(update))[1]["text"].startswith("run ")


async def test_work_done_without_the_database_is_remembered(served: Served, database_url: str, trial: Trial) -> None:
    update = message(STRANGER, "/look")
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        first = await served.post(update)
    await until(lambda: served.operations.database.reachable)
    assert await served.post(update) == first
    assert trial.runs == 1


async def test_who_chose_a_language_hears_the_apology_in_it(database_url: str, raw: asyncpg.Connection) -> None:
    """Known by all his names: an update of the row would have him forgotten."""
    names = (PAYER.username, PAYER.first_name, PAYER.last_name, PAYER.language_code)
    await raw.execute("INSERT INTO users VALUES ($1, $2, $3, $4, $5, 'ru')", PAYER.user_id, *names)
    await raw.close()
    async with serving(database_url) as served:
        await served.says(PAYER, "/menu")
        async with away(database_url):
            await until(lambda: not served.operations.database.reachable)
            assert (await served.says(PAYER, "/language"))["text"] == SORRY["ru"]


async def test_a_failure_that_cannot_be_kept_is_sent_again(served: Served, database_url: str, trial: Trial) -> None:
    update = message(PAYER, "/look")
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        trial.errors = [RuntimeError("without the database"), RuntimeError("and again")]
        assert (await served.post(update))[0] == 503
        assert (await served.post(update))[0] == 503
        assert (await served.post(update))[0] == 200


async def test_a_replay_does_not_take_an_apology_for_success(served: Served, database_url: str) -> None:
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        with pytest.raises(errors.Unavailable):
            await served.operations.dispatcher.replay(orjson.dumps(message(PAYER, "/effect")))


async def test_a_stuck_statement_ends_within_the_budget(database_url: str, raw: asyncpg.Connection) -> None:
    trial = Trial()
    await trial.prepare(raw)
    async with serving(database_url, features=trial.features, DOOR_TIMEOUT="1") as served:
        await served.says(PAYER, "/start")
        await raw.execute("BEGIN; LOCK TABLE effects")
        started = time.perf_counter()
        body = await served.says(PAYER, "/effect")
        assert body["text"] == SORRY["en"]
        assert 0.9 < time.perf_counter() - started < 5
        await raw.execute("ROLLBACK")
        await until(lambda: _came_through(served))
    assert trial.runs == 1


async def _came_through(served: Served) -> bool:
    return (await served.says(PAYER, "/effect"))["text"].startswith("run ")


async def test_users_dropped_under_traffic_and_made_again(database_url: str, raw: asyncpg.Connection) -> None:
    trial = Trial()
    await trial.prepare(raw)
    async with serving(database_url, features=trial.features, PROBE_INTERVAL="1") as served:
        assert (await served.post(message(PAYER, "/read")))[0] == 200
        stop = asyncio.Event()
        seen: list[int] = []

        async def traffic() -> None:
            while not stop.is_set():
                person = {"id": 10_000 + len(seen), "is_bot": False, "first_name": "T"}
                update = message(PAYER, "/read")
                update["message"]["from"] = person
                seen.append((await served.post(update))[0])

        under_way = [asyncio.create_task(traffic()) for _ in range(4)]
        await raw.execute("ALTER TABLE users RENAME TO gone")
        await until(lambda: 503 in seen)
        assert (await served.get("/health/ready"))[0] == 503
        assert (await served.get("/health/live"))[0] == 200
        status, health = await served.get("/health")
        assert (status, health["status"]) == (503, "unhealthy")
        assert health["features"]["users"] == {
            "state": "off",
            "reason": "users table missing",
            "missing": ["users"],
        }
        assert (await served.post(checkout(PAYER)))[0] == 503
        assert (await served.post({"update_id": next(update_ids), "callback_query": {}}))[0] == 503
        await raw.execute("ALTER TABLE gone RENAME TO users")
        at = len(seen)
        await until(lambda: 200 in seen[at:])
        stop.set()
        await asyncio.gather(*under_way)
        assert (await served.get("/health/ready"))[0] == 200
        assert set(seen) <= {200, 503}
        assert (await served.says(PAYER, "/read"))["text"].startswith("run ")


async def test_a_user_deleted_meanwhile_is_made_again(database_url: str, raw: asyncpg.Connection) -> None:
    """Told nobody: the trigger is off, so the cache still believes in the row."""
    async with serving(database_url) as served:
        await served.says(PAYER, "/start")
        await raw.execute("ALTER TABLE users DISABLE TRIGGER USER")
        await raw.execute("DELETE FROM users")
        status, body = await served.post(pressed(PAYER, "language:ru"))
        assert (status, body["method"], body["text"]) == (200, "editMessageText", "Теперь по-русски.")
    assert await raw.fetchval("SELECT language FROM users WHERE user_id = $1", PAYER.user_id) == "ru"
