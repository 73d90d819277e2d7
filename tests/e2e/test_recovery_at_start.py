"""What a crash, an outage or a lost callback left is mended before the doors open, once, by however many processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from tests.cast import PAYER
from tests.e2e.conftest import Start
from tests.e2e.process import SERVICE, Process
from tests.e2e.processors import Market, Till, market, till
from tests.payments.money import BROKEN, balance_of
from tests.postgres import free_port
from tests.serving import PROCESSORS
from tests.waiting import until

DUE = """
    INSERT INTO users (user_id) SELECT generate_series(1, 20);
    INSERT INTO balances (user_id, balance_rub) SELECT generate_series(1, 20), 0;
    INSERT INTO payment_reservations (reservation_id, user_id, amount_rub, status, purpose, expires_at)
    SELECT gen_random_uuid(), 1 + n % 20, 10, 'held', 'work', now() - interval '1 second'
    FROM generate_series(1, 1000) AS n;
    UPDATE balances SET unbooked_rub = 500;
"""
ORDERS = 20


@pytest.fixture
async def stands() -> AsyncIterator[Market]:
    """The processors, whose callbacks are all lost."""
    async with market() as stands:
        stands.processors.hold()
        yield stands


@pytest.fixture
async def bot(database_url: str, stands: Market) -> AsyncIterator[Till]:
    async with till(database_url, stands) as bot:
        yield bot


def mended(process: Process, word: str) -> int:
    """How many of that, over all jobs."""
    return sum(line.get(word, 0) for line in process.log(msg="job done"))


async def refuses(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_nobody_listens_until_it_is_done(start: Start, database_url: str, raw: asyncpg.Connection) -> None:
    port = free_port()
    await raw.execute(DUE)
    async with raw.transaction():
        await raw.execute("LOCK TABLE payment_reservations")
        starting = asyncio.create_task(start(database_url, SERVICE, PORT=str(port)))
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'payment_reservations'::regclass AND NOT granted"
        await until(lambda: raw.fetchval(waiting), within=30)
        assert await refuses(port)
    process = await starting
    assert not await refuses(port)
    lines = [line["msg"] for line in process.log()]
    assert lines.index("job done") < lines.index("serving")
    assert mended(process, "expired") == 1000


async def test_two_at_once_mend_each_thing_once(
    start: Start, database_url: str, stands: Market, bot: Till, raw: Any
) -> None:
    """Case 15: reservations are given back once, and payments that nobody told us of are credited once."""
    for provider in ("yookassa", "stripe") * (ORDERS // 2):
        stands.pay(await bot.order(provider))
    await raw.execute("UPDATE payments SET check_at = now() - interval '1 minute'")
    await raw.execute(DUE)
    settings = {**PROCESSORS, **stands.settings}
    processes = await asyncio.gather(*(start(database_url, SERVICE, **settings) for _ in range(2)))
    credited = Decimal("150.00") * (ORDERS // 2) + Decimal("450.00") * (ORDERS // 2)
    await until(lambda: _has(raw, credited))
    await until(lambda: _all_told(raw, processes))
    await until(lambda: sum(mended(one, "settled") + mended(one, "found") for one in processes) == ORDERS)
    assert await raw.fetchval("SELECT count(*) FROM payment_transactions WHERE type = 'topup'") == ORDERS
    assert await raw.fetch(BROKEN) == []


async def _all_told(raw: Any, processes: list[Process]) -> bool:
    """Each was given back by one of them. One steps back from what the other has locked, until its next run."""
    expired = await raw.fetchval("SELECT count(*) FROM payment_reservations WHERE status = 'expired'")
    return expired > 0 and sum(mended(process, "expired") for process in processes) == expired


async def _has(raw: Any, credited: Decimal) -> bool:
    return await balance_of(raw, PAYER.user_id) == credited


async def test_the_database_comes_later(start: Start, raw: asyncpg.Connection, database_url: str) -> None:
    """No start waits for it: what there is to mend is mended when it is back."""
    name = database_url.partition("?")[0].rpartition("/")[2]
    await raw.execute(DUE)
    async with asyncio.timeout(60):
        admin = await asyncpg.connect(database_url.replace(f"/{name}", "/postgres"))
        await admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        process = await start(database_url, SERVICE, ready=False)
        assert mended(process, "expired") == 0
        await admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
        await until(lambda: mended(process, "expired") > 0, within=10)
        await admin.close()
