"""From what a person asks the bot for to what an operator reads of it."""

from __future__ import annotations

import asyncpg
import pytest

from tests.cast import OPERATOR
from tests.payments.bot.shop import open_shop
from tests.waiting import until


@pytest.mark.parametrize("lost", [(), ("generation_jobs",)], ids=["by the queue", "in the process"])
async def test_a_generation_is_counted(database_url: str, raw: asyncpg.Connection, lost: tuple[str, ...]) -> None:
    for table in lost:
        await raw.execute(f"ALTER TABLE {table} RENAME TO gone")
    async with open_shop(database_url) as shop:
        await shop.payer.says("/generate qr https://example.org")

        async def counted() -> bool:
            return await raw.fetchval("SELECT count(*) FROM generation_events") == 2

        await until(counted, within=20)
        text = (await shop.served.says(OPERATOR, "/stats 1"))["text"]
    assert "🎨 1 generation\n✅ 1, ❌ 0, of these ⏱ 0. Success rate: 100 %\n💰 Paid: 0 ₽" in text
    assert "Most used:\n1. QR code: 1" in text
    rows = await raw.fetch(
        "SELECT user_id, chat_id, model_id, status, is_free_applied, request_id, duration_ms FROM generation_events"
        " ORDER BY id"
    )
    started, success = rows
    assert (started["status"], success["status"]) == ("started", "success")
    assert started["request_id"] == success["request_id"]
    for row in rows:
        assert (row["user_id"], row["chat_id"]) == (shop.payer.id, shop.payer.id)
        assert (row["model_id"], row["is_free_applied"]) == ("qr", True)
    assert success["duration_ms"] >= 0
