"""`ledger verify` on a million people with ten million entries: how long it takes, and how much memory.

The data is made once, in SQL, in an embedded server of its own, as four years of use would leave it: everybody has
paid twice, spent seven times out of reservations, and has one more entry; what belongs to one person lies far apart.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from service.kernel import embedded, migrate

PEOPLE = 1_000_000
ENTRIES_EACH = 10
ROUNDS = 3
SECONDS_AT_MOST = 60.0
MB_AT_MOST = 100.0
# One in so many had a refund of 20 roubles; the others were rewarded with 20.
REFUNDED = 10
# In no order of their ids, so that neighbours by id are far apart on disk. The modulus is a prime above PEOPLE.
EVERYBODY = """
    (SELECT m * 7919 % 1000003 AS n FROM generate_series(1, current_setting('benchmark.people')::bigint) AS m) AS people
"""

# What each refers to is made by the same rows; checking ten million references again would only take its time.
UNCHECKED = "SET session_replication_role = replica"
FILL = (
    f"INSERT INTO users (user_id, first_name) SELECT n, 'Person' FROM {EVERYBODY}",
    f"""
    INSERT INTO payments (
        payment_id, user_id, provider, provider_payment_id, status, amount, credit_rub, refunded_amount, refunded_rub,
        pack_id, created_at, expires_at, settled_at
    )
    SELECT md5('payment ' || k || ' ' || n)::uuid, n, 'yookassa', k || '-' || n, 'succeeded', 150, 150,
        CASE WHEN k = 1 AND n % {REFUNDED} = 0 THEN 20 ELSE 0 END,
        CASE WHEN k = 1 AND n % {REFUNDED} = 0 THEN 20 ELSE 0 END,
        'small', now() + k * interval '1 minute', now() + interval '1 day', now() + k * interval '1 minute'
    FROM generate_series(1, 2) AS k, {EVERYBODY}
    """,
    f"""
    INSERT INTO payment_refunds (refund_id, payment_id, provider, provider_refund_id, status, amount, amount_rub)
    SELECT md5('refund ' || n)::uuid, md5('payment 1 ' || n)::uuid, 'yookassa', 'refund-' || n, 'succeeded', 20, 20
    FROM {EVERYBODY}
    WHERE n % {REFUNDED} = 0
    """,
    f"""
    INSERT INTO payment_reservations (
        reservation_id, user_id, amount_rub, captured_rub, status, purpose, finished_at
    )
    SELECT md5('reservation ' || k || ' ' || n)::uuid, n, 12, 10, 'captured', 'a picture',
        now() + k * interval '1 hour'
    FROM generate_series(1, 7) AS k, {EVERYBODY}
    """,
    f"""
    INSERT INTO payment_reservations (reservation_id, user_id, amount_rub, status, purpose)
    SELECT md5('held ' || n)::uuid, n, 30, 'held', 'a picture'
    FROM {EVERYBODY}
    WHERE n % 100 = 0
    """,
    f"""
    INSERT INTO payment_transactions (user_id, amount_rub, type, reason, created_at, effect_key, payment_id)
    SELECT n, 150, 'topup', 'yookassa: 150.00 RUB', now() + k * interval '1 minute',
        'yookassa:payment:' || k || '-' || n, md5('payment ' || k || ' ' || n)::uuid
    FROM generate_series(1, 2) AS k, {EVERYBODY}
    """,
    f"""
    INSERT INTO payment_transactions (user_id, amount_rub, type, reason, created_at, effect_key, reservation_id)
    SELECT n, -10, 'deduction', 'a picture', now() + k * interval '1 hour',
        'capture:' || md5('reservation ' || k || ' ' || n)::uuid, md5('reservation ' || k || ' ' || n)::uuid
    FROM generate_series(1, 7) AS k, {EVERYBODY}
    """,
    f"""
    INSERT INTO payment_transactions (user_id, amount_rub, type, created_at, effect_key, payment_id, refund_id)
    SELECT n, CASE WHEN gone THEN -20 ELSE 20 END, CASE WHEN gone THEN 'chargeback' ELSE 'referral' END,
        now() + interval '1 day', CASE WHEN gone THEN 'yookassa:refund:' ELSE 'referral:' END || n,
        CASE WHEN gone THEN md5('payment 1 ' || n)::uuid END, CASE WHEN gone THEN md5('refund ' || n)::uuid END
    FROM (SELECT n, n % {REFUNDED} = 0 AS gone FROM {EVERYBODY}) AS rewarded
    """,
    f"""
    INSERT INTO balances (user_id, balance_rub, booked_in)
    SELECT n, 230 + CASE WHEN n % {REFUNDED} = 0 THEN -20 ELSE 20 END - CASE WHEN n % 100 = 0 THEN 30 ELSE 0 END,
        'payment_transactions'::regclass::oid
    FROM {EVERYBODY}
    """,
    "ANALYZE",
)


def fill(dsn: str, people: int) -> None:
    """So many people, who have ten entries each."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(UNCHECKED)
        connection.execute(f"SET benchmark.people = {people}".encode())
        for statement in FILL:
            connection.execute(statement.encode())


def measure() -> None:
    """`ledger verify` on 1,000,000 people with 10,000,000 entries: seconds, and memory of the process."""
    with tempfile.TemporaryDirectory() as folder:
        database = embedded.start(Path(folder))
        try:
            migrate.up(database.dsn())
            print(f" making {PEOPLE:,} people with {PEOPLE * ENTRIES_EACH:,} entries; some minutes")
            fill(database.dsn(), PEOPLE)
            for number in range(1, ROUNDS + 1):
                seconds, told = _verified(database.dsn())
                print(f"  round {number}: {seconds:.1f} s (wanted: {SECONDS_AT_MOST:.0f})   {told}")
        finally:
            database.stop()
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"  memory of the largest process that was started: {peak_mb:.0f} MB (wanted: {MB_AT_MOST:.0f})")


def _verified(dsn: str) -> tuple[float, str]:
    """Seconds, and what it said; it must find nothing."""
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": dsn}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "service", "ledger", "verify"], env=environ, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - started, done.stdout.strip()
