"""GET /admin/failures and /admin/users/{id}/stats: exact numbers of a window, for operators alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from tests.cast import FRIEND, PAYER, STRANGER
from tests.features.diagnostics.generations import failed, generation, keep, paid
from tests.serving import Served

FAILURES = "/admin/failures"
STATS = f"/admin/users/{PAYER.user_id}/stats"


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


async def fill(served: Served) -> None:
    await keep(
        served,
        generation(PAYER.user_id, status="started"),
        generation(PAYER.user_id),
        generation(PAYER.user_id, status="started"),
        paid(PAYER.user_id, "12.50"),
        paid(PAYER.user_id, "0.50"),
        paid(PAYER.user_id, "99.00", status="failed", error_code="refused", error_message="no"),
        failed(PAYER.user_id, at=hours_ago(23)),
        failed(PAYER.user_id, "timeout", None, status="timeout"),
        failed(PAYER.user_id, at=hours_ago(25)),
        paid(PAYER.user_id, "7", at=hours_ago(26)),
        failed(FRIEND.user_id),
        failed(FRIEND.user_id, said="Bearer hush"),
        failed(FRIEND.user_id, None, None),
        generation(STRANGER.user_id, status="started"),
    )


async def test_what_became_of_a_persons_generations(served: Served) -> None:
    await fill(served)
    status, told = await served.get(STATS, admin=True)
    assert status == 200
    assert told == {"total": 6, "success": 3, "failed": 3, "timeouts": 1, "free_used": 1, "total_cost": "13.00"}
    _, told = await served.get(f"{STATS}?hours=48", admin=True)
    assert told == {"total": 8, "success": 4, "failed": 4, "timeouts": 1, "free_used": 1, "total_cost": "20.00"}
    _, told = await served.get(f"/admin/users/{STRANGER.user_id}/stats", admin=True)
    assert told == {"total": 0, "success": 0, "failed": 0, "timeouts": 0, "free_used": 0, "total_cost": "0"}


async def test_what_fails(served: Served) -> None:
    await fill(served)
    status, told = await served.get(FAILURES, admin=True)

    def kind(model: str, code: str | None, said: str | None, count: int) -> dict[str, Any]:
        return {"model_id": model, "error_code": code, "error_message": said, "count": count}

    most = kind("text-card", "refused", "no", 2)
    rest = [
        kind("image-large", "refused", "no", 1),
        kind("text-card", "refused", "Bearer ***", 1),
        kind("text-card", "timeout", None, 1),
        kind("text-card", None, None, 1),
    ]
    assert (status, told) == (200, {"items": [most, *rest], "next": None})
    assert (await served.get(f"{FAILURES}?hours=24&limit=2", admin=True))[1]["items"] == [most, rest[0]]
    assert (await served.get(f"{FAILURES}?hours=26", admin=True))[1]["items"][0]["count"] == 3


@pytest.mark.parametrize("path", [FAILURES, STATS])
@pytest.mark.parametrize("query", ["hours=0", "hours=-1", "hours=x", "hours=", "hours=2161", "hours=1.5", "hours=٣"])
async def test_a_bad_window_is_refused(served: Served, path: str, query: str) -> None:
    status, told = await served.get(f"{path}?{query}", admin=True)
    assert (status, told["error"]["code"]) == (400, "invalid")
    assert "`hours`" in told["error"]["message"]


@pytest.mark.parametrize("limit", ["0", "501", "many", "9" * 30])
async def test_a_bad_limit_is_refused(served: Served, limit: str) -> None:
    status, told = await served.get(f"{FAILURES}?limit={limit}", admin=True)
    assert (status, told["error"]["code"]) == (400, "invalid")


@pytest.mark.parametrize("user_id", ["5", "x", "-1", str(2**63), "1.0"])
async def test_nobody_has_no_stats(served: Served, user_id: str) -> None:
    status, told = await served.get(f"/admin/users/{user_id}/stats", admin=True)
    assert (status, told["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", [FAILURES, STATS])
async def test_it_is_for_operators(served: Served, path: str) -> None:
    assert (await served.get(path))[0] == 401


@pytest.mark.parametrize("path", [FAILURES, STATS])
async def test_without_the_table_it_says_why(served: Served, raw: asyncpg.Connection, path: str) -> None:
    await served.says(PAYER, "/start")
    await raw.execute("DROP TABLE generation_events")
    status, told = await served.get(path, admin=True)
    assert (status, told["error"]["code"]) == (503, "feature_off")
    assert told["error"]["message"] == "generation_events table missing"
