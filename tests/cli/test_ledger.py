"""`ledger verify`: clean books are clean, and whatever is tampered with is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest

from benchmarks import verify
from service.cli import ledger
from service.payments.operators import audit

Command = Callable[..., Any]

PEOPLE = 400
VERIFY = ("ledger", "verify")
PAYMENT = UUID("00000000-0000-0000-0000-00000000000a")
# A person without a balance row, for tampering that makes money of nothing.
NOBODY = 2_000_000
# Somebody of the benchmark's people, and his first payment.
SOMEBODY = "SELECT user_id FROM payments WHERE provider_payment_id LIKE '1-%' AND refunded_rub = 0 ORDER BY 1 LIMIT 1"
REFUNDED = "SELECT user_id FROM payments WHERE refunded_rub > 0 ORDER BY 1 LIMIT 1"


@pytest.fixture(autouse=True)
def books(sql: psycopg.Connection[Any], database_url: str) -> psycopg.Connection[Any]:
    """As the benchmark makes them; then nobody's triggers and constraints stand in the way of tampering."""
    verify.fill(database_url, PEOPLE)
    sql.execute("SET session_replication_role = replica")
    return sql


def user(sql: psycopg.Connection[Any], query: str = SOMEBODY) -> int:
    return sql.execute(query.encode()).fetchone()[0]


def told(done: Any) -> list[str]:
    """The differences. It must have failed."""
    assert done.code == 1
    assert done.err == ""
    *lines, summary = done.out.splitlines()
    assert summary.startswith(f"{PEOPLE} people checked, {len(lines)} difference")
    return lines


def test_clean_books(process: Command) -> None:
    done = process(*VERIFY)
    assert (done.code, done.out, done.err) == (0, f"{PEOPLE} people checked, 0 differences\n", "")


def test_nobody_at_all(command: Command, sql: psycopg.Connection[Any]) -> None:
    sql.execute("TRUNCATE balances, payment_transactions, payments, payment_refunds, payment_reservations CASCADE")
    assert command(*VERIFY).out == "0 people checked, 0 differences\n"


def test_ranges_meet(command: Command, monkeypatch: pytest.MonkeyPatch, sql: psycopg.Connection[Any]) -> None:
    """Case 51: the invariants in ranges of any size, whoever stands at their ends."""
    sql.execute("UPDATE balances SET balance_rub = balance_rub + 1")
    for size in (1, 7, PEOPLE - 1, PEOPLE, PEOPLE + 1):
        defaults = {**(audit.verify.__kwdefaults__ or {}), "size": size}
        monkeypatch.setattr(audit.verify, "__kwdefaults__", defaults)
        lines = told(command(*VERIFY))
        assert len(lines) == len(set(lines)) == PEOPLE


def test_a_balance_that_was_changed_by_hand(command: Command, sql: psycopg.Connection[Any]) -> None:
    sql.execute("UPDATE balances SET balance_rub = balance_rub + 0.01 WHERE user_id = %s", [user(sql)])
    assert told(command(*VERIFY)) == [f"user {user(sql)}: balance and held: expected 250.00, found 250.01"]


def test_a_balance_that_is_gone(command: Command, sql: psycopg.Connection[Any]) -> None:
    whose = user(sql)
    sql.execute("DELETE FROM balances WHERE user_id = %s", [whose])
    done = command(*VERIFY)
    assert done.out.splitlines()[0] == f"user {whose}: balance and held: expected 250.00, found 0"
    assert done.code == 1


def test_held_money_that_nobody_holds(command: Command, sql: psycopg.Connection[Any]) -> None:
    whose = user(sql, "SELECT user_id FROM payment_reservations WHERE status = 'held' ORDER BY 1 LIMIT 1")
    sql.execute("UPDATE payment_reservations SET amount_rub = 31 WHERE status = 'held' AND user_id = %s", [whose])
    (line,) = told(command(*VERIFY))
    assert line == f"user {whose}: balance and held: expected 210.00, found 211.00"


def test_an_entry_that_was_deleted(command: Command, sql: psycopg.Connection[Any]) -> None:
    whose = user(sql)
    query = (
        "DELETE FROM payment_transactions WHERE user_id = %s AND effect_key LIKE 'yookassa:payment:1-%%'"
        " RETURNING payment_id"
    )
    (payment_id,) = sql.execute(query, [whose]).fetchone()
    assert told(command(*VERIFY)) == [
        f"user {whose}: balance and held: expected 100.00, found 250.00",
        f"user {whose}: top-up of payment {payment_id}: expected 150.00, found 0.00 in 0 entries",
    ]


@pytest.mark.parametrize("named", [True, False])
def test_a_top_up_without_a_payment(command: Command, sql: psycopg.Connection[Any], named: bool) -> None:
    """Case 51: each credit has one payment; the balance was made to fit."""
    sql.execute("INSERT INTO users (user_id) VALUES (%s)", [NOBODY])
    sql.execute(
        "INSERT INTO payment_transactions (user_id, amount_rub, type, payment_id) VALUES (%s, 99, 'topup', %s)",
        [NOBODY, PAYMENT if named else None],
    )
    sql.execute(
        "INSERT INTO balances (user_id, balance_rub, booked_in) VALUES (%s, 99, 'payment_transactions'::regclass::oid)",
        [NOBODY],
    )
    done = command(*VERIFY)
    name = PAYMENT if named else "none"
    assert done.out.splitlines()[0] == (
        f"user {NOBODY}: top-up of payment {name}: expected 0.00, found 99.00 in 1 entries"
    )
    assert done.code == 1


@pytest.mark.parametrize("parts", [("150.00",), ("-75.00", "75.00")])
def test_two_credits_of_one_payment(command: Command, sql: psycopg.Connection[Any], parts: tuple[str, ...]) -> None:
    """Case 51: no payment has two credits, even where their sum is right."""
    whose = user(sql)
    query = "SELECT payment_id FROM payments WHERE user_id = %s AND provider_payment_id LIKE '1-%%'"
    (payment_id,) = sql.execute(query, [whose]).fetchone()
    sql.execute("ALTER TABLE payment_transactions DROP CONSTRAINT payment_transactions_signed")
    for part in parts:
        values = [whose, part, payment_id]
        sql.execute(
            "INSERT INTO payment_transactions (user_id, amount_rub, type, payment_id) VALUES (%s, %s, 'topup', %s)",
            values,
        )
        sql.execute("UPDATE balances SET balance_rub = balance_rub + %s WHERE user_id = %s", [part, whose])
    (line,) = told(command(*VERIFY))
    found = f"{sum(map(float, parts)) + 150:.2f} in {len(parts) + 1} entries"
    assert line == f"user {whose}: top-up of payment {payment_id}: expected 150.00, found {found}"


def test_a_credit_to_somebody_else(command: Command, sql: psycopg.Connection[Any]) -> None:
    whose, other = user(sql), user(sql, SOMEBODY.replace("LIMIT 1", "OFFSET 1 LIMIT 1"))
    sql.execute(
        "UPDATE payment_transactions SET user_id = %s WHERE user_id = %s AND effect_key LIKE 'yookassa:payment:1-%%'",
        [other, whose],
    )
    sql.execute("UPDATE balances SET balance_rub = balance_rub - 150 WHERE user_id = %s", [whose])
    sql.execute("UPDATE balances SET balance_rub = balance_rub + 150 WHERE user_id = %s", [other])
    lines = told(command(*VERIFY))
    assert [line.split(" top-up")[0] for line in lines] == [f"user {whose}:", f"user {other}:"]


NEW_PAYER = """
    INSERT INTO users (user_id) VALUES (2000000);
    INSERT INTO balances (user_id, booked_in) VALUES (2000000, 'payment_transactions'::regclass::oid);
    INSERT INTO payments (payment_id, user_id, provider, status, amount, credit_rub, pack_id, expires_at, settled_at)
    VALUES ('00000000-0000-0000-0000-00000000000a', 2000000, 'yookassa', 'succeeded', 5, 5, 'small', now(), now());
    INSERT INTO payment_references VALUES ('yookassa', 'p1', '00000000-0000-0000-0000-00000000000a');
"""


def test_a_payment_that_credited_nothing(command: Command, sql: psycopg.Connection[Any]) -> None:
    """The first of somebody new: no entry, no balance, and no effect that would speak of a ledger that was lost."""
    sql.execute(NEW_PAYER)
    done = command(*VERIFY)
    assert f"user {NOBODY}: top-up of payment {PAYMENT}: expected 5.00, found 0.00 in 0 entries" in done.out
    assert done.code == 1


def test_a_ledger_that_lost_what_came_to_nothing(command: Command, sql: psycopg.Connection[Any]) -> None:
    """Paid and spent before the ledger was lost: nothing is left to be booked, and the effect shows the credit."""
    sql.execute(NEW_PAYER)
    sql.execute("INSERT INTO payment_effects (effect_key, user_id) VALUES ('yookassa:payment:p1', %s)", [NOBODY])
    sql.execute(
        "INSERT INTO payment_reservations"
        " (reservation_id, user_id, amount_rub, captured_rub, status, purpose, finished_at)"
        " VALUES (gen_random_uuid(), %s, 5, 5, 'captured', 'a picture', now())",
        [NOBODY],
    )
    assert command(*VERIFY).code == 0
    entry = "INSERT INTO payment_transactions (user_id, amount_rub, type, created_at) VALUES (%s, %s, 'adjustment', %s)"
    sql.execute(entry, [NOBODY, 5, "2000-01-01Z"])
    sql.execute("UPDATE balances SET balance_rub = 5 WHERE user_id = %s", [NOBODY])
    lines = command(*VERIFY).out.splitlines()
    assert len(lines) == 3, "with an older entry it was not lost"


@pytest.mark.parametrize("amount", ["1.00", "149.00"])
def test_a_refund_too_many(command: Command, sql: psycopg.Connection[Any], amount: str) -> None:
    """Case 39, case 51: refunds are within the payment, and are what it says."""
    whose = user(sql, REFUNDED)
    query = "SELECT payment_id FROM payments WHERE user_id = %s AND refunded_rub > 0"
    (payment_id,) = sql.execute(query, [whose]).fetchone()
    sql.execute(
        "INSERT INTO payment_refunds (refund_id, payment_id, provider, status, amount, amount_rub)"
        " VALUES (gen_random_uuid(), %(payment)s, 'yookassa', 'succeeded', %(amount)s, %(amount)s)",
        {"payment": payment_id, "amount": amount},
    )
    total = f"{20 + float(amount):.2f}"
    assert told(command(*VERIFY)) == [
        f"user {whose}: refunds of payment {payment_id}: expected 20.00 for 20.00 RUB, found {total} for {total} RUB"
    ]


def test_more_refunded_than_was_paid(command: Command, sql: psycopg.Connection[Any]) -> None:
    whose = user(sql, REFUNDED)
    sql.execute("ALTER TABLE payments DROP CONSTRAINT payments_refunds_within")
    sql.execute("UPDATE payments SET refunded_amount = 151 WHERE user_id = %s AND refunded_rub > 0", [whose])
    sql.execute(
        "UPDATE payment_refunds SET amount = 151 WHERE payment_id IN"
        " (SELECT payment_id FROM payments WHERE user_id = %s)",
        [whose],
    )
    (line,) = told(command(*VERIFY))
    assert line.endswith("expected 150.00 for 20.00 RUB, found 151.00 for 20.00 RUB")


def test_a_chargeback_too_many(command: Command, sql: psycopg.Connection[Any]) -> None:
    """The balance was made to fit."""
    whose = user(sql, REFUNDED)
    query = (
        "INSERT INTO payment_transactions (user_id, amount_rub, type, payment_id, refund_id)"
        " SELECT user_id, amount_rub, type, payment_id, refund_id FROM payment_transactions"
        " WHERE user_id = %s AND type = 'chargeback'"
    )
    sql.execute(query, [whose])
    sql.execute("UPDATE balances SET balance_rub = balance_rub - 20 WHERE user_id = %s", [whose])
    (line,) = told(command(*VERIFY))
    assert line.startswith(f"user {whose}: chargebacks of payment ")
    assert line.endswith("expected -20.00, found -40.00")


def test_a_reservation_that_was_spent_twice(command: Command, sql: psycopg.Connection[Any]) -> None:
    """Case 44: one of them in place of another, so that the sum is right."""
    whose = user(sql)
    query = "SELECT reservation_id FROM payment_transactions WHERE user_id = %s AND type = 'deduction' ORDER BY id"
    (one,), (other,), *_ = sql.execute(query, [whose]).fetchall()
    sql.execute("UPDATE payment_transactions SET reservation_id = %s WHERE reservation_id = %s", [one, other])
    assert sorted(told(command(*VERIFY))) == sorted(
        [
            f"user {whose}: spending of reservation {one}: expected -10.00, found -20.00 in 2 entries",
            f"user {whose}: spending of reservation {other}: expected -10.00, found 0.00 in 0 entries",
        ]
    )


def test_a_debt_without_a_chargeback(command: Command, sql: psycopg.Connection[Any]) -> None:
    whose = user(sql)
    query = "INSERT INTO payment_transactions (user_id, amount_rub, type) VALUES (%s, -300, 'deduction')"
    sql.execute(query, [whose])
    sql.execute("UPDATE balances SET balance_rub = -50 WHERE user_id = %s", [whose])
    assert told(command(*VERIFY)) == [f"user {whose}: a debt without a chargeback: expected 0.00, found -50.00"]


def test_an_effect_that_was_had_twice(command: Command, sql: psycopg.Connection[Any]) -> None:
    whose = user(sql)
    sql.execute("DROP INDEX payment_transactions_effect_once")
    query = "UPDATE payment_transactions SET effect_key = 'twice' WHERE user_id = %s AND type = 'deduction'"
    sql.execute(query, [whose])
    assert told(command(*VERIFY)) == [f"user {whose}: entries of effect twice: expected 1, found 7"]


@pytest.mark.parametrize(
    "query", ["DELETE FROM payment_transactions", "DELETE FROM payment_transactions WHERE id % 3 = 0"]
)
def test_a_ledger_that_lost_its_past_and_was_explained(
    command: Command, sql: psycopg.Connection[Any], query: str
) -> None:
    """What is booked once as an adjustment explains the entries that are missing before it."""
    sql.execute(query.encode())
    explain = """
        INSERT INTO payment_transactions (user_id, amount_rub, type, reason, effect_key, created_at)
        SELECT user_id, amount_rub, 'adjustment', 'moved while the ledger was missing',
            'unbooked:' || gen_random_uuid(), now() + interval '2 days'
        FROM (
            SELECT user_id, balance_rub
                + coalesce((SELECT sum(amount_rub) FROM payment_reservations AS held
                    WHERE held.user_id = balances.user_id AND held.status = 'held'), 0)
                - coalesce((SELECT sum(amount_rub) FROM payment_transactions AS entry
                    WHERE entry.user_id = balances.user_id), 0) AS amount_rub
            FROM balances
        ) AS difference
        WHERE amount_rub <> 0
    """
    assert command(*VERIFY).code == 1
    sql.execute(explain.encode())
    done = command(*VERIFY)
    assert (done.code, done.out) == (0, f"{PEOPLE} people checked, 0 differences\n")


def test_a_thousand_lines_and_the_number_of_the_rest(
    command: Command, sql: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "TOLD_MAX", 10)
    sql.execute("UPDATE balances SET balance_rub = balance_rub + 1")
    done = command(*VERIFY)
    lines = done.out.splitlines()
    assert lines[-2:] == [f"... and {PEOPLE - 10} more", f"{PEOPLE} people checked, {PEOPLE} differences"]
    assert len(lines) == 12
    assert done.code == 1


@pytest.mark.parametrize("table", ["payment_transactions", "balances", "payments", "payment_refunds"])
def test_without_a_table(command: Command, sql: psycopg.Connection[Any], table: str) -> None:
    sql.execute(f"ALTER TABLE {table} RENAME TO gone".encode())
    done = command(*VERIFY)
    assert (done.code, done.out, done.err) == (1, "", f"error: cannot verify: {table} table missing\n")


def test_it_moves_nothing_and_waits_for_nobody(command: Command, sql: psycopg.Connection[Any]) -> None:
    """Somebody is in the middle of a payment all the while."""
    sql.execute("BEGIN")
    sql.execute("UPDATE balances SET balance_rub = balance_rub + 1")
    assert command(*VERIFY).code == 0
    sql.execute("ROLLBACK")
