"""The users table through its functions: one statement for many people, and nothing erased."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.errors import Invalid
from service.kernel.database import Connection, Database, DatabaseSettings
from service.users import repo
from service.users.user import Profile, User
from tests.cast import FRIEND, PAYER
from tests.users.statements import sent

ENSURE = "users.ensure_users"


def profile(person: object, **changes: str | None) -> Profile:
    names = ("user_id", "username", "first_name", "last_name", "language_code")
    return Profile(**({name: getattr(person, name) for name in names} | changes))


async def test_made_once_and_told_so(db: Database) -> None:
    async with db.acquire() as conn:
        before = sent(ENSURE)
        made = await repo.ensure_users(conn, [profile(PAYER), profile(FRIEND)])
        again = await repo.ensure_users(conn, [profile(PAYER), Profile(5)])
        assert sent(ENSURE) - before == 2
    assert {user_id: user.created for user_id, user in made.items()} == {PAYER.user_id: True, FRIEND.user_id: True}
    assert {user_id: user.created for user_id, user in again.items()} == {PAYER.user_id: False, 5: True}
    assert again[PAYER.user_id].username == "payer"
    assert again[PAYER.user_id].is_active
    assert again[PAYER.user_id].created_at == made[PAYER.user_id].created_at


async def test_what_is_not_told_erases_nothing(db: Database) -> None:
    async with db.acquire() as conn:
        await repo.ensure_users(conn, [profile(PAYER)])
        kept = (await repo.ensure_users(conn, [Profile(PAYER.user_id)]))[PAYER.user_id]
        assert (kept.username, kept.first_name, kept.last_name, kept.language_code) == ("payer", "Payer", "One", "en")
        changed = (await repo.ensure_users(conn, [Profile(PAYER.user_id, username="new")]))[PAYER.user_id]
        assert (changed.username, changed.first_name, changed.created) == ("new", "Payer", False)
        assert changed.updated_at > kept.updated_at


async def test_nothing_new_writes_nothing(db: Database, raw: asyncpg.Connection) -> None:
    async with db.acquire() as conn:
        await repo.ensure_users(conn, [profile(PAYER)])
        version = await raw.fetchval("SELECT (xmin, ctid)::text FROM users")
        await repo.ensure_users(conn, [profile(PAYER)])
    assert await raw.fetchval("SELECT (xmin, ctid)::text FROM users") == version


async def test_of_one_person_told_twice_the_last_counts(db: Database) -> None:
    batch = [Profile(1, username="old", first_name="A"), Profile(2), Profile(1, username="new")]
    async with db.acquire() as conn:
        users = await repo.ensure_users(conn, batch)
    assert (users[1].username, users[1].created, len(users)) == ("new", True, 2)


@pytest.mark.parametrize("user_id", [1, 2**31, 2**32 + 1, 2**52 - 1, 2**52, -5])
async def test_ids_of_every_size(db: Database, user_id: int) -> None:
    async with db.acquire() as conn:
        assert (await repo.ensure_users(conn, [Profile(user_id)]))[user_id].user_id == user_id
        assert list(await repo.get_users(conn, [user_id, 99])) == [user_id]


async def test_nobody_and_what_no_column_holds(db: Database) -> None:
    async with db.acquire() as conn:
        assert await repo.get_users(conn, []) == {}
        for impossible in (Profile(2**63), Profile(1, username="a\0")):
            with pytest.raises(Invalid):
                await repo.ensure_users(conn, [impossible])


async def test_batches_that_overlap_in_opposite_orders_do_not_deadlock(db: Database) -> None:
    """Each batch changes everybody's name, so that every row is locked by everybody."""
    people = range(1, 61)
    numbers = itertools.count()
    dice = random.Random(7)

    async def ensure() -> None:
        batch = [Profile(user_id, username=f"n{next(numbers)}") for user_id in people]
        dice.shuffle(batch)
        async with db.acquire() as conn:
            assert len(await repo.ensure_users(conn, batch)) == len(people)

    async with asyncio.timeout(30):
        await asyncio.gather(*(ensure() for _ in range(40)))


async def test_one_inserted_by_a_rival_meanwhile_is_left_out(db: Database, raw: asyncpg.Connection) -> None:
    """The statement's snapshot is older than the rival's commit, and its conflict is with the new row."""
    transaction = raw.transaction()
    await transaction.start()
    await raw.execute("INSERT INTO users (user_id, username) VALUES (1, 'same')")
    async with db.acquire() as conn:
        waiting = asyncio.create_task(repo.ensure_users(conn, [Profile(1, username="same"), Profile(2)]))
        async with asyncio.timeout(10):
            while not await raw.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
        await transaction.commit()
        assert list(await waiting) == [2]
        assert not (await repo.ensure_users(conn, [Profile(1, username="same")]))[1].created


async def test_language_and_activity(db: Database) -> None:
    async with db.acquire() as conn:
        await repo.ensure_users(conn, [Profile(1)])
        chosen = await repo.choose_language(conn, user_id=1, language="ru")
        assert chosen is not None
        assert chosen.language == "ru"
        assert await repo.choose_language(conn, user_id=2, language="ru") is None
        with pytest.raises(Invalid):
            await repo.choose_language(conn, user_id=1, language="de")
        assert await repo.mark_active(conn, user_id=1, is_active=False) == 1
        assert await repo.mark_active(conn, user_id=1, is_active=False) == 0
        assert await repo.mark_active(conn, user_id=2, is_active=False) == 0
        counts = [await repo.count_users(conn, is_active=state) for state in (None, True, False)]
        assert counts == [1, 0, 1]


NOW = datetime(2026, 5, 1, tzinfo=UTC)


async def add(conn: Connection, count: int, *, minutes_apart: int = 0) -> None:
    """People 1 to count, each so many minutes older than the one before; every third one is not active."""
    await conn.execute(
        "INSERT INTO users (user_id, username, is_active, created_at)"
        " SELECT n, 'user_' || n, n % 3 <> 0, $2::timestamptz - n * $3::interval"
        " FROM generate_series(1, $1::integer) AS n",
        *(count, NOW, timedelta(minutes=minutes_apart)),
    )


@pytest.mark.parametrize("active", [None, True, False])
@pytest.mark.parametrize("minutes_apart", [0, 1], ids=["all at one moment", "one after the other"])
async def test_pages_are_complete_and_without_doubles(db: Database, active: bool | None, minutes_apart: int) -> None:
    """People who come while somebody turns the pages do not shift them."""
    async with db.acquire() as conn:
        await add(conn, 50, minutes_apart=minutes_apart)
        seen: list[User] = []
        after, newcomers = repo.NEWEST, itertools.count(1000)
        while page := await repo.list_users(conn, active=active, after=after, page=7):
            seen += page
            after = (page[-1].created_at, page[-1].user_id)
            await repo.ensure_users(conn, [Profile(next(newcomers))])
    expected = [user_id for user_id in range(1, 51) if active is None or (user_id % 3 != 0) is active]
    assert sorted(user.user_id for user in seen) == expected
    assert [(user.created_at, user.user_id) for user in seen] == sorted(
        ((user.created_at, user.user_id) for user in seen), reverse=True
    )


async def test_recent_people(db: Database) -> None:
    async with db.acquire() as conn:
        await add(conn, 10, minutes_apart=60)
        recent = await repo.list_recent_users(conn, since=NOW - timedelta(hours=3), page=50)
        assert [user.user_id for user in recent] == [1, 2, 3]
        assert len(await repo.list_recent_users(conn, since=NOW - timedelta(days=3), page=4)) == 4


async def find(conn: Connection, term: str, **how: bool) -> list[str | None]:
    return [user.username for user in await repo.find_users(conn, term=term, **how)]


NAMES = ("Anna", "anna_b", "annaXb", "100%", "100x", r"back\slash", "Борис", "joanna", None)


@pytest.fixture(params=["by its beginning", "by any part"])
async def searched(request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    """A connection to a database without trigrams and to one with them; what is done is rolled back."""
    by_part = request.param == "by any part"
    database = Database(DatabaseSettings(request.getfixturevalue("debian_url" if by_part else "database_url")))
    await database.start()
    async with database.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        if not by_part:  # TEST_DATABASE_URL's server may have it
            await conn.execute("DROP INDEX IF EXISTS users_username_trigram_idx")
        assert await repo._has_trigram_index(conn) is by_part
        yield conn
        await transaction.rollback()
    await database.stop()


@pytest.mark.parametrize(
    ("term", "begins", "contains"),
    [
        ("anna", ["Anna", "anna_b", "annaXb"], ["joanna"]),
        ("ANNA", ["Anna", "anna_b", "annaXb"], ["joanna"]),
        ("anna_", ["anna_b"], []),
        ("100%", ["100%"], []),
        ("%", [], ["100%"]),
        ("_", [], ["anna_b"]),
        ("\\", [], [r"back\slash"]),
        ("бор", ["Борис"], []),
        ("zzz", [], []),
    ],
)
async def test_a_search_takes_its_term_by_the_letter(
    searched: Connection, term: str, begins: list[str], contains: list[str]
) -> None:
    await repo.ensure_users(searched, [Profile(number, username=name) for number, name in enumerate(NAMES, 1)])
    expected = begins + (contains if await repo._has_trigram_index(searched) else [])
    assert sorted(map(str, await find(searched, term))) == sorted(expected)


async def test_pages_of_a_search_are_complete_and_in_the_order_of_names(searched: Connection) -> None:
    """Twenty names, each of them borne by two people, as it is when a name has passed to somebody else."""
    people = [Profile(number, username=f"{'Mix' if number % 2 else 'mix'}{number % 20}") for number in range(1, 41)]
    await repo.ensure_users(searched, [*people, Profile(100, username="other")])
    await repo.mark_active(searched, user_id=7, is_active=False)
    seen: list[User] = []
    after = repo.FIRST
    while page := await repo.find_users(searched, term="mix", active=True, after=after, page=3):
        seen += page
        after = (page[-1].username or "", page[-1].user_id)
    assert sorted(user.user_id for user in seen) == [number for number in range(1, 41) if number != 7]
    keys = [((user.username or "").lower(), user.user_id) for user in seen]
    assert keys == sorted(keys)
