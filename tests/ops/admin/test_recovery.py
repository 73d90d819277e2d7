"""Recovery on an operator's word."""

from __future__ import annotations

from typing import Any

import aiohttp
import asyncpg

from tests.outage import away
from tests.serving import ADMIN_TOKEN, Served
from tests.waiting import until

HELD = """
    INSERT INTO users (user_id) VALUES (1);
    INSERT INTO balances (user_id, balance_rub) VALUES (1, 0);
    INSERT INTO payment_reservations (reservation_id, user_id, amount_rub, status, purpose, expires_at)
    SELECT gen_random_uuid(), 1, 10, 'held', 'work', now() - interval '1 second' FROM generate_series(1, 3);
"""


async def recover(served: Served, token: str = ADMIN_TOKEN, **headers: str) -> aiohttp.ClientResponse:
    headers |= {"Authorization": f"Bearer {token}"}
    async with served.http.post(f"{served.base}/admin/recover", headers=headers, allow_redirects=False) as response:
        await response.read()
        return response


async def jobs(served: Served) -> dict[str, Any]:
    response = await recover(served)
    assert response.status == 200
    return (await response.json())["jobs"]


async def test_its_counts_are_the_answer(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute(HELD)
    told = await jobs(served)
    assert told["expire_reservations"] == {"expired": 3}
    assert told["find_missed_payments"]["unanswered"] >= 3  # nobody answers for the processors
    assert (await jobs(served))["expire_reservations"] == {"expired": 0}
    async with served.http.get(f"{served.base}/metrics") as response:
        assert 'ballast_recovered_total{job="expire_reservations",what="expired"}' in await response.text()


async def test_a_job_that_could_not_run_says_why(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("ALTER TABLE payments RENAME TO payments_gone")
    await served.operations.switchboard.refresh()
    told = await jobs(served)
    assert told["settle_open_orders"] == {"error": "feature_off"}
    assert told["book_differences"] == {"booked": 0}


async def test_it_is_for_operators(served: Served) -> None:
    assert (await recover(served, token="another")).status == 401


async def test_a_pressed_button_leads_back_to_the_page(served: Served) -> None:
    response = await recover(served, Accept="text/html")
    assert (response.status, response.headers["Location"]) == (303, "/admin")


async def test_with_the_database_away(served: Served, database_url: str) -> None:
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        response = await recover(served)
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "database_away"
