"""Health from memory: who is told what, and that nothing waits for the database."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncpg

from service.features import FEATURES
from tests.outage import away
from tests.postgres import Cluster
from tests.serving import Served, serving
from tests.waiting import until

# What CONTRACT promises of readiness, in seconds, whatever the database does.
PROMISED_S = 2.0


async def test_healthy(served: Served) -> None:
    assert await served.get("/health/live") == (200, {"status": "alive"})
    assert await served.get("/health/ready") == (200, {"status": "ready"})
    status, report = await served.get("/health")
    assert (status, report["status"], report["database"]["reachable"]) == (200, "healthy", True)
    assert (datetime.now(UTC) - datetime.fromisoformat(report["timestamp"])).total_seconds() < 60
    on = {"state": "on", "reason": "", "missing": []}
    assert report["features"] == {feature.name: on for feature in FEATURES}


async def test_a_missing_table_degrades(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("DROP TABLE processed_updates")
    await served.operations.switchboard.refresh()
    status, report = await served.get("/health")
    assert (status, report["status"]) == (200, "degraded")
    assert report["features"]["processed_updates"] == {
        "state": "off",
        "reason": "processed_updates table missing",
        "missing": ["processed_updates"],
    }
    assert (await served.get("/health/ready"))[0] == 200


async def test_without_users_nothing_is_ready(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("DROP TABLE users CASCADE")
    await served.operations.switchboard.refresh()
    assert await served.get("/health/ready") == (503, {"status": "not ready", "reason": "users table missing"})
    status, report = await served.get("/health")
    assert (status, report["status"]) == (503, "unhealthy")
    assert (await served.get("/health/live"))[0] == 200


async def test_not_ready_before_and_after_serving(served: Served) -> None:
    for phase in ("starting", "draining"):
        served.operations.lifecycle.phase = phase
        assert await served.get("/health/ready") == (503, {"status": "not ready", "reason": phase})
    assert (await served.get("/health/live"))[0] == 200


async def test_unhealthy_says_why_and_never_where(served: Served, database_url: str) -> None:
    secrets = {part for part in (urlsplit(database_url).path.lstrip("/"), "postgres", "5432", "host=") if part}
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        async with served.http.get(f"{served.base}/health") as response:
            text = await response.text()
        assert response.status == 503
        assert '"unhealthy"' in text
        assert [secret for secret in secrets if secret in text] == []
        assert (await served.get("/health/ready"))[1]["reason"] == "database away"
        assert (await served.get("/health/live"))[0] == 200
    await until(lambda: served.operations.database.reachable)
    assert (await served.get("/health"))[0] == 200


async def test_no_answer_waits_for_a_frozen_database(own_cluster: Cluster) -> None:
    async with serving(own_cluster.dsn(), MIGRATE_ON_START="on") as served:
        assert (await served.get("/health/ready"))[0] == 200
        own_cluster.freeze()
        for path in ("/health/live", "/health/ready", "/health", "/metrics"):
            started = time.monotonic()
            async with served.http.get(served.base + path) as response:
                await response.read()
            assert time.monotonic() - started < PROMISED_S
        await until(lambda: not served.operations.database.reachable)
        assert (await served.get("/health/ready"))[0] == 503
        own_cluster.thaw()


async def test_no_answer_waits_for_a_connection(database_url: str) -> None:
    async with (
        serving(database_url, DB_POOL_MIN="1", DB_POOL_MAX="1") as served,
        served.operations.database.acquire(),
    ):
        started = time.monotonic()
        assert (await served.get("/health"))[0] == 200
        assert time.monotonic() - started < PROMISED_S
