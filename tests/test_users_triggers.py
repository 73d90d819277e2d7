"""What the table users does by itself: the time of the last change, and telling the caches of all processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from tests.cast import CAST, PAYER

MANY = 101  # one more than fit into a payload


async def heard_after(raw: asyncpg.Connection, *statements: str) -> list[str]:
    """The payloads of users_changed that the statements cause, up to a last one that ends the listening."""
    heard: list[str] = []
    ended = asyncio.Event()
    await raw.add_listener("users_changed", lambda *event: heard.append(event[3]))
    await raw.add_listener("ended", lambda *_: ended.set())
    for statement in statements:
        await raw.execute(statement)
    await raw.execute("NOTIFY ended")
    await asyncio.wait_for(ended.wait(), 5)
    return heard


@pytest.fixture
async def people(raw: asyncpg.Connection) -> asyncpg.Connection:
    await raw.executemany("INSERT INTO users (user_id) VALUES ($1)", [(person.user_id,) for person in CAST])
    return raw


# Money keeps people from being thrown away; somebody who is told to may still do it.
UNGUARDED = "ALTER TABLE payment_transactions DISABLE TRIGGER USER; ALTER TABLE payments DISABLE TRIGGER USER"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (f"UPDATE users SET username = 'x' WHERE user_id = {PAYER.user_id}", {str(PAYER.user_id)}),
        ("UPDATE users SET username = 'x'", {str(person.user_id) for person in CAST}),
        (f"DELETE FROM users WHERE user_id = {PAYER.user_id}", {str(PAYER.user_id)}),
        (f"{UNGUARDED}; TRUNCATE users CASCADE", {"*"}),
    ],
)
async def test_changed_ids_are_told(people: asyncpg.Connection, statement: str, expected: set[str]) -> None:
    heard = await heard_after(people, statement)
    assert [set(payload.split(",")) for payload in heard] == [expected]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE users SET username = 'x' WHERE user_id = -1", "INSERT INTO users (user_id) VALUES (5)"],
)
async def test_nothing_is_told_when_nothing_known_changed(people: asyncpg.Connection, statement: str) -> None:
    assert await heard_after(people, statement) == []


@pytest.mark.parametrize(
    ("rows", "is_expected"), [(MANY, lambda payload: payload == "*"), (MANY - 1, lambda p: p.count(",") == MANY - 2)]
)
async def test_many_changes_are_one_star(
    raw: asyncpg.Connection, rows: int, is_expected: Callable[[str], bool]
) -> None:
    await raw.execute("INSERT INTO users (user_id) SELECT 2::bigint ^ 52 + n FROM generate_series(1, $1::int) n", rows)
    (payload,) = await heard_after(raw, "UPDATE users SET is_active = FALSE")
    assert is_expected(payload)


async def test_updated_at_is_kept_whoever_updates(people: asyncpg.Connection) -> None:
    await people.execute(
        "UPDATE users SET username = 'x', updated_at = '2000-01-01Z' WHERE user_id = $1", PAYER.user_id
    )
    age = await people.fetchval("SELECT now() - updated_at FROM users WHERE user_id = $1", PAYER.user_id)
    assert 0 <= age.total_seconds() < 60
