"""The Prometheus metrics of the process, in one registry of their own.

It knows their names, labels and buckets; it knows nothing of the things that are measured. A label takes only
words that the code writes (routes, query names, methods), never an id or anything a person typed: each new
value of a label is a time series for ever. https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

import platform

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)

import service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds. A coalesced read takes under a millisecond; what is slower than a door's 5 s budget is only "slow".
FAST = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Seconds. Jobs and calls to others go from a few milliseconds to minutes.
LONG = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

REGISTRY = CollectorRegistry()
disable_created_metrics()  # type: ignore[no-untyped-call]  # one more time series for each; the library has no types here


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(f"ballast_{name}", meaning, labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, *labels: str) -> Gauge:
    return Gauge(f"ballast_{name}", meaning, labels, registry=REGISTRY)


def _histogram(name: str, meaning: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"ballast_{name}", meaning, labels, buckets=buckets, registry=REGISTRY)


BUILD = Info("ballast_build", "What is running.", registry=REGISTRY)
BUILD.info({"version": service.__version__, "python": platform.python_version()})

# route is the pattern ("/admin/users/{id}"), never the path that was asked for.
HTTP_SECONDS = _histogram(
    "http_server_request_duration_seconds", "Requests answered.", FAST, "route", "method", "status"
)
LOOP_LAG = _histogram("loop_lag_seconds", "How late the event loop woke a sleeper.", FAST)

# state is idle, used or max.
DB_POOL_CONNECTIONS = _gauge("db_pool_connections", "Connections of the pool.", "state")
DB_POOL_WAIT = _histogram("db_pool_wait_seconds", "Waiting for a connection.", FAST)
DB_QUERY_SECONDS = _histogram("db_query_duration_seconds", "Named queries.", FAST, "query")
# sqlstate_class is the first two characters ("23"), or "client" for what the server never said.
DB_ERRORS = _counter("db_errors_total", "Errors of the database.", "sqlstate_class")
# Callers that have no connection yet, and those that left without one.
DB_POOL_WAITING = _gauge("db_pool_waiting", "Callers waiting for a connection.")
DB_POOL_TIMEOUTS = _counter("db_pool_timeouts_total", "Callers that got no connection in time.")
DB_OLDEST_TRANSACTION = _gauge("db_oldest_transaction_seconds", "The oldest transaction in this database.")
DB_DEAD_ROWS = _gauge("db_dead_rows", "Rows that vacuum has still to clear away.", "table")
MIGRATIONS_PENDING = _gauge("migrations_pending", "Migrations of this release that are not applied.")
DB_REACHABLE = _gauge("db_reachable", "1 while the database answers.")
FEATURE_ENABLED = _gauge("feature_enabled", "1 while the feature is on.", "feature")
FEATURE_DEGRADED = _gauge("feature_degraded", "1 while the feature is off and should be on.", "feature")

# result is handled, away, apology, repeated, ignored, flood, refused, parked or failed.
UPDATES = _counter("updates_total", "Updates that came in.", "kind", "result")
UPDATES_POISON = _counter("updates_poison_total", "Updates set aside after failing repeatedly.")

UPDATES_PARKED = _gauge("updates_parked", "Updates that wait for an operator.")
UPDATES_PARKED_OLDEST = _gauge("updates_parked_oldest_seconds", "How long the oldest of them has waited.")

# change is what the event said of the money; status is waiting, applied, ignored, review or closed.
PAYMENT_EVENTS = _counter("payment_events_total", "What processors said.", "provider", "change", "status")

# status is waiting or review.
PAYMENT_INBOX = _gauge("payment_inbox", "What processors said and was not applied.", "status")
PAYMENT_INBOX_OLDEST = _gauge("payment_inbox_oldest_seconds", "How long the oldest of them has waited.", "status")

# state is queued, waiting or running; model is one of the catalogue's, or gone; result is how it ended.
JOBS = _gauge("jobs", "Work under way.", "state")
JOBS_OLDEST = _gauge("jobs_oldest_seconds", "How late the oldest of it is, or how long it has run.", "state")
GENERATION_WAIT = _histogram("generation_wait_seconds", "From a place in the queue to the first try.", LONG)
GENERATION_SECONDS = _histogram("generation_duration_seconds", "From the first try to the end.", LONG, "model")
GENERATIONS = _counter("generations_total", "Work that ended.", "model", "result")
STALE_FINISHES = _counter("stale_finishes_total", "Ends that came from a worker whose claim was not his any more.")
INSTANCES = _gauge("instances", "Processes that work and are alive.")
INSTANCE_BEAT_AGE = _gauge("instance_beat_age_seconds", "Since any of them was last heard of.")

# result is ok, retryable or permanent.
TELEGRAM_CALLS = _counter("telegram_calls_total", "Calls to the Bot API.", "method", "result")
TELEGRAM_SECONDS = _histogram("telegram_call_duration_seconds", "Calls to the Bot API.", LONG, "method")

# operation is "POST /payments/{}/capture"; outcome is ok, refused or unclear (no answer, or one that says nothing).
UPSTREAM_SECONDS = _histogram(
    "upstream_seconds", "Calls to processors and providers.", LONG, "provider", "operation", "outcome"
)

# result is done or failed.
JOB_RUNS = _counter("job_runs_total", "Runs of periodic jobs.", "job", "result")
JOB_SECONDS = _histogram("job_duration_seconds", "Runs of periodic jobs.", LONG, "job")
# what is the job's own word: expired, applied, found.
RECOVERED = _counter("recovered_total", "What jobs that recover did.", "job", "what")

# Both 0 where BACKUP_TO is not set, or never yet.
BACKUP_SUCCESS = _gauge("backup_last_success_timestamp_seconds", "When the newest backup in BACKUP_TO was taken.")
BACKUP_VERIFIED = _gauge("backup_last_verified_timestamp_seconds", "When a backup in BACKUP_TO was verified last.")


def render() -> bytes:
    """All metrics in Prometheus' text format, of CONTENT_TYPE."""
    return generate_latest(REGISTRY)
