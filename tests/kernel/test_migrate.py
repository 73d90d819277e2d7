"""The one migrator among many: locks, failures, concurrent indexes, kills."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from service.kernel import migrate
from tests.catalog import schema
from tests.migrating import CONCURRENT_INDEX, EVERYTHING, ROOT, add, rows, wait_until, with_parameter

HASTY = migrate.Pace(turn_s=20, poll_s=0.05, lock_s=0.1, pause_s=0.05, longest_pause_s=0.1, tries=200)
GIVES_UP = migrate.Pace(turn_s=0.1, poll_s=0.05, lock_s=0.05, pause_s=0.01, tries=3)


# Locks.


def test_a_stale_yoyo_lock_is_cleared(empty_database_url: str) -> None:
    migrate.up(empty_database_url)
    migrate.down(empty_database_url, 1, confirmed=False)
    rows(empty_database_url, "INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 1)")
    assert migrate.up(empty_database_url) == EVERYTHING[-1:]
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
    add(folder, "0900_index", CONCURRENT_INDEX)
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
    -- Not to_regclass: it may go on answering from a cache that nothing in this loop refreshes.
    WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'gate_open') LOOP
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
    named = with_parameter(dsn, f"application_name={name}")
    return subprocess.Popen([sys.executable, "-c", MIGRATOR, named, str(folder)], cwd=ROOT)


def test_six_migrators_at_once_and_one_killed_in_the_middle(empty_database_url: str, folder: Path) -> None:
    add(folder, "0900_slow", SLOW)
    add(folder, "0901_index", CONCURRENT_INDEX)
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
