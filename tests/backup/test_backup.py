"""Taken, verified, brought back: the same rows and the same sums, or one clear line and exit 1."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec
import psycopg
import pytest

from service.backup import contents, restoring, seal
from service.backup.postgres import programs
from service.backup.seal import Damaged
from service.kernel import queries
from service.kernel.database import Database
from tests.backup.conftest import PEOPLE, Keys, money, new_keys

Command = Callable[..., Any]

PAY = """
    WITH paid AS (
        INSERT INTO payments (
            payment_id, user_id, provider, status, amount, credit_rub, pack_id, expires_at, settled_at
        )
        VALUES (%(id)s, %(user)s, 'yookassa', 'succeeded', 7, 7, 'small', now(), now())
        RETURNING payment_id, user_id
    ), moved AS (
        UPDATE balances SET balance_rub = balance_rub + 7 WHERE user_id = %(user)s
    )
    INSERT INTO payment_transactions (user_id, amount_rub, type, payment_id, effect_key)
    SELECT user_id, 7, 'topup', payment_id, 'yookassa:payment:' || payment_id FROM paid
"""


@contextmanager
def traffic(url: str) -> Iterator[list[int]]:
    """Payments, one after the other, from two connections; how many there were."""
    ended, paid = threading.Event(), [0, 0]

    def pay(at: int) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            people = [person for (person,) in connection.execute("SELECT user_id FROM users").fetchall()]
            while not ended.is_set():
                connection.execute(PAY, {"id": uuid4(), "user": people[paid[at] % PEOPLE]})
                paid[at] += 1

    threads = [threading.Thread(target=pay, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield paid
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_a_folder_gets_a_name_with_its_date(books: str, command: Command, tmp_path: Path) -> None:
    done = command("backup", str(tmp_path))
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(r"ballast-\d{8}T\d{6}Z\.dump", file.name)
    assert done.out.startswith("backed up ")
    assert file.stat().st_mode & 0o077 == 0
    found = programs.find("pg_restore", major=16)
    listed = subprocess.run([found.directory / "pg_restore", "-l", file], capture_output=True, text=True, check=True)
    assert "TABLE DATA public payment_transactions" in listed.stdout
    assert command("backup", "verify", str(file)).code == 0
    assert {one.name for one in tmp_path.iterdir()} == {file.name, f"{file.name}.verified"}


def test_what_comes_back_is_what_was_there(
    books: str, made: Path, command: Command, empty_database_url: str, sql: psycopg.Connection[Any]
) -> None:
    done = command("restore", str(made), DATABASE_URL=empty_database_url)
    assert (done.code, done.err) == (0, "")
    assert money(empty_database_url) == money(books)
    there = {"DATABASE_URL": empty_database_url}
    with psycopg.connect(empty_database_url) as connection:
        lost = "SELECT count(*) FROM balances WHERE booked_in <> 'payment_transactions'::regclass::oid"
        assert connection.execute(lost).fetchone() == (0,), "the ledger that is here explains them"
    assert command("migrate", "check", **there).code == 0
    assert command("recover", **there).code == 0
    assert money(empty_database_url) == money(books), "nothing had to be booked"
    assert command("ledger", "verify", **there).out == f"{PEOPLE} people checked, 0 differences\n"


def test_under_traffic(books: str, command: Command, tmp_path: Path, empty_database_url: str) -> None:
    file = str(tmp_path / "busy.dump")
    with traffic(books) as paid:
        while not min(paid):
            assert threading.active_count() > 2, "nobody pays any more"
        assert command("backup", file).code == 0
        assert min(paid) > 0
    assert command("backup", "verify", file).code == 0
    assert command("restore", file, DATABASE_URL=empty_database_url).code == 0
    entries = len(money(empty_database_url))
    assert PEOPLE * 11 <= entries <= PEOPLE * 11 + sum(paid)
    assert command("ledger", "verify", DATABASE_URL=empty_database_url).code == 0


@pytest.mark.parametrize("encrypted", [False, True])
def test_not_a_byte_may_differ(books: str, command: Command, tmp_path: Path, keys: Keys, encrypted: bool) -> None:
    file = tmp_path / "made.dump"
    settings = {"BACKUP_RECIPIENTS": keys.recipient, "BACKUP_IDENTITY": str(keys.identity)}
    assert command("backup", *(["--encrypt"] if encrypted else []), str(file), **settings).code == 0
    whole = file.read_bytes()
    places = {*range(0, len(whole), len(whole) // 60), *range(25), *range(len(whole) - 130, len(whole), 7)}
    for at in sorted(places):
        for damaged in (whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :], whole[:at]):
            file.write_bytes(damaged)
            with pytest.raises(Damaged), restoring.opened(file, keys.identity):
                pass
    for damaged in (whole[:900] + b"?" + whole[901:], whole[:-1], whole + b"\n", b""):
        file.write_bytes(damaged)
        assert_refused(command("backup", "verify", str(file), **settings), f"{len(damaged)} bytes")
    file.write_bytes(whole)
    assert command("backup", "verify", str(file), **settings).code == 0


def assert_refused(done: Any, why: str) -> None:
    assert done.code == 1, why
    assert done.out == "", why
    assert done.err.startswith("error: "), why
    assert done.err.count("\n") == 1, why


def test_nobody_reads_it_without_the_key(
    books: str, command: Command, tmp_path: Path, keys: Keys, empty_database_url: str
) -> None:
    assert command("backup", "--encrypt", str(tmp_path), BACKUP_RECIPIENTS=keys.recipient).code == 0
    (file,) = tmp_path.glob("*.dump.age")
    assert b"payment_transactions" not in file.read_bytes()
    stranger = new_keys(tmp_path / "stranger.txt")
    for words in ([], ["--identity", str(stranger.identity)], ["--identity", str(tmp_path / "none")]):
        assert_refused(command("backup", "verify", *words, str(file)), str(words))
        assert_refused(command("restore", *words, str(file), DATABASE_URL=empty_database_url), str(words))
    mine = ["--identity", str(keys.identity)]
    assert command("backup", "verify", *mine, str(file)).code == 0
    assert command("restore", *mine, str(file), DATABASE_URL=empty_database_url).code == 0
    assert money(empty_database_url) == money(books)


@pytest.mark.parametrize("recipients", ["", "age1nobody", "ssh-rsa nothing"])
def test_without_a_key_to_encrypt_for(command: Command, tmp_path: Path, recipients: str) -> None:
    assert_refused(command("backup", "--encrypt", str(tmp_path), BACKUP_RECIPIENTS=recipients), recipients)
    assert list(tmp_path.iterdir()) == []


def test_a_filled_database_is_left_alone(books: str, made: Path, command: Command) -> None:
    before = money(books)
    done = command("restore", str(made))
    assert_refused(done, "filled")
    assert "is not empty, it has _yoyo_log, " in done.err
    assert money(books) == before


def test_what_is_critical(
    books: str, command: Command, tmp_path: Path, empty_database_url: str, sql: psycopg.Connection[Any]
) -> None:
    somebody = sql.execute("SELECT min(user_id) FROM users").fetchone()
    sql.execute("INSERT INTO generation_events (user_id, model_id, status) VALUES (%s, 'm', 'success')", somebody)
    assert command("backup", "--critical", str(tmp_path)).code == 0
    (file,) = tmp_path.glob("ballast-critical-*.dump")
    assert command("backup", "verify", str(file)).code == 0
    there = {"DATABASE_URL": empty_database_url}
    assert command("restore", str(file), **there).code == 0
    assert money(empty_database_url) == money(books)
    assert command("ledger", "verify", **there).code == 0
    assert command("doctor", **there).code == 0
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM generation_events").fetchone() == (0,)


# What was made, and what it was to cost: the money that was taken for it is in the ledger and the reservations.
COSTS = {"generation_jobs", "generation_events"}


def test_every_table_about_money_is_critical(sql: psycopg.Connection[Any]) -> None:
    found = sql.execute(
        "SELECT DISTINCT table_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND (data_type = 'numeric' OR table_name LIKE 'payment%')"
    ).fetchall()
    assert {name for (name,) in found} - COSTS <= contents.critical_tables()
    assert "payment_events" in contents.critical_tables()


def test_no_room_of_payments_is_forgotten() -> None:
    """Whatever queries payments declares, their tables go with the money."""
    declared = {
        room.name
        for room in queries.rooms.values()
        if any(kind.__module__.startswith("service.payments") for kind in room.declared.values())
    }
    owned = {table for name in declared for table in queries.room(name).owns}
    assert {"balances", "payments", "payment_refunds"} <= owned <= contents.critical_tables()


def test_a_script_of_sql(books: str, command: Command, tmp_path: Path, empty_database_url: str) -> None:
    assert command("backup", "--plain", str(tmp_path)).code == 0
    (file,) = tmp_path.glob("ballast-*.sql")
    assert command("backup", "verify", str(file)).code == 0
    assert command("restore", str(file), DATABASE_URL=empty_database_url).code == 0
    assert money(empty_database_url) == money(books)


def test_to_stdout(books: str, command: Command, database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "piped.dump"
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url}
    with file.open("wb") as out:
        argv = [sys.executable, "-m", "service", "backup", "-"]
        done = subprocess.run(argv, env=environ, stdout=out, stderr=subprocess.PIPE, text=True, check=True)
    assert done.stderr.startswith("backed up ")
    assert command("backup", "verify", str(file)).code == 0


def test_a_restore_is_all_or_nothing(
    made: Path, command: Command, empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last thing that it does fails: a table that is in the way."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE FUNCTION refuse_change() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
        done = command("restore", str(made), DATABASE_URL=empty_database_url)
        assert_refused(done, "in the way")
        assert "refuse_change" in done.err
        count = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        assert connection.execute(count).fetchone() == (0,)


def test_a_manifest_that_tells_otherwise(books: str, made: Path, command: Command) -> None:
    """As after a restore that lost rows, told in a manifest that is whole."""
    body, sealed = made.read_bytes().partition(b"\n-- ballast manifest ")[0], seal.opened(made)
    _reseal(made, body, changed(sealed.manifest, {"rows": 1}))
    done = command("backup", "verify", str(made))
    assert_refused(done, "a row less")
    assert f"public.users has {PEOPLE} rows, expected 1" in done.err


async def test_each_figure_is_compared(books: str, made: Path, db: Database) -> None:
    manifest = seal.opened(made).manifest
    async with db.transaction() as conn:
        assert await contents.differences(conn, manifest) == []
        for change, said in (
            ({"rows": 1}, f"public.users has {PEOPLE} rows, expected 1"),
            ({"checksum": "7"}, "public.users has other rows than it had"),
            ({"sums": '{"x": "1"}'}, 'public.users adds up to {}, expected {"x": "1"}'),
            ({"relation": "public.gone"}, "public.gone is missing"),
        ):
            assert await contents.differences(conn, changed(manifest, change)) == [said]
        lost = msgspec.structs.replace(manifest, foreign_keys=[*manifest.foreign_keys, "a.b"])
        assert await contents.differences(conn, lost) == ["foreign key a.b does not hold"]


def changed(manifest: contents.Manifest, change: dict[str, Any]) -> contents.Manifest:
    tables = [
        msgspec.structs.replace(one, **change) if one.relation == "public.users" else one for one in manifest.tables
    ]
    return msgspec.structs.replace(manifest, tables=tables)


def _reseal(file: Path, body: bytes, manifest: contents.Manifest) -> None:
    sealing = seal.Sealing(io.BytesIO(body), manifest, ended=lambda: None, tell=lambda _: None)
    file.write_bytes(io.BufferedReader(sealing).read())


def test_books_that_were_wrong_already(
    books: str, command: Command, tmp_path: Path, sql: psycopg.Connection[Any]
) -> None:
    """The backup is what was there, and what was there does not add up: whoever relies on it must know."""
    (somebody,) = sql.execute("SELECT min(user_id) FROM users").fetchone()
    sql.execute("UPDATE balances SET balance_rub = balance_rub + 1 WHERE user_id = %s", [somebody])
    file = str(tmp_path / "wrong.dump")
    assert command("backup", file).code == 0
    done = command("backup", "verify", file)
    assert_refused(done, "wrong")
    assert f"user {somebody}: balance and held" in done.err


def test_a_pg_dump_that_is_too_old(
    books: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_major", lambda *_: 9)
    done = command("backup", str(tmp_path))
    assert_refused(done, "old")
    assert re.search(r"pg_dump of PostgreSQL \d+ or newer is needed here, and found is 9", done.err)
    assert list(tmp_path.iterdir()) == []


def test_a_dump_that_fails_leaves_nothing(
    books: str, command: Command, tmp_path: Path, sql: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.backup.taking.LOCK_WAIT", "100ms")
    sql.execute("BEGIN")
    sql.execute("LOCK TABLE instances IN ACCESS EXCLUSIVE MODE")
    monkeypatch.setattr(contents, "count", _no_count)
    done = command("backup", str(tmp_path))
    sql.execute("ROLLBACK")
    assert_refused(done, "locked")
    assert "pg_dump: " in done.err
    assert list(tmp_path.iterdir()) == []


async def _no_count(*_: object) -> list[contents.Count]:
    return []


def test_with_an_extension(debian_url: str, command: Command, tmp_path: Path) -> None:
    """The server that it is verified in must have it, and the comment of an extension is its owner's."""
    file = str(tmp_path / "debian.dump")
    assert command("backup", file, DATABASE_URL=debian_url).code == 0
    assert "pg_trgm" in seal.opened(Path(file)).manifest.origin.extensions
    assert command("backup", "verify", file, DATABASE_URL=debian_url).code == 0


def test_whoever_ends_it_ends_its_server(made: Path, database_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="b-", dir="/tmp") as place:  # a socket's path is short
        Path(place).chmod(0o711)
        environ = {"PATH": os.environ["PATH"], "DATABASE_URL": database_url, "TMPDIR": place}
        argv = [sys.executable, "-m", "service", "backup", "verify", str(made)]
        with subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL) as verifying:
            deadline = time.monotonic() + 60
            while not (pids := list(Path(place).glob("ballast-scratch-*/data/postmaster.pid"))):
                assert verifying.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            server = int(pids[0].read_text().splitlines()[0])
            verifying.terminate()
            assert verifying.wait(60) == 130
        assert list(Path(place).iterdir()) == []
        assert not Path(f"/proc/{server}").exists()


def test_by_a_role_that_is_no_superuser(debian_url: str, command: Command, tmp_path: Path) -> None:
    """As on a platform: a database of one's own, on a server of somebody else's."""
    file = str(tmp_path / "debian.dump")
    assert command("backup", file, DATABASE_URL=debian_url).code == 0
    with psycopg.connect(debian_url, autocommit=True) as connection:
        connection.execute("CREATE ROLE tenant LOGIN")
        connection.execute("CREATE DATABASE tenants OWNER tenant")
        try:
            url = urlsplit(debian_url)
            theirs = url._replace(netloc=f"tenant@{url.netloc.rpartition('@')[2]}", path="/tenants").geturl()
            done = command("restore", file, DATABASE_URL=theirs)
            assert (done.code, done.err) == (0, "")
            assert command("backup", file, DATABASE_URL=theirs).code == 0
        finally:
            connection.execute("DROP DATABASE tenants WITH (FORCE)")
            connection.execute("DROP ROLE tenant")


@pytest.mark.parametrize(
    "words",
    [
        ("backup", "/none/at/all"),
        ("backup", "verify", "/none"),
        ("backup", "prune", "/none"),
        ("backup", "verify"),
        ("backup", "a", "b"),
        ("restore", "/tmp"),
        ("backup", "s3://"),
        ("backup", "prune", "--daily", "0", "/tmp"),
    ],
    ids=" ".join,
)
def test_what_makes_no_sense(command: Command, words: tuple[str, ...], empty_database_url: str) -> None:
    assert_refused(command(*words, DATABASE_URL=empty_database_url), " ".join(words))
