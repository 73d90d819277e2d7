"""Migrating for real: from nothing, from a generation bot's database, many at once, with kills in between."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from service.errors import DatabaseAway, Invalid
from service.kernel import embedded, migrate
from tests.catalog import schema

ROOT = Path(__file__).resolve().parents[1]
EVERYTHING = ["0001_users", "0002_updates"]
HASTY = migrate.Pace(turn_s=20, poll_s=0.05, lock_s=0.1, pause_s=0.05, longest_pause_s=0.1, tries=200)
GIVES_UP = migrate.Pace(turn_s=0.1, poll_s=0.05, lock_s=0.05, pause_s=0.01, tries=3)


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def wait_until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {timeout_s} s"
        time.sleep(0.01)


def run_psql(dsn: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    psql = embedded.find_programs().directory / "psql"
    return subprocess.run([psql, dsn, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the migrations, to add to and to edit."""
    return Path(shutil.copytree(migrate.FOLDER, tmp_path / "migrations"))


def add(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.sql").write_text(text)


# From nothing, and back.


def test_up_then_down_then_up_leaves_the_same_schema(empty_database_url: str) -> None:
    assert migrate.up(empty_database_url) == EVERYTHING
    first = schema(empty_database_url)
    assert migrate.down(empty_database_url, len(EVERYTHING), confirmed=True) == EVERYTHING[::-1]
    assert not [line for line in schema(empty_database_url) if "users" in line or "updates" in line]
    assert migrate.up(empty_database_url) == EVERYTHING
    assert schema(empty_database_url) == first


def test_a_second_up_applies_nothing(database_url: str) -> None:
    assert migrate.up(database_url) == []


def test_history_and_current_tell_what_was_done(empty_database_url: str) -> None:
    assert migrate.current(empty_database_url) is None
    migrate.up(empty_database_url)
    migrate.down(empty_database_url, 1, confirmed=False)
    told = [(entry.operation, entry.id) for entry in migrate.history(empty_database_url)]
    assert told == [("apply", "0001_users"), ("apply", "0002_updates"), ("rollback", "0002_updates")]
    assert migrate.current(empty_database_url) == "0001_users"


def test_asking_changes_nothing(empty_database_url: str) -> None:
    assert migrate.pending(empty_database_url) == EVERYTHING
    assert migrate.history(empty_database_url) == []
    assert schema(empty_database_url) == set()


def test_progress_is_told_for_each_migration(empty_database_url: str) -> None:
    told: list[str] = []
    migrate.up(empty_database_url, progress=told.append)
    assert [line.partition(" in ")[0] for line in told] == [f"{name}: applied" for name in EVERYTHING]


def test_yoyo_itself_agrees(database_url: str) -> None:
    """Whoever runs the bare yoyo command on our database finds nothing to do."""
    from yoyo import get_backend, read_migrations

    with get_backend(database_url.replace("postgresql://", "postgresql+psycopg://")) as backend:
        assert not backend.to_apply(read_migrations(str(migrate.FOLDER)))


def test_names_are_searched_by_trigrams_where_they_can_be(database_url: str) -> None:
    available = rows(database_url, "SELECT FROM pg_available_extensions WHERE name = 'pg_trgm'")
    indexes = rows(database_url, "SELECT FROM pg_class WHERE relname = 'users_username_trigram_idx'")
    assert len(indexes) == len(available)


def test_a_user_without_the_right_to_extensions_can_migrate(empty_database_url: str) -> None:
    role = f"ballast_plain_{os.getpid()}"
    rows(empty_database_url, f"CREATE ROLE {role}")
    try:
        rows(empty_database_url, f"GRANT CREATE, USAGE ON SCHEMA public TO {role}")
        separator = "&" if "?" in empty_database_url else "?"
        assert migrate.up(f"{empty_database_url}{separator}options=-c%20role%3D{role}") == EVERYTHING
        assert rows(empty_database_url, "SELECT FROM pg_extension WHERE extname = 'pg_trgm'") == []
    finally:
        rows(empty_database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


# What down refuses.


def test_down_never_drops_people(database_url: str) -> None:
    rows(database_url, "INSERT INTO users (user_id) VALUES (1)")
    with pytest.raises(migrate.MigrationFailed, match=r"^0001_users: users has rows.*\n?$"):
        migrate.down(database_url, 2, confirmed=True)
    assert rows(database_url, "SELECT user_id FROM users") == [(1,)]
    assert migrate.current(database_url) == "0001_users"


def test_down_keeps_updates_that_wait_for_an_operator(database_url: str) -> None:
    rows(
        database_url,
        "INSERT INTO failed_updates (bot_id, update_id, body, error, parked_at) VALUES (1, 1, '', '', now())",
    )
    with pytest.raises(migrate.MigrationFailed, match="wait for an operator"):
        migrate.down(database_url, 1, confirmed=False)
    assert migrate.current(database_url) == "0002_updates"


@pytest.mark.parametrize("count", [0, -1, 2])
def test_down_of_none_or_of_many_is_refused(database_url: str, count: int) -> None:
    with pytest.raises(Invalid):
        migrate.down(database_url, count, confirmed=False)
    assert migrate.pending(database_url) == []


def test_down_without_a_rollback_file_is_refused(empty_database_url: str, folder: Path) -> None:
    add(folder, "0900_extra", "CREATE TABLE extra (id bigint);")
    migrate.up(empty_database_url, folder=folder)
    with pytest.raises(Invalid, match="0900_extra has no rollback file"):
        migrate.down(empty_database_url, 1, confirmed=False, folder=folder)
    assert migrate.current(empty_database_url) == "0900_extra"


# bootstrap.sql.


def test_bootstrap_is_what_the_migrations_say() -> None:
    committed = (ROOT / "bootstrap.sql").read_text(encoding="utf-8")
    assert committed == migrate.bootstrap_sql(), "run: python -m service migrate sql > bootstrap.sql"


def test_bootstrap_by_psql_equals_the_migrations(empty_database_url: str, database_url: str) -> None:
    done = run_psql(empty_database_url, "-f", ROOT / "bootstrap.sql")
    assert (done.returncode, done.stderr) == (0, "")
    assert schema(empty_database_url) == schema(database_url)
    assert migrate.faults(empty_database_url) == []
    assert migrate.up(empty_database_url) == []


def test_bootstrap_twice_fails_and_changes_nothing(database_url: str) -> None:
    before = schema(database_url)
    assert run_psql(database_url, "-f", ROOT / "bootstrap.sql").returncode == 3
    assert schema(database_url) == before
    assert len(migrate.history(database_url)) == len(EVERYTHING)


def test_bootstrap_of_a_concurrent_index(empty_database_url: str, folder: Path, tmp_path: Path) -> None:
    add(folder, "0900_index", f"-- transactional: false\n{CONCURRENT_INDEX}")
    script = tmp_path / "bootstrap.sql"
    script.write_text(migrate.bootstrap_sql(folder))
    assert run_psql(empty_database_url, "-f", script).returncode == 0
    assert migrate.faults(empty_database_url, folder=folder) == []


# Adoption.


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
    "generation_events": 4,
    "projects": 2,
    "project_history": 2,
    "referrals": 2,
    "payment_transactions": 3,
}


def test_adoption_keeps_every_row(adopted: str) -> None:
    names = "SELECT user_id, username, first_name, last_name FROM users ORDER BY user_id"
    before = rows(adopted, names)
    migrate.up(adopted)
    assert rows(adopted, names) == before
    counted = {table: rows(adopted, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES_OF_THE_BOT}
    assert counted == TABLES_OF_THE_BOT


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


def test_an_adopted_users_table_is_like_a_new_one(adopted: str, database_url: str) -> None:
    migrate.up(adopted)
    mine, new = schema(adopted), schema(database_url)
    assert new <= mine
    theirs = tuple(table for table in TABLES_OF_THE_BOT if table != "users")
    assert not [line for line in mine - new if not any(table in line for table in theirs)]


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
    with pytest.raises(migrate.MigrationFailed, match="users has rows"):
        migrate.down(adopted, 2, confirmed=True)
    assert rows(adopted, "SELECT count(*) FROM users") == [(6,)]


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


# Locks.


def test_a_stale_yoyo_lock_is_cleared(empty_database_url: str) -> None:
    migrate.up(empty_database_url)
    migrate.down(empty_database_url, 1, confirmed=False)
    rows(empty_database_url, "INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)")
    assert migrate.up(empty_database_url) == ["0002_updates"]
    assert rows(empty_database_url, "SELECT pid FROM yoyo_lock") == []


def test_a_held_lock_is_tried_again_until_it_is_free(database_url: str, folder: Path) -> None:
    add(folder, "0900_wider", "ALTER TABLE users ADD COLUMN extra text;")
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT user_id FROM users")

        def release(line: str) -> None:
            if "somebody holds a lock" in line:
                reader.rollback()

        assert migrate.up(database_url, folder=folder, progress=release, pace=HASTY) == ["0900_wider"]


def test_a_lock_that_is_never_free_ends_in_one_line(database_url: str, folder: Path) -> None:
    add(folder, "0900_wider", "ALTER TABLE users ADD COLUMN extra text;")
    with psycopg.connect(database_url) as reader:
        reader.execute("SELECT user_id FROM users")
        with pytest.raises(migrate.MigrationFailed, match=r"^0900_wider: .*lock timeout$"):
            migrate.up(database_url, folder=folder, pace=GIVES_UP)
    assert migrate.pending(database_url, folder=folder) == ["0900_wider"]


def test_a_turn_that_never_comes_ends_at_its_deadline(empty_database_url: str) -> None:
    with psycopg.connect(empty_database_url) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (0x62616C6C617374,))
        with pytest.raises(migrate.MigratorBusy):
            migrate.up(empty_database_url, pace=GIVES_UP)


def test_a_failed_migration_leaves_nothing_of_itself(database_url: str, folder: Path) -> None:
    add(folder, "0900_broken", "CREATE TABLE half (id bigint);\nALTER TABLE nowhere ADD COLUMN x text;")
    with pytest.raises(migrate.MigrationFailed, match=r'^0900_broken: relation "nowhere" does not exist$'):
        migrate.up(database_url, folder=folder)
    assert rows(database_url, "SELECT to_regclass('half')::text") == [(None,)]
    assert rows(database_url, "SELECT pid FROM yoyo_lock") == []


def test_a_migration_and_its_mark_commit_together(database_url: str, folder: Path) -> None:
    """Were it applied and not marked, the next start would apply it again."""
    add(folder, "0900_extra", "CREATE TABLE extra (id bigint);")
    rows(database_url, "ALTER TABLE _yoyo_log ADD CONSTRAINT refuses CHECK (migration_id <> '0900_extra')")
    with pytest.raises(migrate.MigrationFailed, match="refuses"):
        migrate.up(database_url, folder=folder)
    assert rows(database_url, "SELECT to_regclass('extra')::text") == [(None,)]
    assert migrate.pending(database_url, folder=folder) == ["0900_extra"]


# Concurrent indexes.

CONCURRENT_INDEX = "CREATE INDEX CONCURRENTLY IF NOT EXISTS users_extra_idx ON users (last_name);"
UNIQUE_INDEX = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS users_extra_key ON users (username);"


def test_an_invalid_index_is_dropped_before_the_next_try(database_url: str, folder: Path) -> None:
    add(folder, "0900_unique", f"-- transactional: false\n{UNIQUE_INDEX}")
    rows(database_url, "INSERT INTO users (user_id, username) VALUES (1, 'same'), (2, 'same')")
    with pytest.raises(migrate.MigrationFailed, match="0900_unique: could not create unique index"):
        migrate.up(database_url, folder=folder)
    assert [line for line in schema(database_url) if "INVALID" in line and "users_extra_key" in line]
    rows(database_url, "DELETE FROM users WHERE user_id = 2")
    assert migrate.up(database_url, folder=folder) == ["0900_unique"]
    assert [line for line in schema(database_url) if line.startswith("index valid") and "users_extra_key" in line]


def test_a_concurrent_index_is_built_while_another_migrator_waits(database_url: str, folder: Path) -> None:
    add(folder, "0900_index", f"-- transactional: false\n{CONCURRENT_INDEX}")
    waiting = threading.Event()
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if "waiting" in line:
            waiting.set()

    def run() -> None:
        migrate.up(database_url, folder=folder, progress=tell, pace=HASTY)

    migrators = [threading.Thread(target=run) for _ in range(2)]
    with psycopg.connect(database_url) as writer:
        writer.execute("INSERT INTO users (user_id) VALUES (1)")  # the index must wait for this transaction
        for migrator in migrators:
            migrator.start()
        assert waiting.wait(10)
    for migrator in migrators:
        migrator.join(20)
    assert not any(migrator.is_alive() for migrator in migrators)
    assert sum("applied" in line for line in told) == 1
    assert [line for line in schema(database_url) if line.startswith("index valid") and "users_extra_idx" in line]


# Many at once.

SLOW = """
CREATE TABLE slow_once (id bigint);
DO $$
BEGIN
    WHILE to_regclass('gate_open') IS NULL LOOP
        PERFORM pg_sleep(0.02);
    END LOOP;
END
$$;
INSERT INTO slow_once (id) VALUES (1);
"""
MIGRATOR = """
import sys
from pathlib import Path
from service.kernel import migrate
migrate.up(sys.argv[1], folder=Path(sys.argv[2]), pace=migrate.Pace(poll_s=0.1))
"""
IN_THE_MIDDLE = """
SELECT application_name FROM pg_stat_activity
WHERE datname = current_database() AND state = 'active' AND query LIKE 'DO $$%gate_open%'
"""


def start_migrator(dsn: str, folder: Path, name: str) -> subprocess.Popen[bytes]:
    named = f"{dsn}{'&' if '?' in dsn else '?'}application_name={name}"
    return subprocess.Popen([sys.executable, "-c", MIGRATOR, named, str(folder)], cwd=ROOT)


def test_six_migrators_at_once_and_one_killed_in_the_middle(empty_database_url: str, folder: Path) -> None:
    add(folder, "0900_slow", SLOW)
    add(folder, "0901_index", f"-- transactional: false\n{CONCURRENT_INDEX}")
    names = [f"migrator{number}" for number in range(6)]
    migrators = {name: start_migrator(empty_database_url, folder, name) for name in names}
    try:
        wait_until(lambda: rows(empty_database_url, IN_THE_MIDDLE))
        victim = str(rows(empty_database_url, IN_THE_MIDDLE)[0][0])
        migrators[victim].kill()
        wait_until(lambda: [(victim,)] != rows(empty_database_url, IN_THE_MIDDLE))
        rows(empty_database_url, "CREATE TABLE gate_open (id bigint)")
        ends = {name: migrator.wait(30) for name, migrator in migrators.items()}
    finally:
        for migrator in migrators.values():
            migrator.kill()
            migrator.wait()
    assert ends == dict.fromkeys(names, 0) | {victim: -9}
    done = [(entry.operation, entry.id) for entry in migrate.history(empty_database_url)]
    assert done == [("apply", name) for name in [*EVERYTHING, "0900_slow", "0901_index"]]
    assert rows(empty_database_url, "SELECT id FROM slow_once") == [(1,)]
    assert rows(empty_database_url, "SELECT pid FROM yoyo_lock") == []
    assert not [line for line in schema(empty_database_url) if "INVALID" in line]


# Edited and foreign files.


def test_an_edited_file_is_told(empty_database_url: str, folder: Path) -> None:
    migrate.up(empty_database_url, folder=folder)
    assert migrate.faults(empty_database_url, folder=folder) == []
    with (folder / "0001_users.sql").open("a") as file:
        file.write("-- afterthought\n")
    assert [(one.id, one.state) for one in migrate.faults(empty_database_url, folder=folder)] == [
        ("0001_users", "edited")
    ]


def test_line_ends_of_another_system_are_no_edit(empty_database_url: str, folder: Path) -> None:
    migrate.up(empty_database_url, folder=folder)
    path = folder / "0001_users.sql"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert migrate.faults(empty_database_url, folder=folder) == []


def test_a_migration_of_a_newer_release_is_no_fault(empty_database_url: str, folder: Path) -> None:
    add(folder, "0900_newer", "CREATE TABLE newer (id bigint);")
    migrate.up(empty_database_url, folder=folder)
    assert [one.state for one in migrate.status(empty_database_url)] == ["applied", "applied", "gone"]
    assert migrate.faults(empty_database_url) == []


# Addresses.


def with_host(dsn: str, hosts: str, ports: str) -> str:
    return f"{dsn.partition('?')[0]}?host={hosts}&port={ports}"


def test_several_hosts_sslmode_and_an_odd_password(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        info = connection.info
        address = f"host=/nowhere,{info.host}&port={info.port},{info.port}&sslmode=prefer"
        odd = f"postgresql+asyncpg://{info.user}:p%40ss%3Aw%2Ford%25@/{info.dbname}?{address}"
    assert migrate.current(odd) == EVERYTHING[-1]


def test_a_database_that_is_away() -> None:
    with pytest.raises(DatabaseAway, match=r"^[^\n]*$"):
        migrate.pending("postgresql://postgres:secret@127.0.0.1:1/nothing")


def test_a_malformed_address_is_not_repeated() -> None:
    with pytest.raises(Invalid) as raised:
        migrate.pending("postgresql://postgres:sec:ret@[::1/nothing?nonsense=secret")
    assert "sec" not in raised.value.message
