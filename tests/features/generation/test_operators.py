"""GET /admin/jobs: the work under way, page by page, for operators alone."""

from __future__ import annotations

import asyncpg
import pytest

from tests.cast import PAYER
from tests.serving import Served

FILL = """
    INSERT INTO generation_jobs (
        job_id, user_id, chat_id, model_id, price_rub, prompt, timeout_s, status, place, due_at, attempts, created_at
    )
    SELECT
        md5(n::text)::uuid, $1, $1, 'slow', 12.50, 'a secret wish', 3600,
        (ARRAY['waiting', 'success', 'failed', 'waiting', 'cancelled'])[n % 5 + 1], now(), '2100-01-01Z', 1,
        now() - n / 10 * interval '1 minute'
    FROM generate_series(1, 20) AS n
"""


@pytest.fixture
async def busy(served: Served, raw: asyncpg.Connection) -> Served:
    """Eight jobs that wait for their provider, several of each moment, among others that ended."""
    await raw.execute("INSERT INTO users (user_id) VALUES ($1)", PAYER.user_id)
    await raw.execute(FILL, PAYER.user_id)
    return served


async def test_what_is_under_way(busy: Served) -> None:
    status, told = await busy.get("/admin/jobs", admin=True)
    assert (status, told["next"], len(told["items"])) == (200, None, 8)
    assert {job["status"] for job in told["items"]} == {"waiting"}
    ages = [job["age_s"] for job in told["items"]]
    assert ages == sorted(ages)
    assert 0 <= ages[0] < 60
    assert 120 <= ages[-1] < 180
    job = told["items"][0]
    assert (job["user_id"], job["model_id"], job["price_rub"], job["attempts"]) == (PAYER.user_id, "slow", "12.50", 1)
    assert "a secret wish" not in str(told)


@pytest.mark.parametrize("limit", [1, 3, 7, 8])
async def test_pages_have_everything_once(busy: Served, limit: int) -> None:
    whole = [job["job_id"] for job in (await busy.get("/admin/jobs", admin=True))[1]["items"]]
    seen, after = [], ""
    while True:
        _, told = await busy.get(f"/admin/jobs?limit={limit}{after}", admin=True)
        seen += [job["job_id"] for job in told["items"]]
        if told["next"] is None:
            break
        after = f"&after={told['next']}"
    assert seen == whole


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "after=x", "after=WzEsImEiXQ"])
async def test_another_page_is_refused(served: Served, query: str) -> None:
    status, told = await served.get(f"/admin/jobs?{query}", admin=True)
    assert (status, told["error"]["code"]) == (400, "invalid")


async def test_it_is_for_operators(served: Served) -> None:
    assert (await served.get("/admin/jobs"))[0] == 401


async def test_without_its_tables_it_says_why(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("ALTER TABLE generation_jobs RENAME TO gone")
    status, told = await served.get("/admin/jobs", admin=True)
    assert (status, told["error"]["message"]) == (503, "generation_jobs table missing")
