"""`recover`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

from tests.serving import PROCESSORS, TOKEN

Command = Callable[..., Any]
# Nobody answers for the processors, nor for Telegram.
SETTINGS = {**PROCESSORS, "TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_BASE": "http://127.0.0.1:9"}
JOBS = [
    "book_differences",
    "expire_reservations",
    "apply_waiting_events",
    "settle_open_orders",
    "pursue_refunds",
    "find_missed_payments",
    "rescue_jobs",
    "deliver_results",
    "link_referrals",
    "catch_up_rewards",
    "give_up_broadcasts",
]
DUE = """
    INSERT INTO users (user_id) VALUES (1);
    INSERT INTO balances (user_id, balance_rub) VALUES (1, 0);
    INSERT INTO payment_reservations (reservation_id, user_id, amount_rub, status, purpose, expires_at)
    SELECT gen_random_uuid(), 1, 10, 'held', 'work', now() - interval '1 second' FROM generate_series(1, 3);
"""
BROKEN = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
    CREATE TRIGGER broken BEFORE UPDATE ON payment_events EXECUTE FUNCTION refuse();
"""


def results(done: Any) -> dict[str, str]:
    return {name: " ".join(words) for name, *words in done.lines[1:]}


def test_it_says_what_each_job_did(process: Command, sql: psycopg.Connection) -> None:
    sql.execute(DUE)
    done = process("recover", **SETTINGS)
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == ["job", "result"]
    told = results(done)
    assert list(told) == JOBS
    assert told["expire_reservations"] == "3 expired"
    assert told["settle_open_orders"] == "nothing to do"
    assert told["find_missed_payments"].endswith("unanswered")
    assert sql.execute("SELECT balance_rub FROM balances").fetchone() == (30,)


def test_what_failed_is_named(command: Command, sql: psycopg.Connection) -> None:
    """The others run all the same."""
    sql.execute(DUE)
    sql.execute(BROKEN)
    done = command("recover", **SETTINGS)
    assert done.code == 1
    assert results(done)["apply_waiting_events"].startswith("failed: ")
    assert results(done)["expire_reservations"] == "3 expired"


def test_a_feature_that_is_off(command: Command, sql: psycopg.Connection) -> None:
    sql.execute("ALTER TABLE payments RENAME TO payments_gone")
    done = command("recover", **SETTINGS)
    assert done.code == 1
    assert results(done)["settle_open_orders"] == "failed: feature_off"


def test_the_database_away_is_one_line(process: Command) -> None:
    done = process("recover", DATABASE_URL="postgresql://owner:hush@127.0.0.1:9/ballast", **SETTINGS)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: The database is away")
    assert done.err.count("\n") == 1
