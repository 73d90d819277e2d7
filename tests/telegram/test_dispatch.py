"""An update has its effect once, and its copies get the same answer: at the same time, later, and elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson
import pytest

from service import errors
from service.telegram.dispatch import Answer
from tests.cast import FRIEND, PAYER, STRANGER
from tests.serving import Served, message, serving
from tests.telegram.trial import BUTTON, Trial

COPIES = 50


@pytest.fixture
async def trial(raw: asyncpg.Connection) -> Trial:
    made = Trial()
    await made.prepare(raw)
    return made


async def effects_of(raw: asyncpg.Connection, update: dict[str, Any]) -> int:
    return int(await raw.fetchval("SELECT count(*) FROM effects WHERE update_id = $1", update["update_id"]))


async def answer_of(served: Served, update: dict[str, Any]) -> Answer:
    return await served.operations.dispatcher.answer(orjson.dumps(update))


async def test_copies_at_the_same_time_through_two_processes_have_one_effect(
    database_url: str, raw: asyncpg.Connection, trial: Trial
) -> None:
    update = message(PAYER, "/effect")
    async with (
        serving(database_url, features=trial.features) as one,
        serving(database_url, features=trial.features) as other,
    ):
        answers = await asyncio.gather(*(served.post(update) for served in (one, other) * (COPIES // 2)))
    assert [status for status, _ in answers] == [200] * COPIES
    assert {str(body) for _, body in answers} == {str(answers[0][1])}
    assert answers[0][1]["text"].startswith("run ")
    assert await effects_of(raw, update) == 1


async def test_without_a_table_of_claims_memory_still_knows_the_copies(
    database_url: str, raw: asyncpg.Connection, trial: Trial
) -> None:
    await raw.execute("DROP TABLE processed_updates")
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        answers = await asyncio.gather(*(served.post(update) for _ in range(COPIES)))
        later = await served.post(update)
    assert answers == [later] * COPIES
    assert await effects_of(raw, update) == 1


async def test_a_new_process_gives_the_stored_answer(database_url: str, raw: asyncpg.Connection, trial: Trial) -> None:
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        first = await served.post(update)
    async with serving(database_url, features=trial.features) as served:
        assert await served.post(update) == first
        assert await served.post(update) == first
    assert (trial.runs, await effects_of(raw, update)) == (1, 1)


async def test_a_claim_rolls_back_with_its_effect(database_url: str, raw: asyncpg.Connection, trial: Trial) -> None:
    trial.errors = [RuntimeError("after the effect")]
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        assert (await served.post(update))[0] == 500
        assert await effects_of(raw, update) == 0
        assert await raw.fetchval("SELECT count(*) FROM processed_updates") == 0
        assert (await served.post(update))[0] == 200
    assert await effects_of(raw, update) == 1


@pytest.mark.parametrize("error", [errors.TransactionConflict, errors.UserMissing, errors.ConnectionLost])
async def test_a_passing_fault_is_tried_once_more_at_once(
    database_url: str, raw: asyncpg.Connection, trial: Trial, error: type[errors.ServiceError]
) -> None:
    trial.errors = [error()]
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        assert (await answer_of(served, update)).result == "handled"
    assert (trial.runs, await effects_of(raw, update)) == (2, 1)


async def test_a_lasting_conflict_is_sent_again(database_url: str, raw: asyncpg.Connection, trial: Trial) -> None:
    trial.errors = [errors.TransactionConflict(), errors.TransactionConflict()]
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        assert (await served.post(update))[0] == 500
        assert (await served.post(update))[0] == 200
    assert await effects_of(raw, update) == 1


async def test_two_transactions_that_collide_both_come_through(
    database_url: str, raw: asyncpg.Connection, trial: Trial
) -> None:
    """A real deadlock: two updates lock two rows in opposite orders, and one of them is shot."""
    await raw.execute("CREATE TABLE locks (id integer PRIMARY KEY)")
    await raw.execute("INSERT INTO locks VALUES (1), (2)")
    database = urlsplit(database_url).path.lstrip("/")
    await raw.execute(f"ALTER DATABASE \"{database}\" SET deadlock_timeout = '20ms'")
    both = asyncio.Barrier(2)
    met: set[int] = set()

    async def collide(ctx: Any, update: Any) -> Any:
        order = (1, 2) if ctx.user_id == PAYER.user_id else (2, 1)
        for number in order:
            await ctx.transaction.execute("SELECT FROM locks WHERE id = $1 FOR UPDATE", number)
            if update.update_id not in met:
                met.add(update.update_id)
                await both.wait()
        return await trial._effect(ctx, update)

    assert trial.feature.router is not None
    trial.feature.router.command("collide", writes=True)(collide)
    updates = [message(PAYER, "/collide"), message(FRIEND, "/collide")]
    async with serving(database_url, features=trial.features) as served:
        answers = await asyncio.gather(*(answer_of(served, update) for update in updates))
    assert [answer.result for answer in answers] == ["handled", "handled"]
    assert [await effects_of(raw, update) for update in updates] == [1, 1]


async def test_a_refusal_is_told_and_has_no_effect(database_url: str, raw: asyncpg.Connection, trial: Trial) -> None:
    trial.errors = [errors.Invalid("nonsense")]
    update = message(FRIEND, "/effect")
    async with serving(database_url, features=trial.features) as served:
        status, body = await served.post(update)
        assert (status, body["text"]) == (200, "Не получилось: устарело или неверно.")
        assert await served.post(update) == (status, body)
    assert (trial.runs, await effects_of(raw, update)) == (1, 0)


async def test_only_reading_routes_are_remembered_for_a_while(database_url: str, trial: Trial) -> None:
    update = message(PAYER, "/read")
    async with serving(database_url, features=trial.features) as served:
        first = await served.post(update)
        assert await served.post(update) == first
        assert (await answer_of(served, update)).result == "repeated"
    assert trial.runs == 1


async def test_other_calls_follow_on_their_own(database_url: str, trial: Trial) -> None:
    sent: list[str] = []
    async with serving(database_url, features=trial.features) as served:
        served.operations.dispatcher.send_later = lambda call: sent.append(call.params["text"])
        update = message(PAYER, "/effect")
        for _ in range(3):
            await served.post(update)
    assert sent == ["and more"]


async def test_who_is_cancelled_leaves_the_copies_a_503_and_no_memory(
    database_url: str, raw: asyncpg.Connection, trial: Trial
) -> None:
    update = message(PAYER, "/effect")
    async with serving(database_url, features=trial.features) as served:
        await raw.execute("BEGIN; LOCK TABLE effects")
        first = asyncio.create_task(answer_of(served, update))
        copy = asyncio.create_task(answer_of(served, update))
        async with asyncio.timeout(10):
            while not await raw.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        with pytest.raises(errors.Unavailable):
            await copy
        await raw.execute("COMMIT")
        assert (await answer_of(served, update)).result == "handled"
    assert await effects_of(raw, update) == 1


@pytest.mark.parametrize("text", ["/read", "/READ", "/read now", "/read@this_bot", BUTTON.en, BUTTON.ru])
async def test_commands_and_buttons(database_url: str, trial: Trial, text: str) -> None:
    async with serving(database_url, features=trial.features) as served:
        served.operations.dispatcher.bot_username = "this_bot"
        assert (await answer_of(served, message(STRANGER, text))).result == "handled"
    assert trial.runs == 1


async def test_talk_in_a_group_is_ignored_and_makes_no_user(served: Served, raw: asyncpg.Connection) -> None:
    group = {"chat": {"id": -100, "type": "supergroup"}}
    served.operations.dispatcher.bot_username = "this_bot"
    assert (await answer_of(served, message(STRANGER, "hello all", **group))).result == "ignored"
    assert (await answer_of(served, message(STRANGER, "/start@another_bot", **group))).kind == "group_message"
    assert await raw.fetchval("SELECT count(*) FROM users") == 0
    status, body = await served.post(message(STRANGER, "/help", **group))
    assert (status, body["chat_id"]) == (200, -100)


async def test_a_bot_is_ignored(served: Served, raw: asyncpg.Connection) -> None:
    update = message(STRANGER, "/start")
    update["message"]["from"] |= {"is_bot": True}
    assert await served.post(update) == (200, None)
    assert await raw.fetchval("SELECT count(*) FROM users") == 0


async def test_names_that_no_text_column_can_hold(served: Served, raw: asyncpg.Connection) -> None:
    update = message(STRANGER, "/start")
    update["message"]["from"] |= {"first_name": "a\0b", "username": "\0"}
    assert (await served.post(update))[0] == 200
    assert await raw.fetchval("SELECT first_name FROM users WHERE user_id = $1", STRANGER.user_id) == "ab"


async def test_a_flood_is_dropped_but_never_money_checkouts_or_blocks(served: Served) -> None:
    dispatcher = served.operations.dispatcher
    results = [(await answer_of(served, message(PAYER, "/help"))).result for _ in range(15)]
    assert results.count("flood") == 5
    flooded = message(PAYER, "/help")
    assert await served.post(flooded) == (200, None)
    tapped = {"callback_query": {"id": "1", "from": PAYER.wire, "data": "x"}}
    toast = (await served.post({"update_id": flooded["update_id"] + 50_000, **tapped}))[1]
    assert toast["text"] == "Too fast, one moment please."
    checkout = {"id": "q", "from": PAYER.wire, "currency": "XTR", "total_amount": 1, "invoice_payload": "p"}
    answer = await answer_of(served, {"update_id": flooded["update_id"] + 60_000, "pre_checkout_query": checkout})
    assert answer.result == "handled"
    member = {"chat": {"id": PAYER.user_id, "type": "private"}, "from": PAYER.wire, "new_chat_member": {"status": "x"}}
    answer = await answer_of(served, {"update_id": flooded["update_id"] + 70_000, "my_chat_member": member})
    assert answer.result == "handled"
    assert (await answer_of(served, message(PAYER, "", successful_payment={"currency": "XTR"}))).result == "handled"
    assert (await answer_of(served, message(FRIEND, "/help"))).result == "handled", "a flood is one person's"
    assert dispatcher.guard.allows(PAYER.user_id, dispatcher.clock.monotonic() + 1), "who stops is heard again"
    dispatcher.guard = type(dispatcher.guard)(2.0, 10)
    assert (await answer_of(served, flooded)).result == "handled", "what was dropped may come again"
