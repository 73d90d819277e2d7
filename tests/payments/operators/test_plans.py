"""The operators' queries on full tables: which index each of them goes by, whatever the planner knows of the values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import service.cli  # noqa: F401  # every room declares its queries
from benchmarks import verify
from service.kernel import queries
from tests.plans import Mode, explained, indexes, kinds, read_whole
from tests.postgres import Server

PEOPLE = 20_000
LATE = "2100-01-01Z"
NO_UUID = "00000000-0000-0000-0000-000000000000"
REST = (
    """
    INSERT INTO payment_events (provider, delivery_key, name, body, status, payment_id, received_at, finished_at)
    SELECT 'yookassa', n::text, 'payment.succeeded', '', status, md5('payment 1 ' || n)::uuid,
        now() - n * interval '1 minute', CASE status WHEN 'applied' THEN now() END
    FROM (
        SELECT n, CASE WHEN n % 50 = 0 THEN 'review' ELSE 'applied' END AS status FROM generate_series(1, 50000) AS n
    ) AS made
    """,
    """
    INSERT INTO idempotency_keys (scope, key, request_hash, created_at)
    SELECT 'adjust:' || n, 'key', '', now() - n * interval '1 minute' FROM generate_series(1, 20000) AS n
    """,
    """
    INSERT INTO payment_references (provider, reference, payment_id)
    SELECT provider, provider_payment_id, payment_id FROM payments
    """,
    """
    INSERT INTO payment_effects (effect_key, user_id)
    SELECT provider || ':payment:' || provider_payment_id, user_id FROM payments
    """,
    """
    INSERT INTO payment_refunds (refund_id, payment_id, provider, status, amount, check_at)
    SELECT gen_random_uuid(), payment_id, 'yookassa', 'requested', 1, now() + user_id * interval '1 second'
    FROM payments WHERE provider_payment_id LIKE '2-%'
    """,
    "UPDATE payments SET status = 'canceled', settled_at = NULL WHERE user_id % 100 = 0",
    "VACUUM ANALYZE",
)

# Query, values, the indexes it goes by.
HOT: list[tuple[str, tuple[object, ...], set[str]]] = [
    ("idempotency.get_key", ("adjust:5", "key"), {"idempotency_keys_pkey"}),
    ("idempotency.begin_key", ("adjust:5", "key", "", LATE, LATE), {"idempotency_keys_pkey"}),
    ("idempotency.answer_key", ("adjust:5", "key", "", 200, "", LATE), {"idempotency_keys_pkey"}),
    ("idempotency.unlock_key", ("adjust:5", "key"), {"idempotency_keys_pkey"}),
    ("idempotency.forget_keys", ("2000-01-01Z", LATE, 1000), {"idempotency_keys_created_at_idx"}),
    ("payments.lock_payment", (NO_UUID,), {"payments_pkey"}),
    ("payments.list_payments", (LATE, NO_UUID, 50), {"payments_recent_idx"}),
    ("payments.list_payments_by_status", ("canceled", LATE, NO_UUID, 50), {"payments_status_recent_idx"}),
    ("payments.list_payments_of_user", (5, None, LATE, NO_UUID, 50), {"payments_user_idx"}),
    ("payments.list_references", (NO_UUID,), {"payment_references_payment_idx"}),
    ("payments.list_payment_events", (NO_UUID, 200), {"payment_events_payment_idx"}),
    ("payments.list_review", (LATE, LATE, 0, 50), {"payment_events_review_idx"}),
    ("payments.get_event_state", (5,), {"payment_events_pkey"}),
    ("payments.retry_event", (5, LATE), {"payment_events_pkey"}),
    ("payments.close_event", (5, "why", LATE), {"payment_events_pkey"}),
    ("payment_refunds.get_refund", (NO_UUID,), {"payment_refunds_pkey"}),
    ("payment_refunds.list_refunds", (NO_UUID,), {"payment_refunds_payment_idx"}),
    ("payment_refunds.claim_refund", (NO_UUID, LATE, LATE), {"payment_refunds_pkey"}),
    ("payment_refunds.fail_refund", (NO_UUID, LATE), {"payment_refunds_pkey"}),
    ("ledger.list_payment_entries", (NO_UUID,), {"payment_transactions_payment_idx"}),
]


@pytest.fixture(scope="module")
def full(server: Server) -> Iterator[psycopg.Connection[Any]]:
    with server.migrated() as url, psycopg.connect(url, autocommit=True) as connection:
        verify.fill(url, PEOPLE)
        for statement in REST:
            connection.execute(statement.encode())
        yield connection


@pytest.fixture(params=["generic", "custom"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.mark.parametrize(("name", "values", "used"), HOT, ids=[name for name, *_ in HOT])
def test_it_goes_by_its_index(
    full: psycopg.Connection[Any], name: str, values: tuple[object, ...], used: set[str], mode: Mode
) -> None:
    plan = explained(full, queries.names()[name], *values, mode=mode)
    assert not read_whole(plan)
    assert used <= indexes(plan)


@pytest.mark.parametrize("name", ["payments.list_payments", "payments.list_review"])
def test_pages_are_not_sorted(full: psycopg.Connection[Any], name: str, mode: Mode) -> None:
    values = (LATE, NO_UUID, 50) if name == "payments.list_payments" else (LATE, LATE, 0, 50)
    assert not kinds(explained(full, queries.names()[name], *values, mode=mode)) & {"Sort", "Incremental Sort"}


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("compare", {"payment_reservations"}),  # no index has the people of those that were captured
        ("verify_sums", set()),
        ("verify_topups", set()),
        ("verify_captures", {"payment_reservations"}),
        ("verify_chargebacks", set()),
        ("verify_debts", set()),
    ],
)
def test_a_range_of_people_is_found_by_index(full: psycopg.Connection[Any], name: str, whole: set[str]) -> None:
    """Of few people; where a range is a good part of everybody, the planner reads tables whole, and may."""
    statement = queries.names()[f"ledger_verify.{name}"]
    given = {"after": 1_000, "until": 1_050, "since": "2000-01-01Z", "shown": 10}
    plan = explained(full, statement, *(given[one] for one in statement.parameters), mode="custom")
    assert read_whole(plan) <= whole


def test_a_look_back_is_made_for_those_alone_who_need_it(full: psycopg.Connection[Any]) -> None:
    """What explains a missing entry is looked up person by person, and not for everybody beforehand."""
    statement = queries.names()["ledger_verify.verify_topups"]
    plan = explained(full, statement, 0, 2**62, "2000-01-01Z", 10, mode="custom")
    assert "payment_transactions_user_idx" in indexes(plan)
    assert "Nested Loop" in kinds(plan)
