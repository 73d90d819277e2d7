"""Poison, and another try."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg
import orjson

from service.feature import Feature, reads
from service.features import FEATURES
from service.telegram import reply
from service.telegram.reply import Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update
from service.text import Text
from tests.cast import PAYER, Person
from tests.serving import ADMIN_TOKEN, Served, message, serving, telegram


class Fragile:
    """A feature with a handler that writes, and fails while it is broken."""

    def __init__(self, needs: str | None = None) -> None:
        self.broken = True
        self.effects = 0
        router = Router()

        @router.command("fragile", writes=True)
        async def fragile(ctx: Context, _update: Update) -> Reply:
            if self.broken:
                raise RuntimeError("<broken>")
            self.effects += 1
            return reply.send(ctx.chat_id, "It works.")

        title = Text(en="Fragile", ru="Хрупкое")
        tables = {needs: reads("id")} if needs else {}
        self.features = (*FEATURES, Feature(name="fragile", title=title, needs=tables, router=router))


async def replay(served: Served, update_id: int) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with served.http.post(f"{served.base}/admin/updates/{update_id}/replay", headers=headers) as response:
        return response.status, await response.json()


async def park(served: Served, person: Person = PAYER) -> int:
    """Fail three times, as Telegram would make it."""
    update = message(person, "/fragile")
    statuses = [(await served.post(update))[0] for _ in range(3)]
    assert statuses == [500, 500, 200]
    return int(update["update_id"])


async def test_parked_updates_are_listed_whole(database_url: str) -> None:
    async with serving(database_url, features=Fragile().features) as served:
        ids = [await park(served) for _ in range(3)]
        _, first = await served.get("/admin/updates/failed?limit=2", admin=True)
        assert [item["update_id"] for item in first["items"]] == [ids[2], ids[1]]
        item = first["items"][0]
        assert (item["error"], item["attempts"]) == ("RuntimeError: <broken>", 3)
        assert orjson.loads(item["body"])["message"]["text"] == "/fragile"
        _, second = await served.get(f"/admin/updates/failed?limit=2&after={first['next']}", admin=True)
        assert [item["update_id"] for item in second["items"]] == [ids[0]]
        assert second["next"] is None


async def test_a_replay_has_the_effect_once_and_sends_the_answer(database_url: str, raw: asyncpg.Connection) -> None:
    fragile = Fragile()
    async with (
        telegram() as (sandbox, base),
        serving(database_url, features=fragile.features, TELEGRAM_API_BASE=base) as served,
    ):
        payer = sandbox.person("payer")
        await payer.says("/fragile")  # there is no webhook: this only opens the chat
        update_id = await park(served, replace(PAYER, user_id=payer.id))
        assert (await replay(served, update_id))[0] == 409  # still broken
        assert await raw.fetchval("SELECT attempts FROM failed_updates") == 4
        fragile.broken = False
        assert await replay(served, update_id) == (200, {"update_id": update_id, "result": "replayed", "sent": True})
        assert (payer.chat[-1].text, fragile.effects) == ("It works.", 1)
        assert (await replay(served, update_id))[0] == 409  # once is enough
        assert fragile.effects == 1
        assert (await served.get("/admin/updates/failed", admin=True))[1]["items"] == []


async def test_an_answer_that_can_never_arrive_is_no_obstacle(database_url: str) -> None:
    """The person never opened the chat, or has blocked the bot since."""
    fragile = Fragile()
    async with (
        telegram() as (sandbox, base),
        serving(database_url, features=fragile.features, TELEGRAM_API_BASE=base) as served,
    ):
        update_id = await park(served, replace(PAYER, user_id=sandbox.person("stranger").id))
        fragile.broken = False
        assert await replay(served, update_id) == (200, {"update_id": update_id, "result": "replayed", "sent": False})
        assert fragile.effects == 1


async def test_when_the_answer_does_not_get_out_another_replay_sends_it(database_url: str) -> None:
    """Nobody listens at TELEGRAM_API_BASE: the effect is there, the update stays parked, and has no second one."""
    fragile = Fragile()
    async with serving(database_url, features=fragile.features) as served:
        update_id = await park(served)
        fragile.broken = False
        assert (await replay(served, update_id))[0] == 502
        assert (await served.get("/admin/updates/failed", admin=True))[1]["items"] != []
        assert (await replay(served, update_id))[0] == 502
        assert fragile.effects == 1


async def test_two_operators_at_once_have_one_effect(database_url: str) -> None:
    fragile = Fragile()
    async with (
        telegram() as (_, base),
        serving(database_url, features=fragile.features, TELEGRAM_API_BASE=base) as served,
    ):
        update_id = await park(served)
        fragile.broken = False
        done = await asyncio.gather(*(replay(served, update_id) for _ in range(5)))
        assert 200 in {status for status, _ in done}
        assert fragile.effects == 1


async def test_a_feature_that_is_off_has_nothing_replayed(database_url: str, raw: asyncpg.Connection) -> None:
    """Its apology is no answer: the update stays parked until the feature is back."""
    fragile = Fragile(needs="fragile_things")
    await raw.execute("CREATE TABLE fragile_things (id bigint)")
    async with serving(database_url, features=fragile.features) as served:
        update_id = await park(served)
        fragile.broken = False
        await raw.execute("DROP TABLE fragile_things")
        await served.operations.switchboard.refresh()
        assert (await replay(served, update_id))[0] == 503
        _, page = await served.get("/admin/updates/failed", admin=True)
        assert [item["update_id"] for item in page["items"]] == [update_id]


async def test_what_cannot_be_replayed(served: Served, raw: asyncpg.Connection) -> None:
    assert (await replay(served, 1))[0] == 404
    await raw.execute(
        "INSERT INTO failed_updates (bot_id, update_id, body, error, parked_at)"
        " VALUES (4242, 2, '{}', '', NULL), (4242, 3, $1, '', now()), (1, 4, '{}', '', now())",
        b'{"update_id": 3, "message": 5}',
    )
    assert (await replay(served, 2))[0] == 409  # Telegram is still sending it
    status, body = await replay(served, 3)
    assert (status, body["error"]["code"]) == (409, "conflict")  # as unreadable as before
    assert (await replay(served, 4))[0] == 404  # another bot's


async def test_without_the_table_the_reason_is_told(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("DROP TABLE failed_updates")
    await served.operations.switchboard.refresh()
    for status, body in (await served.get("/admin/updates/failed", admin=True), await replay(served, 1)):
        assert (status, body["error"]["code"]) == (503, "feature_off")
        assert body["error"]["message"] == "failed_updates table missing"
