"""The hot queries on a full table: which index each of them goes by, whatever the planner is told of the values."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

import service.app  # noqa: F401  # every room declares its queries
from service.kernel import queries
from tests.plans import Mode, explained, indexes, kinds, read_whole
from tests.postgres import Server

ROWS = 50_000
SOON = "2100-01-01Z"
FILL = (
    f"""
    INSERT INTO users (user_id, username, first_name, is_active, created_at, started_at, started_with)
    SELECT n, CASE WHEN n % 5 = 0 THEN NULL WHEN n % 2 = 0 THEN 'user' || n ELSE md5(n::text) END, 'Name',
        n % 3 <> 0, now() - n * interval '1 minute', now() - n * interval '1 minute',
        CASE WHEN n % 2 = 0 THEN 'ref_' || n % 5000 + 1 ELSE '' END
    FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO processed_updates (bot_id, update_id, reply, created_at)
    SELECT 1, n, 'reply', now() - n * interval '4 seconds' FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO failed_updates (bot_id, update_id, body, error, failed_at, parked_at)
    SELECT 1, n, 'body', 'error', now() - n * interval '1 minute', CASE WHEN n % 2 = 0 THEN now() END
    FROM generate_series(1, {ROWS // 10}) AS n
    """,
    f"""
    INSERT INTO balances (user_id, balance_rub, booked_in)
    SELECT n, 100, 'payment_transactions'::regclass::oid FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO payment_transactions (user_id, amount_rub, type, effect_key, created_at)
    SELECT n, 100, 'topup', 'effect' || n, now() - n * interval '1 minute' FROM generate_series(1, {ROWS}) AS n
    """,
    f"INSERT INTO payment_effects (effect_key, user_id) SELECT 'effect' || n, n FROM generate_series(1, {ROWS}) AS n",
    f"""
    INSERT INTO payment_reservations (reservation_id, user_id, amount_rub, captured_rub, status, purpose, expires_at)
    SELECT md5(n::text)::uuid, n, 10, CASE WHEN n % 100 = 0 THEN 0 ELSE 10 END,
        CASE WHEN n % 100 = 0 THEN 'held' ELSE 'captured' END, 'work', now() + n * interval '1 second'
    FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO payments (payment_id, user_id, provider, provider_payment_id, status, amount, credit_rub, pack_id,
        expires_at, settled_at, told_at, check_at, created_at)
    SELECT md5(n::text)::uuid, n, 'yookassa', 'p' || n, CASE WHEN n % 100 = 0 THEN 'pending' ELSE 'succeeded' END,
        100, 100, 'small', now(), CASE WHEN n % 100 <> 0 THEN now() END, CASE WHEN n % 100 > 1 THEN now() END, now(),
        now() - n * interval '1 minute'
    FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO payment_references (provider, reference, payment_id)
    SELECT 'yookassa', 'p' || n, md5(n::text)::uuid FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO payment_events (provider, delivery_key, name, reference, body, status, payment_id, due_at, finished_at)
    SELECT 'yookassa', 'd' || n, 'payment.succeeded', 'p' || n, 'body', CASE WHEN n % 100 = 0 THEN 'waiting'
        ELSE 'applied' END, md5(n::text)::uuid, now(), CASE WHEN n % 100 <> 0 THEN now() END
    FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO payment_refunds (refund_id, payment_id, provider, provider_refund_id, status, amount)
    SELECT md5(n::text)::uuid, md5(n::text)::uuid, 'yookassa', 'r' || n, 'succeeded', 10
    FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO generation_jobs (job_id, user_id, chat_id, model_id, prompt, timeout_s, status, place, outputs,
        created_at, finished_at, delivered_at)
    SELECT md5(n::text)::uuid, n, n, 'model', 'prompt', 60, 'success', now(), '{{"text": "b"}}', now(), now(), now()
    FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO generation_jobs (job_id, user_id, chat_id, model_id, prompt, timeout_s, status, place, outputs,
        price_rub, at_once, due_at, instance_id, lease, deadline_at, finished_at)
    SELECT md5('open' || n)::uuid, n, n, 'model' || n % 20, 'prompt', 60, status,
        now() + n * interval '1 second', NULL, CASE WHEN n % 3 = 0 THEN 10 ELSE 0 END,
        CASE WHEN n % 10 = 0 THEN 50 END, CASE WHEN status NOT IN ('queued', 'running') THEN now() END,
        CASE WHEN status = 'running' THEN md5('instance' || n % 100)::uuid END, 1, now() + n * interval '1 second',
        CASE WHEN status = 'success' THEN now() END
    FROM generate_series(1, {ROWS}) AS n
    CROSS JOIN LATERAL (
        SELECT CASE WHEN n % 97 = 0 THEN 'running' WHEN n % 89 = 0 THEN 'waiting' WHEN n % 83 = 0 THEN 'success'
            ELSE 'queued' END AS status
    ) AS state
    """,
    """
    INSERT INTO instances (instance_id, name, beat_at)
    SELECT md5('instance' || n)::uuid, 'name', now() FROM generate_series(0, 4999) AS n
    """,
    f"""
    INSERT INTO projects (user_id, name, updated_at)
    SELECT 1 + n % 1000, 'Project ' || n, now() - n * interval '1 minute' FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO project_history (project_id, user_id, model_id, inputs, outputs, status, created_at, job_id)
    SELECT 1 + n % 500, 1 + (1 + n % 500) % 1000, 'model', '{{"prompt": "a"}}', '{{"text": "b"}}', 'success',
        now() - n * interval '1 minute', md5(n::text)::uuid
    FROM generate_series(1, {ROWS}) AS n
    """,
    f"""
    INSERT INTO generation_events (user_id, model_id, status, is_free_applied, request_id, error_code, created_at)
    SELECT n / 10, 'model' || n % 20,
        CASE WHEN n % 20 = 0 THEN 'failed' WHEN n % 2 = 0 THEN 'started' ELSE 'success' END, n % 3 = 0, 'job' || n,
        CASE WHEN n % 20 = 0 THEN 'refused' END, now() - n * interval '1 minute'
    FROM generate_series(10, {ROWS}) AS n
    """,
    f"""
    INSERT INTO referrals (referrer_id, referred_id, created_at, reward_rub, rewarded_at, tell_at)
    SELECT n % 5000 + 1, n, now() - n * interval '1 minute', CASE WHEN n % 10 = 0 THEN 10 ELSE 0 END,
        CASE WHEN n % 10 = 0 THEN now() END, CASE WHEN n % 1000 = 0 THEN now() END
    FROM generate_series(100, {ROWS}, 2) AS n
    """,
    f"""
    INSERT INTO tail_events (key, name, instance, user_id, happened_at)
    SELECT gen_random_uuid(), 'started', 'a', n, now() - n * interval '1 second' FROM generate_series(1, {ROWS}) AS n
    """,
    "VACUUM ANALYZE",
)
PAYMENT = "00000000-0000-4000-8000-000000000000"
ONE = ([5], ["a"], ["b"], [None], ["en"])
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).isoformat()
EVENTS = (
    *(
        list(range(100)),
        [None] * 100,
        ["model"] * 100,
        [None] * 100,
        ["success"] * 100,
        [True] * 100,
        [Decimal(0)] * 100,
    ),
    *(["job"] * 100, *[[None] * 100] * 4, [SOON] * 100),
)
MANY = (list(range(200)), ["a"] * 200, ["b"] * 200, [None] * 200, ["en"] * 200)

JOBS = {"generation_jobs_pkey"}

# Query, values, the indexes it goes by.
HOT: list[tuple[str, tuple[object, ...], set[str]]] = [
    ("users.get_users", ([1, 2, 3],), {"users_pkey"}),
    ("users.get_users", (list(range(200)),), {"users_pkey"}),
    ("users.get_languages", (list(range(200)),), {"users_pkey"}),
    ("users.ensure_users", ONE, {"users_pkey"}),
    ("users.ensure_users", MANY, {"users_pkey"}),
    ("users.choose_language", (5, "en"), {"users_pkey"}),
    ("users.mark_active", (5, False), {"users_pkey"}),
    ("users.list_users", (SOON, 0, 50), {"users_recent_idx"}),
    ("users.list_recent_users", ("2000-01-01Z", 50), {"users_recent_idx"}),
    ("users.find_users_by_prefix", ("user", None, "", 0, 50), {"users_username_prefix_idx"}),
    ("users.find_users_by_prefix", ("nobody", None, "", 0, 50), {"users_username_prefix_idx"}),
    ("users.find_users_by_prefix", ("user", True, "user4", 40, 50), {"users_username_prefix_idx"}),
    ("payments.store_event", ("yookassa", "new", "paid", "p5", "body", SOON), {"payment_events_delivered_once"}),
    ("payments.get_event_status", ("yookassa", "d5"), {"payment_events_delivered_once"}),
    (
        "payments.lock_payments",
        (PAYMENT, ["yookassa"], ["p5"]),
        {"payments_pkey", "payment_references_pkey"},
    ),
    (
        "payments.move_payment",
        (PAYMENT, "succeeded", "p5", SOON, ["yookassa"], ["p5"], 5),
        {"payments_pkey", "payment_references_pkey", "payment_events_pkey"},
    ),
    ("payments.finish_event", (5, "ignored", "", None, SOON, SOON), {"payment_events_pkey"}),
    ("payments.claim_untold", ("2000-01-01Z", SOON, 5), {"payments_untold_idx", "payments_pkey"}),
    ("payments.mark_told", (PAYMENT, SOON), {"payments_pkey"}),
    ("payments.list_payments_of", (5, 5), {"payments_user_idx"}),
    (
        "payments.claim_events",
        (SOON, "10 seconds", "1 hour", ["yookassa"], 20),
        {"payment_events_due_idx", "payment_events_pkey"},
    ),
    (
        "payments.claim_orders",
        (SOON, "5 minutes", "1 hour", ["yookassa"], 10),
        {"payments_open_idx", "payments_pkey"},
    ),
    ("payments.is_named", (["yookassa"], ["p5"]), {"payment_references_pkey"}),
    (
        "payment_refunds.claim_refunds",
        (SOON, "5 minutes", "1 hour", ["yookassa"], 10),
        {"payment_refunds_open_idx", "payment_refunds_pkey"},
    ),
    ("payment_refunds.find_refund", (PAYMENT, "r5", None, 10), {"payment_refunds_payment_idx"}),
    (
        "ledger.post",
        ("new", 5, 10, "topup", "why", None, None, False),
        {"payment_effects_pkey", "balances_pkey"},
    ),
    ("ledger.get_balance", (5,), {"balances_pkey", "payment_reservations_held_idx"}),
    ("ledger.list_entries", (5, SOON, 0, 10), {"payment_transactions_user_idx"}),
    ("ledger.reserve", (PAYMENT, 5, 10, "work", SOON), {"balances_pkey", "payment_reservations_pkey"}),
    (
        "ledger.capture",
        (PAYMENT, 10, "2000-01-01Z", "new", "deduction", "why"),
        {"payment_reservations_pkey", "balances_pkey"},
    ),
    ("ledger.release", (PAYMENT, SOON), {"payment_reservations_pkey", "balances_pkey"}),
    ("ledger.expire", ("2000-01-01Z", 200), {"payment_reservations_expiring_idx", "balances_pkey"}),
    ("ledger.list_unbooked", (500,), {"balances_unbooked_idx", "balances_booked_in_idx"}),
    ("projects.list_projects", (5, 0, 11), {"projects_user_idx"}),
    ("projects.find_project", (5, "Project 4"), {"projects_user_idx"}),
    ("projects.create_project", (5, "new", 50), {"projects_user_idx"}),
    ("projects.get_project", (5, 5), {"projects_pkey"}),
    ("projects.list_results", (5, SOON, 0, 11), {"project_history_project_idx"}),
    ("projects.get_result", (5, 5), {"project_history_pkey"}),
    ("projects.remove_result", (5, 5), {"project_history_pkey", "projects_pkey"}),
    (
        "generation.enqueue",
        (PAYMENT, 5, 5, "en", "model", 0, "prompt", 60, None, SOON, 10),
        {"generation_jobs_open_idx", "generation_jobs_pkey"},
    ),
    (
        "generation.claim",
        (PAYMENT, SOON, "2000-01-01Z", 10**6, 100),
        {"generation_jobs_waiting_idx", "generation_jobs_queued_idx", "generation_jobs_pkey"},
    ),
    (
        "generation.claim_limited",
        (PAYMENT, SOON, 10**6, 100),
        {"generation_jobs_limited_idx", "generation_jobs_busy_idx", "generation_jobs_pkey"},
    ),
    ("generation.put_off", (PAYMENT, 1, "reference", 7, SOON, SOON), JOBS),
    ("generation.finish", ([PAYMENT], [1], ["success"], ["{}"], [None], [None], [None], [SOON], SOON), JOBS),
    (
        "generation.finish",
        ([PAYMENT] * 200, [1] * 200, ["success"] * 200, *[[None] * 200] * 4, [SOON] * 200, SOON),
        JOBS,
    ),
    ("generation.cancel", (PAYMENT, 5, SOON), set()),
    ("generation.call_back", (PAYMENT, SOON), JOBS),
    ("generation.get_job", (PAYMENT, 5), JOBS),
    ("generation.beat", (PAYMENT, "name", SOON), {"instances_pkey"}),
    ("generation.list_leases", (PAYMENT,), {"generation_jobs_running_idx"}),
    ("generation.disown", (PAYMENT, [PAYMENT], [1]), {"generation_jobs_running_idx"}),
    ("generation.leave", (PAYMENT, SOON), {"generation_jobs_running_idx"}),
    ("generation.claim_undelivered", (SOON, SOON, 5), {"generation_jobs_undelivered_idx", "generation_jobs_pkey"}),
    ("generation.mark_delivered", ([PAYMENT], ["{}"], SOON), JOBS),
    ("generation.list_paid", (PAYMENT, 200), {"generation_jobs_paid_idx"}),
    ("generation.prune_jobs", ("2000-01-01Z", 200), {"generation_jobs_finished_idx", "generation_jobs_pkey"}),
    ("projects.get_made", (PAYMENT, 5), {"generation_jobs_pkey"}),
    ("projects.save_result", (PAYMENT, 5, 5), {"projects_pkey", "generation_jobs_pkey", "project_history_job_once"}),
    ("diagnostics.write_events", EVENTS, {"users_pkey"}),
    ("diagnostics.count_of_user", (5, YESTERDAY, SOON), {"generation_events_user_idx"}),
    ("diagnostics.count_of_all", (YESTERDAY, SOON), {"generation_events_created_idx"}),
    ("diagnostics.list_top_models", (YESTERDAY, SOON, 5), {"generation_events_created_idx"}),
    ("diagnostics.list_failures", (YESTERDAY, SOON, 10), {"generation_events_failed_idx"}),
    ("diagnostics.prune_events", ("2000-01-01Z", 5_000), {"generation_events_created_idx"}),
    ("users.note_start", (5, "ref_1"), {"users_pkey"}),
    ("referrals.get_last_came", (SOON,), {"referrals_recent_idx"}),
    ("referrals.link", ("2000-01-01Z", 0, 500), {"users_brought_idx", "users_pkey", "referrals_one_referrer"}),
    ("referrals.get_summary", (6,), {"referrals_referrer_idx"}),
    ("referrals.list_rewards", (6, 5), {"referrals_referrer_idx"}),
    (
        "referrals.list_due_lately",
        (YESTERDAY, True, 5_000),
        {"payments_recent_idx", "referrals_referred_idx"},
    ),
    ("referrals.look_through", (0, True, 1_000), {"referrals_unrewarded_idx", "payments_user_idx"}),
    ("referrals.claim_unrewarded", (5, True), {"referrals_unrewarded_idx", "payments_user_idx"}),
    ("referrals.mark_rewarded", (5, 10, SOON, None), {"referrals_pkey"}),
    ("referrals.claim_untold", (SOON, SOON, 5), {"referrals_untold_idx", "referrals_pkey"}),
    ("referrals.mark_told", (5,), {"referrals_pkey"}),
    ("telegram.claim_update", (1, 10**9), {"processed_updates_pkey"}),
    ("telegram.get_reply", (1, 5), {"processed_updates_pkey"}),
    ("telegram.store_reply", (1, 5, "reply"), {"processed_updates_pkey"}),
    ("telegram.prune_processed", (SOON, 5_000), {"processed_updates_created_at_idx"}),
    ("telegram.prune_processed", ("2000-01-01Z", 5_000), {"processed_updates_created_at_idx"}),
    ("telegram.record_failure", (1, 5, "body", "error", 3), {"failed_updates_pkey"}),
    ("telegram.get_failed", (1, 5), {"failed_updates_pkey"}),
    ("telegram.list_failed", (1, SOON, 0, 50), {"failed_updates_waiting_idx"}),
    ("telegram.prune_failures", (SOON, 5_000), {"failed_updates_mended_idx"}),
    ("telegram.measure_parked", (1, SOON, 10_000), {"failed_updates_waiting_idx"}),
    ("payments.measure_inbox", (SOON, 10_000), {"payment_events_review_idx"}),
    (
        "generation.measure_jobs",
        (SOON, 10_000),
        {
            "generation_jobs_queued_idx",
            "generation_jobs_limited_idx",
            "generation_jobs_waiting_idx",
            "generation_jobs_running_idx",
        },
    ),
    ("tail.last_id", (), {"tail_events_pkey"}),
    ("tail.id_before", (SOON,), {"tail_events_happened_idx", "tail_events_pkey"}),
    ("tail.list_after", (ROWS - 100, ROWS, ["started"], 5, None, 100), {"tail_events_pkey"}),
    ("tail.list_last", (ROWS, None, None, None, 10), {"tail_events_pkey"}),
    ("tail.prune_events", ("2000-01-01Z", 5_000), {"tail_events_happened_idx"}),
]


def fill(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in FILL:
            connection.execute(statement.encode())
        yield connection


@pytest.fixture(scope="module")
def full(server: Server) -> Iterator[psycopg.Connection[Any]]:
    with server.migrated() as url:
        yield from fill(url)


@pytest.fixture(scope="module")
def full_of_trigrams(debian_url: str) -> Iterator[psycopg.Connection[Any]]:
    for connection in fill(debian_url):
        yield connection
        connection.execute("SET session_replication_role = replica")  # money is else not to be thrown away
        connection.execute("TRUNCATE users, processed_updates, failed_updates CASCADE")


@pytest.fixture(params=["generic", "custom"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.mark.parametrize(
    ("name", "values", "used"), HOT, ids=[f"{name}-{number}" for number, (name, *_) in enumerate(HOT)]
)
def test_it_goes_by_its_index(
    full: psycopg.Connection[Any], name: str, values: tuple[object, ...], used: set[str], mode: Mode
) -> None:
    plan = explained(full, queries.names()[name], *values, mode=mode)
    assert not read_whole(plan)
    assert used <= indexes(plan)


def test_a_rescue_looks_at_what_is_under_way(full: psycopg.Connection[Any], mode: Mode) -> None:
    """And at all processes, where those are few."""
    values = (SOON, SOON, SOON, 3, 10**6, 200)
    plan = explained(full, queries.names()["generation.rescue"], *values, mode=mode)
    assert read_whole(plan) <= {"instances"}
    assert {"generation_jobs_running_idx", "generation_jobs_pkey"} <= indexes(plan)


@pytest.mark.parametrize("active", [True, False])
def test_pages_of_active_people_are_not_sorted(full: psycopg.Connection[Any], active: bool, mode: Mode) -> None:
    plan = explained(full, queries.names()["users.list_users_by_activity"], active, SOON, 0, 50, mode=mode)
    assert not kinds(plan) & {"Sort", "Incremental Sort", "Seq Scan"}
    assert indexes(plan) <= {"users_active_recent_idx", "users_recent_idx"}


def test_the_few_who_left_are_found_among_the_many(full: psycopg.Connection[Any], mode: Mode) -> None:
    """Where one state is rare, going by the time alone would read everybody."""
    full.execute("BEGIN")
    full.execute("UPDATE users SET is_active = user_id % 500 <> 0")
    full.execute("ANALYZE users")
    plan = explained(full, queries.names()["users.list_users_by_activity"], False, SOON, 0, 50, mode=mode)
    full.execute("ROLLBACK")
    assert not kinds(plan) & {"Sort", "Incremental Sort", "Seq Scan"}
    if mode == "custom":
        assert indexes(plan) == {"users_active_recent_idx"}


@pytest.mark.parametrize("name", ["users.list_users", "users.list_recent_users"])
def test_pages_are_not_sorted(full: psycopg.Connection[Any], name: str, mode: Mode) -> None:
    statement = queries.names()[name]
    values = (SOON, 0, 50) if len(statement.parameters) == 3 else ("2000-01-01Z", 50)
    assert not kinds(explained(full, statement, *values, mode=mode)) & {"Sort", "Incremental Sort"}


@pytest.mark.parametrize(("name", "values"), [("list_projects", (5, 0, 11)), ("list_results", (5, SOON, 0, 11))])
def test_pages_of_projects_are_not_sorted(
    full: psycopg.Connection[Any], name: str, values: tuple[object, ...], mode: Mode
) -> None:
    plan = explained(full, queries.names()[f"projects.{name}"], *values, mode=mode)
    assert not kinds(plan) & {"Sort", "Incremental Sort", "Seq Scan"}


@pytest.mark.parametrize("term", ["ser123", "nobody"])
def test_a_part_of_a_name_is_found_by_trigrams(
    full_of_trigrams: psycopg.Connection[Any], term: str, mode: Mode
) -> None:
    statement = queries.names()["users.find_users_by_substring"]
    plan = explained(full_of_trigrams, statement, f"%{term}%", None, "", 0, 50, mode=mode)
    assert "users_username_trigram_idx" in indexes(plan)
    assert not read_whole(plan)


def test_a_page_that_is_read_by_place_is_deleted_by_place(full: psycopg.Connection[Any], mode: Mode) -> None:
    plan = explained(full, queries.names()["telegram.prune_processed"], SOON, 5_000, mode=mode)
    assert "Tid Scan" in kinds(plan)
