"""Figures that stand in rows: looked up when they are asked for, now and then, and never for long."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from dataclasses import replace
from typing import Any

import asyncpg
from prometheus_client.parser import text_string_to_metric_families

from service.feature import Feature, Gauges, Rooms, Sample
from service.features import FEATURES
from service.kernel import metrics
from service.kernel.database import Connection
from service.ops.metrics import stock
from service.text import Text
from tests.cast import PAYER
from tests.outage import away
from tests.serving import Served, serving
from tests.waiting import until

Figures = dict[tuple[str, str], float]


async def figures(served: Served) -> Figures:
    """(name, value of the first label or empty) -> value, after a look of now."""
    hour = next(HOURS)
    served.operations.clock.monotonic = lambda: time.monotonic() + 3600 * hour  # type: ignore[method-assign]
    async with served.http.get(f"{served.base}/metrics") as response:
        assert response.status == 200
        text = await response.text()
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


HOURS = itertools.count(1)
JOB = """
    INSERT INTO generation_jobs (job_id, user_id, chat_id, model_id, prompt, timeout_s, status, place, due_at,
        started_at, deadline_at)
    SELECT gen_random_uuid(), 1, 1, 'a', 'b', 600, 'waiting', now() + interval '1 day', now() + interval '1 day',
        now() - interval '5 minutes', now() + interval '1 day'
"""


async def test_work(served: Served, raw: asyncpg.Connection) -> None:
    await until(lambda: served.operations.switchboard.probed_at)
    await raw.execute("INSERT INTO users (user_id) VALUES (1)")
    await raw.execute(JOB)
    found = await figures(served)
    assert [found["ballast_jobs", state] for state in ("queued", "waiting", "running")] == [0, 1, 0]
    assert found["ballast_jobs_oldest_seconds", "waiting"] == 0, "it is not due yet"
    assert found["ballast_instances", ""] == 1
    assert 0 <= found["ballast_instance_beat_age_seconds", ""] < 60


async def test_the_inbox_and_parked_updates(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute(
        "INSERT INTO payment_events (provider, delivery_key, name, body, status, reason, received_at, due_at)"
        " SELECT 'yookassa', 'k' || n, 'a', 'b', CASE WHEN n > 1 THEN 'review' ELSE 'waiting' END, 'c',"
        " now() - n * interval '1 hour', now() + interval '1 day' FROM generate_series(1, 3) AS n"
    )
    await raw.execute(
        "INSERT INTO failed_updates (bot_id, update_id, body, error, failed_at, parked_at)"
        " VALUES ($1, 1, 'a', 'b', now(), now() - interval '2 hours')",
        served.operations.config.bot_id,
    )
    found = await figures(served)
    assert [found["ballast_payment_inbox", status] for status in ("waiting", "review")] == [1, 2]
    assert 10_700 < found["ballast_payment_inbox_oldest_seconds", "review"] < 11_000
    assert found["ballast_updates_parked", ""] == 1
    assert 7_100 < found["ballast_updates_parked_oldest_seconds", ""] < 7_400


async def test_the_database(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("BEGIN")
    await raw.execute("INSERT INTO users (user_id) SELECT n FROM generate_series(1, 100) AS n")
    await asyncio.sleep(0.05)
    found = await figures(served)
    assert 0.05 <= found["ballast_db_oldest_transaction_seconds", ""] < 60
    assert ("ballast_db_dead_rows", "users") in found
    assert found["ballast_migrations_pending", ""] == 0
    assert found["ballast_db_pool_waiting", ""] == 0
    await raw.execute("ROLLBACK")
    await raw.execute("DELETE FROM _yoyo_migration WHERE migration_id = '0012_tail'")
    assert (await figures(served))["ballast_migrations_pending", ""] == 1


async def test_what_people_order_is_counted(served: Served) -> None:
    before = (await figures(served)).get(("ballast_generations_total", "qr"), 0)
    await served.says(PAYER, "/generate qr hello")

    async def counted() -> bool:
        return (await figures(served)).get(("ballast_generations_total", "qr"), 0) == before + 1

    await until(counted, within=10)
    found = await figures(served)
    assert found["ballast_generation_duration_seconds_count", "qr"] >= 1
    assert found["ballast_generation_wait_seconds_count", ""] >= 1


async def test_while_a_feature_is_off_its_figures_are_unknown(served: Served, raw: asyncpg.Connection) -> None:
    assert ("ballast_jobs", "queued") in await figures(served)
    await raw.execute("ALTER TABLE generation_jobs RENAME TO gone")
    await served.operations.switchboard.refresh()
    found = await figures(served)
    assert ("ballast_jobs", "queued") not in found
    assert math.isnan(found["ballast_instances", ""])
    assert found["ballast_feature_degraded", "generation_jobs"] == 1
    assert ("ballast_payment_inbox", "review") in found, "others go on"


async def test_with_the_database_away_nothing_is_what_it_was(
    served: Served, database_url: str, raw: asyncpg.Connection
) -> None:
    await figures(served)
    await raw.close()
    async with away(database_url):
        await until(lambda: not served.operations.database.reachable)
        found = await figures(served)
    assert ("ballast_jobs", "queued") not in found
    assert math.isnan(found["ballast_migrations_pending", ""])
    assert found["ballast_db_reachable", ""] == 0


async def test_a_look_is_shared_and_kept_and_a_slow_one_waited_for_no_longer_than_that(
    database_url: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(stock, "LOOK_S", 0.3)
    looks: list[int] = []

    async def look(_rooms: Rooms, conn: Connection) -> list[Sample]:
        looks.append(1)
        await conn.execute("SELECT pg_sleep($1)", 0 if len(looks) == 1 else 60)
        return [(metrics.INSTANCES, (), 42.0)]

    odd = Feature(name="odd", title=Text(en="Odd", ru="Odd"), gauges=(Gauges((metrics.INSTANCES,), look),))
    features = [replace(feature, gauges=()) for feature in FEATURES]
    async with serving(database_url, features=[*features, odd]) as served:
        assert (await figures(served))["ballast_instances", ""] == 42
        async with served.http.get(f"{served.base}/metrics") as response:
            assert "ballast_instances 42.0" in await response.text()
        assert len(looks) == 1, "what is known is young enough"
        started = time.monotonic()
        assert math.isnan((await figures(served))["ballast_instances", ""])
        assert time.monotonic() - started < 2
