"""Features that go off by name and come back by themselves, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from service import switchboard as switchboard_module
from service.errors import FeatureOff
from service.feature import Feature, Off, Offer, On, Rooms, State, owns
from service.kernel import metrics
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.kernel.database.schema import Schema
from service.kernel.jobs import Job
from service.switchboard import Switchboard
from service.telegram.reply import NOTHING, Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update
from service.text import Text
from tests.outage import away
from tests.serving import config_for
from tests.waiting import until

PROBE_INTERVAL_S = 0.05
NEVER_S = 3600.0
TITLE = Text(en="Events", ru="События")
CREATE = "CREATE TABLE planted_events (event_id bigint, created_at timestamptz)"
MISSING = Off("planted_events table missing", ("planted_events",))


class Events:
    """What diagnostics offers to others."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


async def prune(_rooms: Rooms) -> Mapping[str, int]:
    return {}


async def answer(_ctx: Context, _update: Update) -> Reply:
    return NOTHING


def routing(command: str) -> Router:
    router = Router()
    router.command(command, writes=True, when_away="run")(answer)
    return router


PRUNE = Job("prune", NEVER_S, prune)
OTHER = Job("other", NEVER_S, prune)
DIAGNOSTICS = Feature(
    "diagnostics",
    TITLE,
    needs={"planted_events": owns("event_id", "created_at")},
    router=routing("failures"),
    jobs=(PRUNE,),
    offers=(Offer(Events, lambda _rooms: Events("real"), lambda _rooms: Events("absent")),),
)
USERS = Feature("users", TITLE, needs={"users": owns("user_id")}, router=routing("start"), essential=True)
UNSET = Feature("unset", TITLE, needs=DIAGNOSTICS.needs, requires=lambda _config: "SECRET is not set")
FEATURES = (USERS, DIAGNOSTICS, UNSET)


def switchboard_on(database: Database, interval_s: float = PROBE_INTERVAL_S) -> Switchboard:
    config = replace(config_for(database.settings.dsn or ""), probe_interval=interval_s)
    return Switchboard(FEATURES, database, config, Clock(), Rooms({str: "a room"}))


@asynccontextmanager
async def probing(switchboard: Switchboard) -> AsyncIterator[Switchboard]:
    """Probed once, and probing on."""
    await switchboard.refresh()
    running = asyncio.create_task(switchboard.run())
    try:
        yield switchboard
        assert not running.done()
    finally:
        running.cancel()


@pytest.fixture
async def switchboard(db: Database) -> AsyncIterator[Switchboard]:
    async with probing(switchboard_on(db)) as probed:
        yield probed


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, Any]]:
    return [
        (record.levelname, record.getMessage(), record.fields["feature"])
        for record in caplog.records
        if record.name == "features"
    ]


async def test_a_table_that_comes_and_goes(
    db: Database, raw: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    changes: list[tuple[str, State]] = []
    switchboard = switchboard_on(db)
    switchboard.on_change(lambda name, state: changes.append((name, state)))
    async with probing(switchboard):
        assert switchboard.states == {"users": On(), "diagnostics": MISSING, "unset": Off("SECRET is not set")}
        await raw.execute(CREATE)
        await until(lambda: switchboard.is_on("diagnostics"), within=1.0)
        await raw.execute("ALTER TABLE planted_events DROP COLUMN created_at")
        await until(lambda: not switchboard.is_on("diagnostics"), within=1.0)
        await raw.execute("ALTER TABLE planted_events ADD COLUMN created_at timestamptz")
        await until(lambda: switchboard.is_on("diagnostics"), within=1.0)
        await raw.execute("DROP TABLE planted_events")
        await until(lambda: not switchboard.is_on("diagnostics"), within=1.0)
        probed = switchboard.probed_at
        await until(lambda: switchboard.probed_at != probed)
    assert told(caplog) == [
        ("WARNING", "planted_events table missing", "diagnostics"),
        ("INFO", "feature on", "diagnostics"),
        ("WARNING", "planted_events.created_at column missing", "diagnostics"),
        ("INFO", "feature on", "diagnostics"),
        ("WARNING", "planted_events table missing", "diagnostics"),
    ]
    assert [state.reason for _, state in changes] == [
        message if level == "WARNING" else "" for level, message, _ in told(caplog)
    ]


async def test_what_is_off_is_mounted_as_off(switchboard: Switchboard, raw: asyncpg.Connection) -> None:
    def diagnostics() -> tuple[bool, str, str, bool]:
        mounted = switchboard.mounted
        route = mounted.router.routes["command", "failures"]
        return route.writes, route.when_away, mounted.rooms.of(Events).kind, switchboard.may_run(PRUNE)

    assert diagnostics() == (False, "apologise", "absent", False)
    with pytest.raises(FeatureOff):
        await switchboard.mounted.router.routes["command", "failures"].handler(None, None)  # type: ignore[arg-type]
    before = switchboard.mounted
    assert (before.rooms.of(str), switchboard.may_run(OTHER)) == ("a room", True)
    await raw.execute(CREATE)
    await until(lambda: switchboard.is_on("diagnostics"))
    assert diagnostics() == (True, "run", "real", True)
    assert before.rooms.of(Events).kind == "absent"  # who had it keeps it to the end
    assert switchboard.mounted.router.routes["command", "start"].when_away == "run"


async def test_an_essential_room_is_told_apart(switchboard: Switchboard, raw: asyncpg.Connection) -> None:
    assert switchboard.mounted.essential == On()
    await raw.execute("ALTER TABLE users RENAME TO people")
    await until(lambda: not switchboard.is_on("users"))
    assert switchboard.mounted.essential == Off("users table missing", ("users",))
    await raw.execute("ALTER TABLE people RENAME TO users")
    await until(lambda: switchboard.mounted.essential == On())


async def test_nothing_is_missing_before_the_first_look(db: Database) -> None:
    states = switchboard_on(db).states
    assert states == {"users": On(), "diagnostics": On(), "unset": Off("SECRET is not set")}
    sample = metrics.REGISTRY.get_sample_value
    assert [sample("ballast_feature_enabled", {"feature": feature.name}) for feature in FEATURES] == [1, 1, 0]


async def test_looks_at_the_same_moment_are_one(db: Database, raw: asyncpg.Connection) -> None:
    switchboard = switchboard_on(db, NEVER_S)
    calls = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '/* kernel.probe_rel%'"
    )
    leaver = asyncio.create_task(switchboard.refresh())
    others = [asyncio.create_task(switchboard.refresh()) for _ in range(40)]
    await asyncio.sleep(0)
    leaver.cancel()
    await asyncio.gather(*others)
    assert switchboard.states["diagnostics"] == MISSING
    assert await raw.fetchval(calls) == 1  # one connection was ever asked


async def test_a_look_that_has_begun_is_too_early_for_who_asks_now(
    db: Database, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await raw.execute(CREATE)
    looked, go_on = asyncio.Event(), asyncio.Event()
    really = switchboard_module.probe

    async def slowly(conn: Connection, relations: frozenset[str]) -> Schema:
        found = await really(conn, relations)
        looked.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(switchboard_module, "probe", slowly)
    switchboard = switchboard_on(db, NEVER_S)
    early = asyncio.create_task(switchboard.refresh())
    await looked.wait()
    await raw.execute("DROP TABLE planted_events")
    asked = asyncio.create_task(switchboard.refresh())
    await asyncio.sleep(0)
    go_on.set()
    await early
    assert switchboard.states["diagnostics"] == On()
    await asked
    assert switchboard.states["diagnostics"] == MISSING


async def test_states_stay_while_the_database_is_away(db: Database, database_url: str, raw: asyncpg.Connection) -> None:
    switchboard = switchboard_on(db, NEVER_S)
    await raw.execute(CREATE)
    async with probing(switchboard):
        before = switchboard.states
        assert before["diagnostics"] == On()
        await raw.execute("DROP TABLE planted_events")
        await raw.close()
        async with away(database_url):
            await until(lambda: not db.reachable)
            probed = switchboard.probed_at
            await switchboard.refresh()
            assert (switchboard.states, switchboard.probed_at) == (before, probed)
        await until(lambda: switchboard.states["diagnostics"] == MISSING)


async def test_a_reconnect_is_a_reason_to_look(db: Database, database_url: str, raw: asyncpg.Connection) -> None:
    async with probing(switchboard_on(db, NEVER_S)) as switchboard:
        assert not switchboard.is_on("diagnostics")
        await raw.execute(CREATE)
        await raw.close()
        async with away(database_url):
            await until(lambda: not db.reachable)
        await until(lambda: switchboard.is_on("diagnostics"))


async def test_a_listener_that_fails_keeps_nothing_from_the_others(db: Database) -> None:
    switchboard = switchboard_on(db, NEVER_S)
    heard: list[str] = []

    def fail(_name: str, _state: State) -> None:
        raise ValueError

    switchboard.on_change(fail)
    switchboard.on_change(lambda name, _state: heard.append(name))
    await switchboard.refresh()
    assert heard == ["diagnostics"]


async def test_a_probe_that_fails_does_not_end_the_probing(
    db: Database, raw: asyncpg.Connection, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(*_: object) -> None:
        raise KeyError("a fault of ours")

    async with probing(switchboard_on(db)) as switchboard:
        with monkeypatch.context() as broken:
            broken.setattr("service.switchboard.probe", break_down)
            await until(lambda: "probe failed" in caplog.text)
        await raw.execute(CREATE)
        await until(lambda: switchboard.is_on("diagnostics"))


def test_two_features_may_not_answer_to_the_same(db: Database) -> None:
    with pytest.raises(ValueError, match="two routes match"):
        Switchboard((USERS, replace(USERS, name="twin")), db, config_for(""), Clock(), Rooms({}))
