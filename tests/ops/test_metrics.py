"""What Prometheus is told."""

from __future__ import annotations

import asyncpg
from prometheus_client.parser import text_string_to_metric_families

from tests.cast import PAYER
from tests.outage import away
from tests.serving import Served
from tests.waiting import until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(served: Served) -> Samples:
    async with served.http.get(f"{served.base}/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        families = text_string_to_metric_families(await response.text())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }


def read(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"ballast_{name}", frozenset(labels.items())]


async def test_the_pool_the_database_and_the_features(served: Served, raw: asyncpg.Connection) -> None:
    async def only_ours_is_used() -> bool:
        return read(await scraped(served), "db_pool_connections", state="used") == 1

    async with served.operations.database.acquire():
        await until(only_ours_is_used)  # the worker has one now and then
    samples = await scraped(served)
    assert read(samples, "db_reachable") == 1
    assert read(samples, "db_pool_connections", state="max") == 20
    assert read(samples, "feature_enabled", feature="users") == 1
    await raw.execute("DROP TABLE processed_updates")
    await served.operations.switchboard.refresh()
    assert read(await scraped(served), "feature_enabled", feature="processed_updates") == 0


async def test_every_named_query_has_its_count_and_its_time(served: Served) -> None:
    """A histogram: Prometheus makes p50, p95 and p99 of it."""
    name = "db_query_duration_seconds"
    before = (await scraped(served)).get((f"ballast_{name}_count", frozenset({("query", "users.ensure_users")})), 0)
    await served.says(PAYER, "/start")
    samples = await scraped(served)
    assert read(samples, f"{name}_count", query="users.ensure_users") == before + 1
    assert read(samples, f"{name}_sum", query="users.ensure_users") > 0
    assert read(samples, f"{name}_bucket", query="users.ensure_users", le="+Inf") == before + 1


async def test_a_route_is_named_by_its_pattern(served: Served) -> None:
    assert (await served.get("/admin/users/42", admin=True))[0] == 404
    routes = {dict(labels).get("route") for _, labels in await scraped(served)}
    assert r"/admin/users/{user_id:\d{1,19}}" in routes
    assert "/admin/users/42" not in routes


async def test_the_loop_is_watched(served: Served) -> None:
    async def seen() -> bool:
        return read(await scraped(served), "loop_lag_seconds_count") > 0

    await until(seen)


async def test_the_database_away(served: Served, database_url: str) -> None:
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        assert read(await scraped(served), "db_reachable") == 0
