"""Where backups go and which stay: a folder and a bucket are alike."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from boto3.s3.transfer import TransferConfig

from service.backup.target import names
from tests.backup.conftest import Keys, client_of, money

Command = Callable[..., Any]
BUCKET = "s3://backups/nightly/"
NOW = datetime(2026, 11, 20, 3, 15, tzinfo=UTC)
NOT_OURS = (
    "notes.txt",
    "ballast.dump",
    "ballast-20251301T000000Z.dump",
    "x-ballast-20250101T000000Z.dump",
    "2025.dump",
)


def fake(days: int, *, kind: str = "all", hours: int = 0) -> str:
    return names.name(NOW - timedelta(days=days, hours=hours), kind, plain=False, encrypted=False)


def kept(there: list[str], daily: int = 30, monthly: int = 12) -> set[str]:
    return set(there) - set(names.to_go(there, daily=daily, monthly=monthly))


def test_four_hundred_days() -> None:
    there = [fake(day) for day in range(400)]
    months = [at.strftime("%Y%m") for at in (NOW - timedelta(days=day) for day in range(30, 400))]
    newest = {month: fake(30 + months.index(month)) for month in dict.fromkeys(months)}
    assert kept(there) == {fake(day) for day in range(30)} | set(list(newest.values())[:12])
    assert len(kept(there)) == 30 + 12


def test_the_newest_of_a_day_and_of_a_month() -> None:
    there = [fake(day, hours=hours) for day in range(3) for hours in (0, 1, 2)]
    assert kept(there, daily=2, monthly=1) == {fake(0), fake(1), fake(2)}
    assert kept(there, daily=5, monthly=0) == {fake(0), fake(1), fake(2)}


def test_days_without_a_backup_do_not_count() -> None:
    there = [fake(day) for day in (100, 200, 300)]
    assert kept(there, daily=2, monthly=0) == {fake(100), fake(200)}


def test_each_kind_for_itself() -> None:
    there = [fake(day, kind=kind) for day in range(10) for kind in ("all", "critical")]
    assert kept(there, daily=2, monthly=0) == {fake(day, kind=kind) for day in (0, 1) for kind in ("all", "critical")}


@pytest.mark.parametrize("name", NOT_OURS)
def test_a_name_that_is_not_ours(name: str) -> None:
    assert names.dated(name) is None
    assert names.to_go([name, fake(0)], daily=1, monthly=0) == []


def test_pruning_a_folder(command: Command, tmp_path: Path) -> None:
    for name in (*(fake(day) for day in range(400)), *NOT_OURS, f"{fake(399)}.verified", f"{fake(0)}.verified"):
        (tmp_path / name).touch()
    prune = ("backup", "prune", "--daily", "30", "--monthly", "12")
    done = command(*prune, "--dry-run", str(tmp_path))
    assert done.out.splitlines()[-1] == "358 would go"
    assert len(list(tmp_path.iterdir())) == 400 + len(NOT_OURS) + 2
    assert command(*prune, str(tmp_path)).out.splitlines()[-1] == "358 gone"
    left = {one.name for one in tmp_path.iterdir()}
    assert len(left) == 42 + len(NOT_OURS) + 1
    assert left >= {*NOT_OURS, f"{fake(0)}.verified"}


def test_a_bucket(books: str, command: Command, bucket: dict[str, str], keys: Keys, empty_database_url: str) -> None:
    settings = {**bucket, "BACKUP_RECIPIENTS": keys.recipient, "BACKUP_IDENTITY": str(keys.identity)}
    assert command("backup", "--encrypt", BUCKET, **settings).code == 0
    (key,) = keys_in(bucket)
    where = f"s3://backups/{key}"
    assert names.dated(key.removeprefix("nightly/"))
    assert command("backup", "verify", where, **settings).code == 0
    assert keys_in(bucket) == [key, f"{key}.verified"]
    assert command("restore", where, **{**settings, "DATABASE_URL": empty_database_url}).code == 0
    assert money(empty_database_url) == money(books)


def test_a_bucket_in_parts(
    database_url: str,
    command: Command,
    bucket: dict[str, str],
    sql: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Larger than one part is; what cannot be compressed stays large."""
    small = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, use_threads=False)
    monkeypatch.setattr("service.backup.target.bucket.TRANSFER", small)
    sql.execute("CREATE TABLE large (id integer PRIMARY KEY, noise bytea NOT NULL)")
    noise = (
        "INSERT INTO large SELECT n, decode(string_agg(md5(n || ' ' || m), ''), 'hex')"
        " FROM generate_series(1, 30) AS n, generate_series(1, 16384) AS m GROUP BY n"
    )
    sql.execute(noise)
    assert command("backup", f"{BUCKET}large.dump", **bucket).code == 0
    head = client_of(bucket).head_object(Bucket="backups", Key="nightly/large.dump")
    assert head["ContentLength"] > 5 << 20
    assert head["ETag"].strip('"').endswith("-2")
    assert command("backup", "verify", f"{BUCKET}large.dump", **bucket).code == 0


def test_pruning_a_bucket(command: Command, bucket: dict[str, str]) -> None:
    client = client_of(bucket)
    for name in (*(fake(day) for day in range(5)), "notes.txt", f"elsewhere/{fake(300)}"):
        client.put_object(Bucket="backups", Key=f"nightly/{name}", Body=b"")
    done = command("backup", "prune", "--daily", "2", "--monthly", "0", BUCKET, **bucket)
    assert done.out.splitlines()[-1] == "3 gone"
    expected = [f"nightly/{name}" for name in (fake(0), fake(1), "notes.txt", f"elsewhere/{fake(300)}")]
    assert keys_in(bucket) == sorted(expected)


def test_a_bucket_that_is_not_there(books: str, command: Command, bucket: dict[str, str]) -> None:
    for words in (("backup",), ("backup", "verify"), ("restore",)):
        done = command(*words, "s3://nobodys/x.dump", **bucket)
        assert (done.code, done.out) == (1, "")
        assert done.err.count("\n") == 1
    done = command("backup", BUCKET, **{**bucket, "S3_ENDPOINT": "http://127.0.0.1:1"})
    assert (done.code, done.err) == (1, "error: S3: not stored: EndpointConnectionError\n")


def test_a_failed_dump_leaves_nothing_in_a_bucket(
    books: str, command: Command, bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_dump fails after it has begun to write: what came of it must not look like a backup."""
    monkeypatch.setattr("service.backup.taking.LOCK_WAIT", "no time at all")
    done = command("backup", BUCKET, **bucket)
    assert done.code == 1
    assert done.err.startswith("error: pg_dump: ")
    assert keys_in(bucket) == []
    assert not client_of(bucket).list_multipart_uploads(Bucket="backups").get("Uploads")


def keys_in(bucket: dict[str, str]) -> list[str]:
    return [one["Key"] for one in client_of(bucket).list_objects_v2(Bucket="backups").get("Contents", ())]
