"""Making sure of people: few statements, a cache that is right, and two processes that tell each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from service.errors import NotFound
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database, DatabaseSettings
from service.users import people, repo
from service.users.people import People
from service.users.user import EnsuredUser, Profile
from tests.cast import PAYER
from tests.users.statements import sent
from tests.waiting import until

TTL_S = 600.0
ENSURE = "users.ensure_users"
ME = Profile(PAYER.user_id, "payer", "Payer", "One", "en")


class HandClock(Clock):
    """Moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@asynccontextmanager
async def process(database_url: str, clock: Clock | None = None) -> AsyncIterator[People]:
    """What one process has of the users room."""
    database = Database(DatabaseSettings(database_url))
    made = People(database, clock or Clock(), cache_ttl_s=TTL_S)
    await database.start()
    try:
        yield made
    finally:
        await database.stop()


@pytest.fixture
async def here(database_url: str) -> AsyncIterator[People]:
    async with process(database_url) as made:
        yield made


async def test_a_thousand_at_once_share_a_few_statements(here: People) -> None:
    before = sent(ENSURE)
    users = await asyncio.gather(*(here.ensure_user_exists(Profile(number)) for number in range(1000)))
    assert [user.user_id for user in users] == list(range(1000))
    assert all(user.created for user in users)
    assert sent(ENSURE) - before <= 10


async def test_a_thousand_of_one_person_make_him_once(here: People) -> None:
    before = sent(ENSURE)
    users = await asyncio.gather(*(here.ensure_user_exists(ME) for _ in range(1000)))
    assert {user.user_id for user in users} == {PAYER.user_id}
    assert sent(ENSURE) - before == 1


async def test_who_is_known_and_unchanged_costs_no_statement(here: People) -> None:
    first = await here.ensure_user_exists(ME)
    before = sent(ENSURE)
    again = [await here.ensure_user_exists(profile) for profile in (ME, Profile(ME.user_id), ME)]
    assert sent(ENSURE) == before
    assert [user.created for user in (first, *again)] == [True, False, False, False]


async def test_a_changed_name_is_stored_at_once(here: People, raw: asyncpg.Connection) -> None:
    await here.ensure_user_exists(ME)
    changed = await here.ensure_user_exists(Profile(ME.user_id, "renamed", "Payer", "One", "en"))
    assert changed.username == "renamed"
    assert await raw.fetchval("SELECT username FROM users") == "renamed"


async def test_what_is_remembered_grows_old(database_url: str) -> None:
    clock = HandClock()
    async with process(database_url, clock) as here:
        await here.ensure_user_exists(ME)
        before = sent(ENSURE)
        clock.seconds += TTL_S - 1
        await here.ensure_user_exists(ME)
        assert sent(ENSURE) == before
        clock.seconds += 2
        await here.ensure_user_exists(ME)
        assert sent(ENSURE) == before + 1


async def test_no_more_are_remembered_than_fit(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "CACHE_MAX", 10)
    async with process(database_url) as here:
        for number in range(30):
            await here.ensure_user_exists(Profile(number))
        assert sum(here.known(number) is not None for number in range(30)) == 10
        assert here.known(29) is not None


# Money keeps people from being thrown away; somebody who is told to may still do it.
UNGUARDED = "ALTER TABLE payment_transactions DISABLE TRIGGER USER; ALTER TABLE payments DISABLE TRIGGER USER"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET username = 'operator_was_here' WHERE user_id = 7000000001",
        "UPDATE users SET is_active = false",
        "DELETE FROM users WHERE user_id = 7000000001",
        f"{UNGUARDED}; TRUNCATE users CASCADE",
        "NOTIFY users_changed, '*'",
        "NOTIFY users_changed, 'what an older version said'",
    ],
)
async def test_what_psql_does_is_noticed_by_every_process(
    database_url: str, raw: asyncpg.Connection, statement: str
) -> None:
    async with process(database_url) as one, process(database_url) as other:
        for made in (one, other):
            await made.ensure_user_exists(ME)
            assert made.known(ME.user_id) is not None
        await raw.execute(statement)
        await until(lambda: one.known(ME.user_id) is None and other.known(ME.user_id) is None)


async def test_what_one_process_does_is_noticed_by_the_other(database_url: str) -> None:
    async with process(database_url) as one, process(database_url) as other:
        await other.ensure_user_exists(ME)
        await one.mark_active(ME.user_id, False)

        async def noticed() -> bool:
            return not (await other.ensure_user_exists(ME)).is_active

        await until(noticed)


async def test_many_changes_at_once_are_noticed(here: People, raw: asyncpg.Connection) -> None:
    await asyncio.gather(*(here.ensure_user_exists(Profile(number)) for number in range(300)))
    await raw.execute("UPDATE users SET is_active = false")
    await until(lambda: not any(here.known(number) for number in range(300)))


async def test_others_stay_remembered(here: People, raw: asyncpg.Connection) -> None:
    for number in (1, 2):
        await here.ensure_user_exists(Profile(number))
    await raw.execute("UPDATE users SET is_active = false WHERE user_id = 1")
    await until(lambda: here.known(1) is None)
    assert here.known(2) is not None


async def test_after_a_reconnect_everything_may_have_changed(here: People, raw: asyncpg.Connection) -> None:
    await here.ensure_user_exists(ME)
    await raw.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database()"
    )
    await until(lambda: here.known(ME.user_id) is None)


async def test_a_deleted_person_is_made_again(here: People, raw: asyncpg.Connection) -> None:
    await here.ensure_user_exists(ME)
    await raw.execute("DELETE FROM users")
    await until(lambda: here.known(ME.user_id) is None)
    assert (await here.ensure_user_exists(ME)).created


@pytest.mark.parametrize("told_by", ["notification", "this process"])
async def test_what_was_read_before_a_change_is_not_remembered_after_it(
    here: People, raw: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, told_by: str
) -> None:
    """The answer is on its way when the row changes."""
    await here.ensure_user_exists(ME)
    here.forget(ME.user_id)
    read, go_on = asyncio.Event(), asyncio.Event()
    really = repo.ensure_users

    async def slowly(conn: Connection, profiles: list[Profile]) -> dict[int, EnsuredUser]:
        users = await really(conn, profiles)
        read.set()
        await go_on.wait()
        return users

    monkeypatch.setattr(repo, "ensure_users", slowly)
    asking = asyncio.create_task(here.ensure_user_exists(ME))
    await read.wait()
    if told_by == "notification":
        noticed = asyncio.Event()
        monkeypatch.setattr(here, "forget", _then(here.forget, noticed))
        await raw.execute("UPDATE users SET is_active = false")
        await noticed.wait()
    else:
        await raw.execute("ALTER TABLE users DISABLE TRIGGER USER")
        await here.mark_active(ME.user_id, False)
    go_on.set()
    assert (await asking).is_active, "what was true when he asked"
    assert here.known(ME.user_id) is None
    assert not (await here.ensure_user_exists(ME)).is_active


def _then(do: object, event: asyncio.Event) -> object:
    def both(user_id: int) -> None:
        do(user_id)
        event.set()

    return both


async def test_one_inserted_by_a_rival_meanwhile_is_found_by_asking_again(
    here: People, raw: asyncpg.Connection
) -> None:
    transaction = raw.transaction()
    await transaction.start()
    await raw.execute("INSERT INTO users (user_id, username) VALUES (1, 'same')")
    asking = asyncio.create_task(here.ensure_user_exists(Profile(1, "same")))
    await until(lambda: raw.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
    await transaction.commit()
    user = await asking
    assert (user.username, user.created) == ("same", False)


async def test_the_row_as_it_is_now_past_the_cache(here: People, raw: asyncpg.Connection) -> None:
    await here.ensure_user_exists(ME)
    await raw.execute("ALTER TABLE users DISABLE TRIGGER USER")
    await raw.execute("UPDATE users SET language = 'ru'")
    assert (await here.get(ME.user_id)).language == "ru"
    with pytest.raises(NotFound):
        await here.get(5)


async def test_people_read_at_once_share_a_statement(here: People) -> None:
    await asyncio.gather(*(here.ensure_user_exists(Profile(number)) for number in range(100)))
    await here.ensure_user_exists(Profile(7, language_code="ru"))
    before = sent("users.get_languages")
    languages = await asyncio.gather(*(here.language_of(number) for number in range(100)))
    assert languages == ["ru" if number == 7 else "en" for number in range(100)]
    assert sent("users.get_languages") - before <= 2
    with pytest.raises(NotFound):
        await here.language_of(1_000)
