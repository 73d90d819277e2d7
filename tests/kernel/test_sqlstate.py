"""What the server says, as the rooms understand it; and nothing of what was asked in any of it."""

from __future__ import annotations

import asyncio
import socket

import asyncpg
import pytest

from service import errors
from service.kernel.sqlstate import sqlstate_class, translate

SECRET = "a-secret-that-stands-in-a-row"
# What the driver says when the server speaks between two statements, to say that it goes.
UNEXPECTED = "cannot switch to state 15; another operation (2) is in progress"

# A statement that the server refuses, and what that is for a room.
REFUSED = [
    ("SELECT * FROM nowhere", errors.SchemaDrift, "42"),
    ("SELECT nothing FROM things", errors.SchemaDrift, "42"),
    ("SELECT no_such_function()", errors.SchemaDrift, "42"),
    ("SELECT * FROM no_schema.things", errors.SchemaDrift, "42"),
    ("SET LOCAL ROLE ballast_nobody; SELECT * FROM things", errors.SchemaDrift, "42"),
    (f"INSERT INTO things VALUES (1, '{SECRET}'), (1, '{SECRET}')", errors.Conflict, "23"),
    (f"INSERT INTO things VALUES (NULL, '{SECRET}')", errors.Conflict, "23"),
    (f"INSERT INTO things VALUES (-1, '{SECRET}')", errors.Forged, "23"),
    (f"SELECT '{SECRET}'::int", errors.Invalid, "22"),
    ("SELECT 1/0", errors.Invalid, "22"),
    ("SELECT 99999999999::int", errors.Invalid, "22"),
    (r"SELECT E'\x00'", errors.Invalid, "22"),
    ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(5)", errors.DeadlineExceeded, "57"),
    ("SET LOCAL transaction_read_only = on; CREATE TABLE other ()", errors.ConnectionLost, "25"),
    ("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$", errors.TransactionConflict, "40"),
    ("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$", errors.TransactionConflict, "40"),
    ("DO $$ BEGIN RAISE SQLSTATE '55P03'; END $$", errors.TransactionConflict, "55"),
    ("DO $$ BEGIN RAISE SQLSTATE '53300'; END $$", errors.PoolExhausted, "53"),
    ("DO $$ BEGIN RAISE SQLSTATE '53100'; END $$", errors.Unavailable, "53"),
    ("DO $$ BEGIN RAISE SQLSTATE '58030'; END $$", errors.Unavailable, "58"),
    ("DO $$ BEGIN RAISE SQLSTATE '08006'; END $$", errors.ConnectionLost, "08"),
    ("DO $$ BEGIN RAISE SQLSTATE '57P03'; END $$", errors.ConnectionLost, "57"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "kind", "label"), REFUSED, ids=[statement[:44] for statement, *_ in REFUSED])
async def test_a_refusal_has_a_meaning(
    conn: asyncpg.Connection, statement: str, kind: type[errors.ServiceError], label: str
) -> None:
    await conn.execute("""
        CREATE TABLE things (thing int PRIMARY KEY CONSTRAINT things_positive CHECK (thing > 0), label text);
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ballast_nobody') THEN
                CREATE ROLE ballast_nobody;
            END IF;
        END $$
    """)
    with pytest.raises(asyncpg.PostgresError) as caught:
        async with conn.transaction():
            await conn.execute(statement)
    error = translate(caught.value, {"things_positive": errors.Forged})
    assert type(error) is kind
    assert sqlstate_class(caught.value) == label
    assert SECRET not in f"{error} {error!r}"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT nothing FROM users", 'column "nothing" does not exist'),
    ],
)
async def test_drift_says_what_is_missing(conn: asyncpg.Connection, statement: str, message: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await conn.execute(statement)
    assert str(translate(caught.value)) == message


async def test_a_fault_of_ours_stays_what_it_is(conn: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.PostgresSyntaxError) as caught:
        async with conn.transaction():
            await conn.execute("SELEKT 1")
    assert translate(caught.value) is caught.value
    with pytest.raises(asyncpg.RaiseError) as caught:
        await conn.execute(f"DO $$ BEGIN RAISE 'no' USING DETAIL = '{SECRET}'; END $$")
    assert translate(caught.value) is caught.value
    assert SECRET not in str(caught.value)
    key_error = KeyError("x")
    assert translate(key_error) is key_error


async def test_a_value_that_the_driver_cannot_send_is_invalid(conn: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.DataError) as caught:
        await conn.fetchval("SELECT $1::int", SECRET)
    error = translate(caught.value)
    assert (type(error), SECRET in str(error)) == (errors.Invalid, False)
    with pytest.raises(asyncpg.DataError) as caught:
        await conn.fetchval("SELECT $1::bigint", 2**63)
    assert type(translate(caught.value)) is errors.Invalid


async def test_what_the_driver_says_of_itself(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(5)"))
    await asyncio.sleep(0)
    with pytest.raises(asyncpg.InterfaceError) as shared:
        await connection.execute("SELECT 1")
    assert type(translate(shared.value)) is errors.ConnectionShared
    connection.terminate()
    with pytest.raises(asyncpg.PostgresError) as broken:
        await sleeping
    assert type(translate(broken.value)) is errors.ConnectionLost
    with pytest.raises(asyncpg.InterfaceError) as closed:
        await connection.execute("SELECT 1")
    assert type(translate(closed.value)) is errors.ConnectionLost
    assert sqlstate_class(closed.value) == "client"


async def test_a_misuse_of_the_driver_is_no_outage(conn: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.InterfaceError) as caught:
        await conn.fetchval("SELECT 1", 2)
    assert translate(caught.value) is caught.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), errors.DeadlineExceeded),
        (ConnectionResetError(), errors.ConnectionLost),
        (socket.gaierror("no-such-host.invalid"), errors.ConnectionLost),
        (asyncpg.InternalClientError(UNEXPECTED), errors.ConnectionLost),
        (asyncpg.InvalidCachedStatementError("cached plan must not change result type"), errors.TransactionConflict),
        (errors.NotFound("as it is"), errors.NotFound),
    ],
)  # fmt: skip
def test_what_comes_from_below(error: Exception, kind: type[Exception]) -> None:
    translated = translate(error)
    assert type(translated) is kind
    assert "invalid" not in str(translated)
