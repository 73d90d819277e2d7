"""What is on, probing now, and the tables behind it."""

from __future__ import annotations

import time
from typing import Any

import asyncpg

from service.features import FEATURES
from tests.outage import away
from tests.serving import ADMIN_TOKEN, Served
from tests.waiting import until


async def refresh(served: Served) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with served.http.post(f"{served.base}/admin/features/refresh", headers=headers) as response:
        return response.status, await response.json()


async def test_features_with_their_reasons(served: Served, raw: asyncpg.Connection) -> None:
    status, body = await served.get("/admin/features", admin=True)
    assert status == 200
    assert [item["name"] for item in body["items"]] == [feature.name for feature in FEATURES]
    assert {item["state"] for item in body["items"]} == {"on"}
    assert body["next"] is None
    await raw.execute("DROP TABLE failed_updates")
    status, body = await refresh(served)
    assert status == 200
    off = next(item for item in body["items"] if item["name"] == "failed_updates")
    assert (off["state"], off["reason"], off["missing"]) == ("off", "failed_updates table missing", ["failed_updates"])


async def test_tables_by_feature(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("""
        DROP TABLE failed_updates;
        ALTER TABLE processed_updates DROP COLUMN reply, ADD COLUMN user_id bigint,
            ADD CONSTRAINT processed_updates_user_id_fkey FOREIGN KEY (user_id) REFERENCES users NOT VALID;
        INSERT INTO users (user_id) VALUES (1), (2);
        ANALYZE users;
    """)
    status, body = await served.get("/admin/tables", admin=True)
    assert status == 200
    tables = {item["table"]: item for item in reversed(body["items"])}  # by the first feature that needs it
    assert tables["users"] == {
        "feature": "users",
        "table": "users",
        "present": True,
        "missing": [],
        "kind": "table",
        "rows_estimate": 2,
        "size_bytes": tables["users"]["size_bytes"],
        "foreign_keys": [],
    }
    assert tables["users"]["size_bytes"] > 0
    assert not tables["failed_updates"]["present"]
    assert tables["failed_updates"]["size_bytes"] is None
    assert tables["processed_updates"]["missing"] == ["reply"]
    (key,) = tables["processed_updates"]["foreign_keys"]
    assert (key["name"], key["is_valid"]) == ("processed_updates_user_id_fkey", False)


async def test_with_the_database_away_reads_are_refused_at_once(served: Served, database_url: str) -> None:
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        for path in (
            "/admin/tables",
            "/admin/users",
            "/admin/users?query=a",
            "/admin/users/1",
            "/admin/updates/failed",
        ):
            started = time.monotonic()
            status, body = await served.get(path, admin=True)
            assert (status, body["error"]["code"]) == (503, "database_away")
            assert time.monotonic() - started < 1
        assert (await refresh(served))[0] == 503
        assert (await served.get("/admin/features", admin=True))[0] == 200
