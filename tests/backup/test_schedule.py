"""The scheduled backup: one instance takes it, when it is due, and what became of it is seen."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service import backup
from service.backup import schedule
from service.config import Config, load
from service.feature import Rooms
from service.kernel import metrics
from service.kernel.clock import Clock
from tests.backup.conftest import Keys


class At(Clock):
    """A clock that stands."""

    def __init__(self, moment: datetime) -> None:
        super().__init__()
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


@pytest.fixture
def clock() -> At:
    return At(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups"


def rooms(clock: Clock, url: str, folder: Path, **settings: str) -> Rooms:
    config = load({"DATABASE_URL": url, "BACKUP_TO": str(folder), "BACKUP_EVERY": "6", **settings})
    return Rooms({Config: config, Clock: clock})


def test_it_is_off_until_it_is_asked_for() -> None:
    assert backup.jobs(load({})) == ()
    assert backup.jobs(load({"BACKUP_TO": "/somewhere"})) == (schedule.JOB,)


async def test_of_two_instances_one(books: str, clock: At, folder: Path) -> None:
    instances = [rooms(clock, books, folder) for _ in range(2)]
    counts = await asyncio.gather(*(schedule.back_up(one) for one in instances))
    assert sorted(map(len, counts)) == [0, 1]
    assert len(list(folder.iterdir())) == 1


async def test_when_it_is_due(books: str, clock: At, folder: Path) -> None:
    here = rooms(clock, books, folder)
    assert await schedule.back_up(here) == {"taken": 1}
    taken = clock.moment
    for hours, result in ((0, {}), (5.9, {}), (6, {"taken": 1}), (7, {}), (12, {"taken": 1})):
        clock.moment = taken + timedelta(hours=hours)
        assert await schedule.back_up(here) == result
    assert metrics.REGISTRY.get_sample_value("ballast_backup_last_success_timestamp_seconds") == (
        clock.moment.timestamp()
    )


async def test_a_critical_one_does_not_count(books: str, clock: At, folder: Path) -> None:
    (folder / f"ballast-critical-{clock.moment:%Y%m%dT%H%M%SZ}.dump").touch()
    assert await schedule.back_up(rooms(clock, books, folder)) == {"taken": 1}


async def test_encrypted_and_verified(
    books: str, clock: At, folder: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKUP_IDENTITY", str(keys.identity))
    settings = {"BACKUP_RECIPIENTS": keys.recipient, "BACKUP_VERIFY": "on"}
    assert await schedule.back_up(rooms(clock, books, folder, **settings)) == {"taken": 1}
    name, mark = sorted(one.name for one in folder.iterdir())
    assert name.endswith(".dump.age")
    assert mark == f"{name}.verified"
    at = metrics.REGISTRY.get_sample_value("ballast_backup_last_verified_timestamp_seconds")
    assert at == pytest.approx((folder / mark).stat().st_mtime)


async def test_one_that_cannot_be_verified_is_told(
    books: str, clock: At, folder: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = heard(monkeypatch)
    settings = {"BACKUP_RECIPIENTS": keys.recipient, "BACKUP_VERIFY": "on"}
    assert await schedule.back_up(rooms(clock, books, folder, **settings)) == {"taken": 1}
    assert [line for line, _ in told] == ["backup not verified"]
    assert "BACKUP_IDENTITY" in told[0][1]["reason"]


@pytest.mark.parametrize("fault", ["no folder", "no pg_dump", "no key"])
async def test_one_that_fails_is_told(
    books: str, clock: At, folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    told = heard(monkeypatch)
    settings = {"BACKUP_RECIPIENTS": "age1nobody"} if fault == "no key" else {}
    if fault == "no pg_dump":
        monkeypatch.setattr("service.backup.postgres.programs._installed", lambda: iter(()))
    where = folder / "none" / "at all" if fault == "no folder" else folder
    assert await schedule.back_up(rooms(clock, books, where, **settings)) == {"failed": 1}
    assert [line for line, _ in told] == ["backup failed"]
    assert list(folder.iterdir()) == []


async def test_a_stop_in_the_middle_leaves_nothing(
    books: str, clock: At, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()
    loop, store = asyncio.get_running_loop(), schedule.taking._store

    def slowly(*arguments: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        store(*arguments)

    monkeypatch.setattr(schedule.taking, "_store", slowly)
    work = asyncio.create_task(schedule.back_up(rooms(clock, books, folder)))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert list(folder.iterdir()) == []


class Heard(list[tuple[str, dict[str, str]]]):
    """What the room says in ERROR."""

    def error(self, line: str, **fields: str) -> None:
        self.append((line, fields))

    def info(self, line: str, **fields: object) -> None:
        assert line == "backup taken"


def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    told = Heard()
    monkeypatch.setattr(schedule, "log", told)
    return told
