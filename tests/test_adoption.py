"""A generation bot's database becomes ours in place, with every row kept."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest

from service.kernel import migrate
from tests.catalog import schema
from tests.migrating import EVERYTHING, ROOT, rows, run_psql
from tests.payments.money import BROKEN


@pytest.fixture
def adopted(empty_database_url: str) -> str:
    """A generation bot's database, with rows, on a server whose clock is set to another zone."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE \"{name}\" SET timezone = 'Asia/Kamchatka'".encode())
    done = run_psql(empty_database_url, "-v", "ON_ERROR_STOP=1", "-f", ROOT / "tests/data/generation_bot.sql")
    assert (done.returncode, done.stderr) == (0, "")
    return empty_database_url


TABLES_OF_THE_BOT = {
    "users": 6,
    "balances": 4,
    "generation_events": 5,
    "projects": 2,
    "project_history": 2,
    "referrals": 7,
    "payment_transactions": 3,
}


def test_adoption_keeps_every_row(adopted: str) -> None:
    names = "SELECT user_id, username, first_name, last_name FROM users ORDER BY user_id"
    before = rows(adopted, names)
    migrate.up(adopted)
    assert rows(adopted, names) == before
    counted = {table: rows(adopted, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES_OF_THE_BOT}
    opening = {"payment_transactions": TABLES_OF_THE_BOT["payment_transactions"] + 1}
    assert counted == TABLES_OF_THE_BOT | opening


def test_adoption_reads_times_as_utc(adopted: str) -> None:
    started = datetime.now(UTC)
    migrate.up(adopted)
    times = {user: (created, updated) for user, created, updated in rows(adopted, TIMES)}
    # 01:30 on the night when Europe's clocks go forward: a reading by local time would move or lose it.
    assert times[7_000_000_001] == (
        datetime(2024, 3, 31, 1, 30, 0, 123456, tzinfo=UTC),
        datetime(2025, 10, 26, 2, 30, tzinfo=UTC),
    )
    assert times[1003] == (datetime(2023, 5, 5, 5, 5, 5, tzinfo=UTC),) * 2
    assert times[2**52] == (datetime(2025, 6, 1, 12, tzinfo=UTC),) * 2
    created, updated = times[1004]
    assert created == updated
    assert abs((created - started).total_seconds()) < 60


TIMES = "SELECT user_id, created_at, updated_at FROM users"


def test_adopted_tables_are_like_new_ones(adopted: str, database_url: str) -> None:
    migrate.up(adopted)
    mine, new = schema(adopted), schema(database_url)
    assert new <= mine
    assert not [line for line in mine - new if " idx_generation_events_" not in line], "its indexes are left alone"


def test_adopted_money_agrees_to_the_kopek(adopted: str) -> None:
    """The balance is what people see and spend: what the old ledger does not explain of it is booked, once."""
    rows(adopted, "INSERT INTO payment_transactions (user_id, amount_rub, type) VALUES (42, 8, 'topup')")
    before = rows(adopted, "SELECT user_id, coalesce(balance_rub, 0) FROM balances ORDER BY user_id")
    migrate.up(adopted)
    kept = rows(adopted, "SELECT user_id, balance_rub FROM balances ORDER BY user_id")
    assert kept == [(42, Decimal("8.00")), *before], "who had entries alone has what they add up to"
    entries = rows(adopted, "SELECT user_id, amount_rub, type, reason FROM payment_transactions ORDER BY id")
    assert entries == [
        (7_000_000_001, Decimal("99999999.99"), "topup", "bank"),
        (7_000_000_001, Decimal("-12.50"), "deduction", None),  # it was written without its sign
        (1004, Decimal("-0.01"), "refund", ""),  # of another sign than the type says, and older than we are
        (42, Decimal("8.00"), "topup", None),
        (7_000_000_001, Decimal("12.50"), "adjustment", "opening balance"),
    ]
    assert rows(adopted, BROKEN) == []
    assert run_psql(adopted, "-v", "ON_ERROR_STOP=1", "-f", ROOT / "bootstrap.sql").returncode == 0
    assert rows(adopted, "SELECT count(*) FROM payment_transactions") == [(5,)]


def test_adopted_money_has_its_times_as_utc(adopted: str) -> None:
    migrate.up(adopted)
    changed = dict(rows(adopted, "SELECT user_id, created_at FROM payment_transactions WHERE reason IN ('bank', '')"))
    assert changed == {
        7_000_000_001: datetime(2025, 1, 1, tzinfo=UTC),
        1004: datetime(2025, 2, 28, tzinfo=UTC),
    }
    assert rows(adopted, "SELECT count(*) FROM payment_transactions WHERE created_at IS NULL") == [(0,)]


INSERTS = {
    "payment_transactions": "(user_id, amount_rub, type) VALUES (1003, 1, 'topup')",
    "generation_events": "(user_id, model_id, status) VALUES (1003, 'text-small', 'started')",
    "projects": "(user_id, name) VALUES (1003, 'new')",
    "project_history": "(project_id, user_id, model_id, inputs, status) VALUES (1, 1003, 'text', '{}', 'success')",
    "referrals": "(referrer_id, referred_id) VALUES ({}, 1004)",
}


@pytest.mark.parametrize("table", INSERTS)
def test_adopted_numbers_go_on_counting(adopted: str, table: str) -> None:
    """Past the end of a SERIAL, too."""
    migrate.up(adopted)
    rows(adopted, "INSERT INTO users (user_id) VALUES (11), (12)")
    insert = f"INSERT INTO {table} {INSERTS[table]} RETURNING id"
    last = rows(adopted, f"SELECT max(id) FROM {table}")[0][0]
    assert rows(adopted, insert.replace("{}, 1004", "1003, 11")) == [(last + 1,)]
    sequence = rows(adopted, f"SELECT pg_get_serial_sequence('{table}', 'id')")[0][0]
    rows(adopted, f"SELECT setval('{sequence}', 2147483647)")
    assert rows(adopted, insert.replace("{}, 1004", "1003, 12")) == [(2**31,)]


def test_adopted_events_keep_what_they_say(adopted: str) -> None:
    """What was not told is filled in; a status that we do not know stays where it is, and comes in no more."""
    migrate.up(adopted)
    told = (
        "SELECT model_id, status, is_free_applied, price_rub, length(error_message) FROM generation_events ORDER BY id"
    )
    assert rows(adopted, told) == [
        ("image-large", "success", False, Decimal("12.50"), None),
        ("image-large", "failed", False, Decimal("0.00"), 2500),
        ("text-small", "timeout", False, Decimal("0.00"), None),
        ("text-small", "started", True, Decimal("0.00"), None),
        ("text-small", "cancelled", True, Decimal("0.00"), None),
    ]
    times = "SELECT created_at FROM generation_events WHERE id IN (1, 4) ORDER BY id"
    assert rows(adopted, times) == [(datetime(2025, 10, 1, 10, tzinfo=UTC),), (datetime(2025, 10, 3, tzinfo=UTC),)]
    with pytest.raises(psycopg.errors.CheckViolation, match="generation_events_status_known"):
        rows(adopted, "INSERT INTO generation_events (user_id, model_id, status) VALUES (42, 'x', 'cancelled')")


def test_adopted_projects_keep_what_is_in_them(adopted: str) -> None:
    odd = "(2, 1003, 'text', '{}', 'kept', '2025-01-03')"
    rows(
        adopted, f"INSERT INTO project_history (project_id, user_id, model_id, inputs, status, created_at) VALUES {odd}"
    )
    migrate.up(adopted)
    first = datetime(2025, 1, 1, tzinfo=UTC)
    assert rows(adopted, "SELECT name, created_at, updated_at FROM projects WHERE id = 1") == [
        ("Мой проект", first, first)
    ]
    kept = "SELECT project_id, inputs, outputs, created_at, job_id FROM project_history ORDER BY id"
    assert rows(adopted, kept) == [
        (1, {"prompt": "кот"}, None, datetime(2025, 1, 2, tzinfo=UTC), None),
        (1, {}, {"url": "https://example.org/1.png"}, first, None),  # of no known time: as old as its project
        (2, {}, None, datetime(2025, 1, 3, tzinfo=UTC), None),  # of a status that we do not know
    ]
    with pytest.raises(psycopg.errors.CheckViolation, match="project_history_status_known"):
        rows(adopted, f"INSERT INTO project_history {INSERTS['project_history'].replace('success', 'kept')}")
    rows(adopted, "DELETE FROM projects WHERE id = 1")
    assert rows(adopted, "SELECT count(*) FROM project_history WHERE project_id = 1") == [(0,)]


def test_a_project_of_the_bot_without_a_cascade(adopted: str) -> None:
    rows(
        adopted,
        "ALTER TABLE project_history DROP CONSTRAINT project_history_project_id_fkey,"
        " ADD CONSTRAINT of_project FOREIGN KEY (project_id) REFERENCES projects (id)",
    )
    migrate.up(adopted)
    rows(adopted, "DELETE FROM projects WHERE id = 1")
    assert rows(adopted, "SELECT count(*) FROM project_history WHERE project_id = 1") == [(0,)]


ADOPTED_REFERRALS = [
    (7_000_000_001, 7_000_000_002, Decimal("15.00"), True, None),
    (1003, 42, Decimal("0.00"), False, None),
    (1003, 1003, Decimal("15.00"), True, "self-referral"),
    (1003, 7_000_000_002, Decimal("15.00"), True, "second referrer"),
    (1004, 7_000_000_002, Decimal("0.00"), False, "second referrer"),
    (1004, 7_000_000_001, Decimal("0.00"), False, "second referrer"),
    (1003, 7_000_000_001, Decimal("0.00"), False, None),
]


def test_adopted_referrals_that_break_the_rules_stay_and_are_void(adopted: str) -> None:
    """The first referrer brought the person, and of two at the same moment the one that was written first."""
    migrate.up(adopted)
    found = (
        "SELECT referrer_id, referred_id, reward_rub, rewarded_at = created_at, void_reason FROM referrals ORDER BY id"
    )
    expected = [(*row[:3], row[3] or None, row[4]) for row in ADOPTED_REFERRALS]
    assert rows(adopted, found) == expected
    assert run_psql(adopted, "-v", "ON_ERROR_STOP=1", "-f", ROOT / "bootstrap.sql").returncode == 0
    assert rows(adopted, found) == expected


@pytest.mark.parametrize(
    ("pair", "rule"),
    [
        ("(1004, 1004)", "referrals_of_somebody_else"),
        ("(1004, 42)", "referrals_one_referrer"),
        ("(1003, 42)", "referrals_pair_once|referrals_one_referrer"),
    ],
)
def test_adopted_referrals_keep_the_rules_from_here_on(adopted: str, pair: str, rule: str) -> None:
    migrate.up(adopted)
    with pytest.raises(psycopg.errors.IntegrityError, match=rule):
        rows(adopted, f"INSERT INTO referrals (referrer_id, referred_id) VALUES {pair}")


def test_adopted_people_have_started_and_new_ones_have_not(adopted: str) -> None:
    updated = "SELECT user_id, updated_at FROM users ORDER BY user_id"
    migrate.up(adopted)
    rows(adopted, "INSERT INTO users (user_id) VALUES (5)")
    started = dict(rows(adopted, "SELECT user_id, started_with FROM users"))
    assert started.pop(5) is None
    assert set(started.values()) == {""}
    before = rows(adopted, updated)
    assert run_psql(adopted, "-v", "ON_ERROR_STOP=1", "-f", ROOT / "bootstrap.sql").returncode == 0
    assert dict(rows(adopted, "SELECT user_id, started_with FROM users")) == {**started, 5: None}
    assert rows(adopted, updated) == before


def test_lost_balances_are_what_the_ledger_says(database_url: str) -> None:
    """Somebody dropped the table: bootstrap.sql makes it again, less what is put aside."""
    rows(database_url, "INSERT INTO users (user_id) VALUES (1)")
    rows(database_url, "INSERT INTO payment_transactions (user_id, amount_rub, type) VALUES (1, 50, 'topup')")
    rows(
        database_url,
        "INSERT INTO payment_reservations (reservation_id, user_id, amount_rub, purpose)"
        " VALUES (gen_random_uuid(), 1, 20, 'work')",
    )
    rows(database_url, "DROP TABLE balances")
    done = run_psql(database_url, "-v", "ON_ERROR_STOP=1", "-f", ROOT / "bootstrap.sql")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(database_url, "SELECT user_id, balance_rub FROM balances") == [(1, Decimal("30.00"))]
    assert rows(database_url, BROKEN) == []


def test_an_adopted_database_takes_new_people(adopted: str) -> None:
    migrate.up(adopted)
    rows(adopted, "INSERT INTO users (user_id, username, language) VALUES (5, 'new', 'ru')")
    rows(adopted, "UPDATE users SET username = 'payer2', is_active = FALSE WHERE user_id = 7000000001")
    active, age_s = rows(
        adopted, "SELECT is_active, extract(epoch FROM now() - updated_at)::float FROM users WHERE user_id = 7000000001"
    )[0]
    assert active is False
    assert age_s < 60


def test_adoption_can_be_undone_only_by_leaving_the_table(adopted: str) -> None:
    migrate.up(adopted)
    for refusal, tables in REFUSALS.items():
        with pytest.raises(migrate.MigrationFailed, match=refusal):
            migrate.down(adopted, len(EVERYTHING), confirmed=True)
        rows(adopted, f"TRUNCATE {tables}")
    with pytest.raises(migrate.MigrationFailed, match="there are balances or ledger entries"):
        migrate.down(adopted, len(EVERYTHING), confirmed=True)
    assert rows(adopted, "SELECT count(*) FROM users") == [(6,)]


REFUSALS = {
    "there are referrals": "referrals",
    "there are projects": "projects, project_history",
    "generation_events has rows": "generation_events",
}


def test_adoption_of_other_names_and_odd_columns(empty_database_url: str) -> None:
    rows(
        empty_database_url,
        """
        CREATE TABLE users (
            user_id BIGINT CONSTRAINT people_pk PRIMARY KEY, language TEXT, is_active BOOLEAN,
            created_at TIMESTAMPTZ DEFAULT now(), note TEXT
        );
        INSERT INTO users VALUES (1, 'de', NULL, NULL, 'kept'), (2, 'ru', FALSE, '2024-01-01Z', NULL);
        """,
    )
    migrate.up(empty_database_url)
    found = rows(
        empty_database_url,
        "SELECT user_id, language, language_code, is_active, note, created_at IS NULL FROM users ORDER BY user_id",
    )
    assert found == [(1, None, "de", True, "kept", False), (2, "ru", None, False, None, False)]
    names = {line.split()[1] for line in schema(empty_database_url) if line.startswith("constraint users.")}
    assert {"users.users_pkey", "users.users_language_spoken"} <= names
    assert "users.people_pk" not in names
