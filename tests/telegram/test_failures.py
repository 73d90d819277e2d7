"""Poison: an update that cannot be handled is kept whole and stops blocking its sender. Money is never let go."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any

import asyncpg
import orjson
import pytest

from service import errors, payments
from service.feature import Feature
from service.features import FEATURES
from service.telegram import dispatch
from service.telegram.router import Router
from service.telegram.webhook import PATH, SECRET_HEADER
from tests.cast import PAYER
from tests.serving import SECRET, Served, message, serving, update_ids
from tests.telegram.trial import Trial


@pytest.fixture
async def trial(raw: asyncpg.Connection) -> Trial:
    made = Trial()
    await made.prepare(raw)
    return made


def paid(**more: Any) -> dict[str, Any]:
    payment = {"currency": "XTR", "total_amount": 20, "invoice_payload": "p", "telegram_payment_charge_id": "c"}
    update = message(PAYER, "", successful_payment=payment)
    update["message"] |= more
    return update


async def failed(raw: asyncpg.Connection, update: dict[str, Any]) -> asyncpg.Record | None:
    return await raw.fetchrow("SELECT * FROM failed_updates WHERE update_id = $1", update["update_id"])


async def statuses(served: Served, update: dict[str, Any], times: int) -> list[int]:
    return [(await served.post(update))[0] for _ in range(times)]


async def test_what_fails_three_times_is_parked_whole_and_mended_by_a_replay(
    database_url: str, raw: asyncpg.Connection, trial: Trial
) -> None:
    trial.errors = [ZeroDivisionError("a\0b" + "x" * 5_000) for _ in range(4)]
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        assert await statuses(served, update, 3) == [500, 500, 200]
        row = await failed(raw, update)
        assert row is not None
        assert (row["attempts"], row["bot_id"], json.loads(row["body"])) == (3, 4242, update)
        assert row["error"].startswith("ZeroDivisionError: abx")
        assert len(row["error"]) == 500
        assert row["parked_at"] is not None
        assert await statuses(served, update, 1) == [200], "acknowledged, and not tried again"
        assert trial.runs == 3
        dispatcher = served.operations.dispatcher
        assert (await dispatcher.replay(row["body"])).result == "parked", "it failed once more"
        answer = await dispatcher.replay(row["body"])
        assert (answer.result, json.loads(answer.body)["text"]) == ("handled", "run 5 in en")
        again = await dispatcher.replay(row["body"])
        assert again.body == answer.body
    assert await raw.fetchval("SELECT count(*) FROM effects") == 1


async def test_half_a_character_in_an_error_does_not_keep_it_from_being_kept(
    database_url: str, raw: asyncpg.Connection, trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # pytest-xdist cannot carry half a character
    trial.errors = [RuntimeError("half \udcff")]
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        assert await statuses(served, update, 1) == [500]
    row = await failed(raw, update)
    assert row is not None
    assert row["error"] == "RuntimeError: half ?"


async def test_an_update_that_mends_itself_is_not_parked(
    database_url: str, raw: asyncpg.Connection, trial: Trial
) -> None:
    trial.errors = [RuntimeError(), RuntimeError()]
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        assert await statuses(served, update, 4) == [500, 500, 200, 200]
    row = await failed(raw, update)
    assert row is not None
    assert (row["attempts"], row["parked_at"]) == (2, None)


async def test_one_persons_poison_is_nobody_elses(database_url: str, trial: Trial) -> None:
    trial.errors = [RuntimeError()]
    async with serving(database_url, features=trial.features) as served:
        assert await statuses(served, message(PAYER, "/effect"), 1) == [500]
        assert (await served.says(PAYER, "/help"))["method"] == "sendMessage"


async def test_without_a_table_poison_is_counted_logged_and_let_go(
    database_url: str, raw: asyncpg.Connection, trial: Trial, caplog: pytest.LogCaptureFixture
) -> None:
    await raw.execute("DROP TABLE failed_updates")
    trial.errors = [RuntimeError() for _ in range(3)]
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        with caplog.at_level(logging.ERROR):
            assert await statuses(served, update, 4) == [500, 500, 200, 200]
    assert caplog.messages.count("no table to keep a failed update in") == 3


async def test_a_table_dropped_under_traffic_is_noticed_by_the_next_failure(
    database_url: str, raw: asyncpg.Connection, trial: Trial
) -> None:
    trial.errors = [RuntimeError() for _ in range(4)]
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        await served.operations.switchboard.refresh()  # the next look that nobody asks for is seconds away
        await raw.execute("DROP TABLE failed_updates")
        assert await statuses(served, update, 4) == [503, 500, 500, 200]
        assert served.operations.switchboard.states["failed_updates"].state == "off"


async def test_a_failure_that_cannot_be_kept_in_time_is_sent_again(
    database_url: str, raw: asyncpg.Connection, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "LAST_WORD_S", 0.2)
    trial.errors = [RuntimeError()]
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        await raw.execute("BEGIN; LOCK TABLE failed_updates")
        assert await statuses(served, update, 1) == [503]
        await raw.execute("ROLLBACK")
        assert await statuses(served, update, 1) == [200]


def refusing(error: Exception) -> list[Feature]:
    """Everything, but for money's handler, which always raises this."""

    async def refuse(_ctx: Any, _update: Any) -> Any:
        raise error

    router = Router()
    router.kind("money", when_away="retry")(refuse)
    return [replace(one, router=router) if one is payments.TELEGRAM else one for one in FEATURES]


async def test_money_is_parked_whole(database_url: str, raw: asyncpg.Connection) -> None:
    update = paid()
    async with serving(database_url, features=refusing(errors.ServiceError("no"))) as served:
        assert await statuses(served, update, 4) == [500, 500, 200, 200]
    row = await failed(raw, update)
    assert row is not None
    assert json.loads(row["body"]) == update
    assert row["error"] == "ServiceError: no"


async def test_money_is_never_let_go_without_a_table(database_url: str, raw: asyncpg.Connection) -> None:
    async with serving(database_url, features=refusing(errors.ServiceError("no"))) as served:
        await raw.execute("DROP TABLE failed_updates")
        await served.operations.switchboard.refresh()
        assert set(await statuses(served, paid(), 6)) == {500}
        assert set(await statuses(served, paid(chat=None), 3)) == {503}, "not understood, but it may be money"
        nobody = paid()
        del nobody["message"]["from"]
        assert set(await statuses(served, nobody, 3)) == {503}


@pytest.mark.parametrize("error", [errors.Invalid("no"), errors.Conflict("no"), RuntimeError("no")])
async def test_no_error_of_a_handler_lets_money_go(
    database_url: str, raw: asyncpg.Connection, error: Exception
) -> None:
    update = paid()
    async with serving(database_url, features=refusing(error)) as served:
        assert await statuses(served, update, 3) == [500, 500, 200]
    assert await failed(raw, update) is not None


@pytest.mark.parametrize("sender", [None, {"id": 1087968824, "is_bot": True, "first_name": "Group"}])
async def test_money_of_nobody_is_parked_at_once(
    served: Served, raw: asyncpg.Connection, sender: dict[str, Any] | None
) -> None:
    update = paid()
    del update["message"]["from"]
    if sender:
        update["message"]["from"] = sender
    assert await statuses(served, update, 2) == [200, 200]
    row = await failed(raw, update)
    assert row is not None
    assert row["parked_at"] is not None


async def test_what_cannot_be_decoded_is_parked_at_once(served: Served, raw: asyncpg.Connection) -> None:
    number = next(update_ids)
    body = orjson.dumps({"update_id": number, "callback_query": {"id": "no sender"}})
    async with served.http.post(served.base + PATH, data=body, headers={SECRET_HEADER: SECRET}) as response:
        assert (response.status, await response.read()) == (200, b"")
    row = await failed(raw, {"update_id": number})
    assert row is not None
    assert (row["body"], row["attempts"]) == (body, 1)
    assert row["error"].startswith("Undecodable: ")
    assert row["parked_at"] is not None


async def test_what_cannot_be_decoded_is_let_go_without_a_table(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("DROP TABLE failed_updates")
    await served.operations.switchboard.refresh()
    assert await statuses(served, {"update_id": next(update_ids), "callback_query": {}}, 1) == [200]


async def test_copies_of_a_failing_update_are_one_attempt(
    database_url: str, raw: asyncpg.Connection, trial: Trial
) -> None:
    trial.errors = [RuntimeError()]
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        answers = await asyncio.gather(*(served.post(update) for _ in range(10)))
    assert sorted({status for status, _ in answers}) in ([500], [200, 500], [500, 503])
    row = await failed(raw, update)
    assert row is not None
    assert row["attempts"] == 1
