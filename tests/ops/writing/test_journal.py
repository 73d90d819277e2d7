"""What operators do leaves a row that nobody can change."""

from __future__ import annotations

import logging
from typing import Any

import asyncpg
import pytest

from tests.payments.operators.desk import Desk
from tests.serving import Served


@pytest.fixture
def desk(served: Served) -> Desk:
    return Desk(served)


async def noted(desk: Desk) -> list[tuple[str, str]]:
    status, log = await desk.get("/admin/log")
    assert status == 200
    return [(one["what"], one["subject"]) for one in log["items"]]


async def test_each_write_is_in_it_once(desk: Desk, raw: asyncpg.Connection) -> None:
    await raw.execute("INSERT INTO users (user_id) VALUES (5)")
    for _ in range(2):
        assert (await desk.adjust(5, "20.00", key="one"))[0] == 200
    assert (await desk.adjust(5, "-50.00"))[0] == 409
    await desk.post("/admin/features/refresh", {})
    await desk.post("/admin/recover", {})
    assert await noted(desk) == [("recover", "jobs"), ("probe", "features"), ("adjust", "adjustment:one")]
    _, log = await desk.get("/admin/log")
    assert log["items"][-1]["details"] == {"amount_rub": "20.00"}
    assert log["items"][-1]["who"] == "script at 127.0.0.1"


async def test_it_has_pages(desk: Desk, raw: asyncpg.Connection) -> None:
    await raw.execute(
        "INSERT INTO admin_log (at, who, what, subject)"
        " SELECT now(), 'w', 'x', 'n:' || n FROM generate_series(1, 5) AS n"
    )
    _, first = await desk.get("/admin/log?limit=3")
    _, second = await desk.get(f"/admin/log?limit=3&after={first['next']}")
    subjects = [one["subject"] for one in (*first["items"], *second["items"])]
    assert (subjects, second["next"]) == (["n:5", "n:4", "n:3", "n:2", "n:1"], None)


@pytest.mark.parametrize("change", ["UPDATE admin_log SET who = 'x'", "DELETE FROM admin_log", "TRUNCATE admin_log"])
async def test_nobody_changes_it(raw: asyncpg.Connection, change: str) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="admin_log is append-only"):
        await raw.execute(change)


async def test_without_it_no_money_moves_and_recovery_goes_on(
    desk: Desk, raw: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await raw.execute("INSERT INTO users (user_id) VALUES (5)")
    await raw.execute("ALTER TABLE admin_log RENAME TO gone")
    status, _ = await desk.adjust(5, "20.00")
    assert status == 503
    assert await raw.fetchval("SELECT count(*) FROM payment_transactions") == 0
    assert (await desk.post("/admin/recover", {}))[0] == 200
    told: list[Any] = [one for one in caplog.records if one.levelno >= logging.WARNING and one.name == "admin"]
    assert [one.getMessage() for one in told] == ["deed not noted"]
