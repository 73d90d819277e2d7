"""What is measured of the work: how it ends and how long it takes, as it is told; how much of it there is, from rows.

It knows metrics and the two tables; it changes nothing. A model that the catalogue does not have is `gone`, so that
there are as many time series as models.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec

from service.catalog import Catalog
from service.config import Config
from service.feature import Event, Gauges, Rooms, Sample
from service.features.generation.queue.table import SQL
from service.kernel import metrics
from service.kernel.clock import Clock
from service.kernel.database import Connection

# Jobs of a state are counted up to so many: nobody needs to know how many more there are.
MEASURED_MAX = 10_000
STATES = ("queued", "waiting", "running")


class Open(msgspec.Struct, frozen=True):
    """Jobs of one state, and the oldest of them in seconds."""

    state: str
    jobs: int
    oldest_s: float


class Instances(msgspec.Struct, frozen=True):
    """Processes that are alive, and the seconds since any was heard of; None: none ever was."""

    alive: int
    beat_age_s: float | None


_measure_jobs = SQL.many("measure_jobs", Open)
_measure_instances = SQL.one("measure_instances", Instances)


def hear(rooms: Rooms, event: Event) -> None:
    """Count what is told of a generation."""
    told, model_id = event.told, event.told["model_id"]
    model = model_id if rooms.of(Catalog).model(model_id) else "gone"
    if told["status"] == "started":
        if told.get("waited_s") is not None:
            metrics.GENERATION_WAIT.observe(told["waited_s"])
        return
    metrics.GENERATIONS.labels(model, told["status"]).inc()
    if told["duration_ms"] is not None:
        metrics.GENERATION_SECONDS.labels(model).observe(told["duration_ms"] / 1000)


async def measure(rooms: Rooms, conn: Connection) -> list[Sample]:
    """For Gauges."""
    now, ttl = rooms.of(Clock).now(), timedelta(seconds=rooms.of(Config).job_heartbeat_ttl)
    found = {one.state: one for one in await _measure_jobs(conn, now=now, most=MEASURED_MAX)}
    instances = await _measure_instances(conn, now=now, alive_since=now - ttl)
    assert instances is not None, "a count has a row"
    samples: list[Sample] = [(metrics.INSTANCES, (), instances.alive)]
    if instances.beat_age_s is not None:
        samples.append((metrics.INSTANCE_BEAT_AGE, (), instances.beat_age_s))
    for one in (found.get(state, Open(state, 0, 0.0)) for state in STATES):
        samples += [(metrics.JOBS, (one.state,), one.jobs), (metrics.JOBS_OLDEST, (one.state,), one.oldest_s)]
    return samples


GAUGES = Gauges((metrics.JOBS, metrics.JOBS_OLDEST, metrics.INSTANCES, metrics.INSTANCE_BEAT_AGE), measure)
