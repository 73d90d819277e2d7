"""One look at the catalog: what is there, for whom, and without waiting for anybody's lock."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from service.kernel.database import schema
from service.kernel.database.connect import Connector
from service.kernel.database.schema import Relation
from tests.kernel.seam import settings
from tests.waiting import until

ALL = ["SELECT", "INSERT", "UPDATE", "DELETE"]


async def seen(dsn: str, *relations: str) -> dict[str, Relation]:
    """What the service, connecting with this DSN, sees."""
    connection = await Connector(settings(dsn)).open()
    try:
        return dict((await schema.probe(connection, relations)).relations)
    finally:
        await connection.close()


async def test_tables_and_views_with_their_columns(database_url: str, raw: asyncpg.Connection) -> None:
    await raw.execute("""
        CREATE TABLE "Odd Name" (a int, b int, c int);
        ALTER TABLE "Odd Name" DROP COLUMN b;
        CREATE VIEW shown AS SELECT a AS x FROM "Odd Name";
        CREATE MATERIALIZED VIEW stored AS SELECT 1 AS y;
        CREATE TABLE parted (z int) PARTITION BY RANGE (z);
        CREATE SEQUENCE numbers;
        CREATE INDEX an_index ON "Odd Name" (a);
    """)
    wanted = ("Odd Name", "shown", "stored", "parted", "numbers", "an_index", "nowhere", "odd name", "public.shown")
    found = await seen(database_url, *wanted)
    assert {name: relation.columns for name, relation in found.items()} == {
        "Odd Name": ["a", "c"],
        "shown": ["x"],
        "stored": ["y"],
        "parted": ["z"],
    }
    assert found["Odd Name"].privileges == ALL
    assert await seen(database_url) == {}


async def test_a_column_that_is_added_is_seen(database_url: str, raw: asyncpg.Connection) -> None:
    before = await seen(database_url, "users")
    await raw.execute("ALTER TABLE users ADD COLUMN shoe_size int")
    after = await seen(database_url, "users")
    assert set(after["users"].columns) - set(before["users"].columns) == {"shoe_size"}


async def test_a_role_sees_its_own_privileges(database_url: str, raw: asyncpg.Connection) -> None:
    role = f"reader_{raw.get_server_pid()}"
    await raw.execute(f"CREATE ROLE {role}; GRANT SELECT, INSERT ON users TO {role}")
    try:
        connection = await Connector(settings(database_url)).open()
        await connection.execute(f"SET ROLE {role}")
        found = (await schema.probe(connection, ["users", "failed_updates"])).relations
        assert (found["users"].privileges, found["failed_updates"].privileges) == (["SELECT", "INSERT"], [])
        await connection.close()
    finally:
        await raw.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_the_search_path_decides(database_url: str, raw: asyncpg.Connection) -> None:
    await raw.execute("""
        CREATE SCHEMA mine;
        CREATE TABLE mine.users (mine_alone int);
        CREATE TABLE mine.hidden (a int);
    """)
    assert "hidden" not in await seen(database_url, "hidden")
    await raw.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = mine', current_database()); END $$"
    )
    found = await seen(database_url, "users", "hidden", "failed_updates")
    assert {name: relation.columns for name, relation in found.items()} == {"users": ["mine_alone"], "hidden": ["a"]}


async def test_it_waits_for_nobodys_lock(database_url: str, raw: asyncpg.Connection) -> None:
    async with raw.transaction():
        await raw.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        await raw.execute("DROP TABLE processed_updates; ALTER TABLE failed_updates ADD COLUMN more int")
        async with asyncio.timeout(2):
            found = await seen(database_url, "users", "processed_updates", "failed_updates")
        assert set(found) == {"users", "processed_updates", "failed_updates"}
        assert "more" not in found["failed_updates"].columns  # not committed, not there
    assert set(await seen(database_url, "users", "processed_updates")) == {"users"}


async def test_nobody_waits_for_its_locks(database_url: str, raw: asyncpg.Connection) -> None:
    connection = await Connector(settings(database_url)).open()
    async with connection.transaction():
        await schema.probe(connection, ["users"])
        await raw.execute("SET lock_timeout = '1s'; ALTER TABLE users ADD COLUMN shoe_size int")
    await connection.close()


async def test_it_is_one_statement(database_url: str) -> None:
    connection = await Connector(settings(database_url)).open()
    statements: list[str] = []
    connection.add_query_logger(lambda query: statements.append(query.query))
    await schema.probe(connection, ["users", "failed_updates"])
    await until(lambda: statements)
    assert [statement.split(" */")[0] for statement in statements] == ["/* kernel.probe_relations"]
    await connection.close()


@pytest.mark.parametrize("name", ["", "a" * 70, "'; DROP TABLE users; --", '"', "users\\"])
async def test_a_name_is_a_name(database_url: str, name: str) -> None:
    assert await seen(database_url, name) == {}
