"""Our migrations for real: up and down, as one script, and what is told about them."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from service.errors import DatabaseAway, Invalid
from service.kernel import migrate
from tests.catalog import schema
from tests.migrating import CONCURRENT_INDEX, EVERYTHING, ROOT, add, rows, run_psql, with_parameter

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
    assert told == [*(("apply", name) for name in EVERYTHING), ("rollback", EVERYTHING[-1])]
    assert migrate.current(empty_database_url) == EVERYTHING[-2]


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
        assert migrate.up(with_parameter(empty_database_url, f"options=-c%20role%3D{role}")) == EVERYTHING
        assert rows(empty_database_url, "SELECT FROM pg_extension WHERE extname = 'pg_trgm'") == []
    finally:
        rows(empty_database_url, f"DROP OWNED BY {role}; DROP ROLE {role}")


# What down refuses.


def test_down_never_drops_people(database_url: str) -> None:
    rows(database_url, "INSERT INTO users (user_id) VALUES (1)")
    with pytest.raises(migrate.MigrationFailed, match=r"^0001_users: users has rows.*\n?$"):
        migrate.down(database_url, len(EVERYTHING), confirmed=True)
    assert rows(database_url, "SELECT user_id FROM users") == [(1,)]
    assert migrate.current(database_url) == "0001_users"


def test_down_keeps_updates_that_wait_for_an_operator(database_url: str) -> None:
    rows(
        database_url,
        "INSERT INTO failed_updates (bot_id, update_id, body, error, parked_at) VALUES (1, 1, '', '', now())",
    )
    with pytest.raises(migrate.MigrationFailed, match="wait for an operator"):
        migrate.down(database_url, len(EVERYTHING), confirmed=True)
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


# Each with what refers to it.
LOST = (
    *("processed_updates", "idempotency_keys", "payment_refunds", "payment_events", "payment_references"),
    "payments, payment_references, payment_refunds",
    *("payment_reservations", "payment_effects", "payment_transactions", "balances"),
    *("generation_events", "project_history", "projects, project_history", "referrals"),
)


def test_bootstrap_again_makes_what_is_missing_and_nothing_else(database_url: str) -> None:
    before = schema(database_url)
    strictly = ("-v", "ON_ERROR_STOP=1", "-f", ROOT / "bootstrap.sql")  # else psql says 0 whatever happened
    for loss in (None, *LOST):
        if loss:
            assert run_psql(database_url, "-c", f"DROP TABLE {loss}").returncode == 0
        done = run_psql(database_url, *strictly)
        assert done.returncode == 0, done.stderr
        assert schema(database_url) == before, loss
    assert len(migrate.history(database_url)) == len(EVERYTHING)
    assert migrate.faults(database_url) == []


def test_bootstrap_of_a_concurrent_index(empty_database_url: str, folder: Path, tmp_path: Path) -> None:
    add(folder, "0900_index", CONCURRENT_INDEX)
    script = tmp_path / "bootstrap.sql"
    script.write_text(migrate.bootstrap_sql(folder))
    assert run_psql(empty_database_url, "-f", script).returncode == 0
    assert migrate.faults(empty_database_url, folder=folder) == []


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
    assert [one.state for one in migrate.status(empty_database_url)] == ["applied" for _ in EVERYTHING] + ["gone"]
    assert migrate.faults(empty_database_url) == []


# Addresses.


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
