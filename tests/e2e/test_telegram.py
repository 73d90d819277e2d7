"""The whole conversation with Telegram's stand-in: by webhook, and by asking for updates."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.sandbox import Sandbox
from tests.e2e.conftest import Start
from tests.e2e.process import SERVICE
from tests.postgres import free_port
from tests.serving import telegram
from tests.waiting import until

ACTIVE = "SELECT is_active FROM users WHERE user_id = $1"


@pytest.fixture
async def world() -> AsyncIterator[tuple[Sandbox, str]]:
    async with telegram() as made:
        yield made


@pytest.fixture(params=["webhook", "polling"])
async def sandbox(
    request: pytest.FixtureRequest,
    world: tuple[Sandbox, str],
    start: Start,
    table: asyncpg.Connection,
    database_url: str,
) -> Sandbox:
    """Telegram, with the bot connected in one way or the other."""
    sandbox, api = world
    port = str(free_port())
    settings = {"PORT": port, "PUBLIC_URL": f"http://127.0.0.1:{port}"} if request.param == "webhook" else {}
    await start(database_url, TELEGRAM_API_BASE=api, TELEGRAM_MODE=request.param, **settings)
    wanted = {"webhook": "setWebhook", "polling": "getWebhookInfo"}[request.param]
    await sandbox.wait_for(lambda call: call.method == wanted)
    return sandbox


async def test_people_are_greeted_choose_and_are_understood(sandbox: Sandbox) -> None:
    payer, friend = sandbox.person("payer"), sandbox.person("friend")
    await payer.says("/start")
    assert (await payer.hears()).text.startswith("Hello, Payer!")
    features = ["✨ Models", "💼 My projects", "🤝 Referrals"]
    assert payer.keyboard == ["🌐 Language", "❓ Help", "💰 Balance", "➕ Top up", *features]
    await friend.says("/start")
    assert (await friend.hears()).text.startswith("Здравствуйте, Друг!")
    await payer.presses("🌐 Language")
    await payer.hears("I speak English")
    await payer.presses("Русский")
    await payer.hears("Теперь по-русски.")
    await payer.hears("Что вам нужно?")
    assert payer.keyboard[:2] == ["🌐 Язык", "❓ Помощь"]
    await sandbox.wait_for(lambda call: call.method == "answerCallbackQuery")
    await payer.presses("❓ Помощь")
    await payer.hears("Вот что я понимаю")
    assert {call.status for call in sandbox.calls if call.method != "getUpdates"} == {200}


async def test_who_blocks_the_bot_is_not_active_until_he_comes_back(
    sandbox: Sandbox, table: asyncpg.Connection
) -> None:
    payer = sandbox.person("payer")
    await payer.says("/start")
    await payer.hears("Hello")
    await payer.blocks()
    await until(lambda: is_active(table, payer.id, False))
    await payer.unblocks()
    await until(lambda: is_active(table, payer.id, True))
    await payer.says("/menu")
    await payer.hears("What would you like?")


async def test_who_cannot_be_written_to_is_not_active_until_he_writes(
    sandbox: Sandbox, table: asyncpg.Connection
) -> None:
    payer = sandbox.person("payer")
    sandbox.faults.fail("sendMessage", status=403, times=2)
    await payer.says("/twice")
    await until(lambda: is_active(table, payer.id, False))
    await payer.says("/start")
    await payer.hears("Hello")
    assert await table.fetchval(ACTIVE, payer.id)


async def is_active(table: asyncpg.Connection, user_id: int, wanted: bool) -> bool:
    return await table.fetchval(ACTIVE, user_id) is wanted


async def test_killed_while_asking_for_updates_the_next_process_answers_for_it_once(
    world: tuple[Sandbox, str], start: Start, table: asyncpg.Connection, database_url: str
) -> None:
    sandbox, api = world
    settings = {"TELEGRAM_API_BASE": api, "TELEGRAM_MODE": "polling"}
    dying = await start(database_url, CRASH_AT="after commit", **settings)
    payer = sandbox.person("payer")
    await payer.says("/count")
    assert await dying.ended() == -signal.SIGKILL
    assert len(sandbox.updates) == 1, "it was not confirmed"
    await start(database_url, **settings)
    await payer.hears("counted 1")
    await until(lambda: not len(sandbox.updates))
    assert await table.fetchval("SELECT count(*) FROM counted") == 1


async def test_telegram_away_at_the_start_keeps_nobody_from_being_served(start: Start, database_url: str) -> None:
    """Its address is where nobody listens."""
    process = await start(database_url, SERVICE, PUBLIC_URL="http://127.0.0.1:9")
    await until(lambda: process.log(msg="Telegram not reached"))
    assert await process.is_ready()
    await process.stop()
