"""The rules of migrations/ that squawk and sqlfluff do not know. `make check` runs those two over the same files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import psycopg
import pytest
import sqlparse
from yoyo.migrations import read_sql_migration

from service.errors import Invalid
from service.kernel import migrate

FILES = sorted(migrate.FOLDER.glob("*.sql"))
APPLIES = [path for path in FILES if not path.name.endswith(".rollback.sql")]
CHECKSUMS = migrate.FOLDER / "CHECKSUMS"
OWN_TABLES = "c.relnamespace = 'public'::regnamespace AND c.relname !~ '^_?yoyo'"


def named(path: Path) -> str:
    return path.name


def statements(path: Path) -> list[str]:
    return [sqlparse.format(one, strip_comments=True).strip() for one in read_sql_migration(str(path))[2]]


def test_there_are_migrations() -> None:
    assert APPLIES


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_name_is_a_number_and_what(path: Path) -> None:
    assert re.fullmatch(r"\d{4}_[a-z][a-z0-9_]*(\.rollback)?\.sql", path.name)


def test_numbers_run_without_a_gap_or_a_double() -> None:
    assert [int(path.name[:4]) for path in APPLIES] == list(range(1, len(APPLIES) + 1))


@pytest.mark.parametrize("path", APPLIES, ids=named)
def test_each_has_a_rollback(path: Path) -> None:
    assert path.with_suffix(".rollback.sql").exists()


def test_no_rollback_stands_alone() -> None:
    assert len(FILES) == 2 * len(APPLIES)


@pytest.mark.parametrize("path", FILES, ids=named)
def test_each_file_says_what_it_is_for(path: Path) -> None:
    assert re.match(r"-- [A-Z]", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_statement_returns_rows(path: Path) -> None:
    """yoyo would print them to the standard output."""
    assert not [one for one in statements(path) if re.match(r"(SELECT|TABLE|VALUES|SHOW)\b|.*\bRETURNING\b", one)]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_yoyo_splits_it_into_whole_statements(path: Path) -> None:
    """A $$ body that is cut in two has an odd number of quotes in each half."""
    for one in statements(path):
        assert one.endswith(";")
        assert one.count("$$") % 2 == 0
        assert not re.match(r"(BEGIN|COMMIT|ROLLBACK|END)\b", one), "yoyo opens and ends the transaction"


@pytest.mark.parametrize("path", APPLIES, ids=named)
def test_concurrent_indexes_stand_alone_and_may_be_built_again(path: Path) -> None:
    """They run outside of the transaction that marks the migration, so a kill may come between."""
    transactional = "-- transactional: false" not in path.read_text(encoding="utf-8")
    concurrent = [one for one in statements(path) if "CONCURRENTLY" in one]
    assert transactional == (not concurrent)
    if concurrent:
        assert len(statements(path)) == 1
        assert "IF NOT EXISTS" in concurrent[0]


@pytest.mark.parametrize("path", APPLIES, ids=named)
def test_each_constraint_is_named(path: Path) -> None:
    """A violated constraint becomes a domain error by its name."""
    for one in statements(path):
        for match in re.finditer(r"\b(PRIMARY KEY|UNIQUE|CHECK|REFERENCES|FOREIGN KEY|EXCLUDE)\b *[\w(]", one):
            assert is_named(one, match.start()), f"{path.name}: {one[match.start() : match.start() + 60]}"


def is_named(statement: str, position: int) -> bool:
    """Whether the clause that holds this position begins with CONSTRAINT, or is CREATE UNIQUE INDEX."""
    clause = re.split(r",\n|\(\n|;|\bADD\b", statement[:position])[-1]
    return "CONSTRAINT" in clause or bool(re.search(r"CREATE $", clause))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_landed_file_is_never_edited(path: Path) -> None:
    """To land a new one: cd migrations && sha256sum NNNN_what*.sql >> CHECKSUMS"""
    recorded = dict(reversed(line.split()) for line in CHECKSUMS.read_text().splitlines())
    assert recorded.get(path.name) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_no_landed_file_is_gone() -> None:
    recorded = [line.split()[1] for line in CHECKSUMS.read_text().splitlines()]
    assert sorted(recorded) == [path.name for path in FILES]


def test_every_table_and_column_is_commented(database_url: str) -> None:
    query = f"""
        SELECT c.oid::regclass::text || coalesce('.' || a.attname, '')
        FROM pg_class c
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'p') AND {OWN_TABLES}
            AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid, 'pg_class') IS NULL)
    """
    with psycopg.connect(database_url) as connection:
        assert connection.execute(query.encode()).fetchall() == []


def test_every_index_begins_with_its_tables_name(database_url: str) -> None:
    query = f"""
        SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        WHERE {OWN_TABLES} AND NOT starts_with(i.indexrelid::regclass::text, c.relname || '_')
    """
    with psycopg.connect(database_url) as connection:
        assert connection.execute(query.encode()).fetchall() == []


def test_new_makes_the_next_pair(tmp_path: Path) -> None:
    (tmp_path / "0007_before.sql").touch()
    apply, rollback = migrate.new("referrals", tmp_path)
    assert (apply.name, rollback.name) == ("0008_referrals.sql", "0008_referrals.rollback.sql")
    assert apply.exists()
    assert rollback.exists()


@pytest.mark.parametrize("what", ["", "Users", "a b", "../x", "1st", "a.sql"])
def test_new_refuses_another_form_of_name(tmp_path: Path, what: str) -> None:
    with pytest.raises(Invalid):
        migrate.new(what, tmp_path)
    assert list(tmp_path.iterdir()) == []
