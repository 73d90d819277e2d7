"""The fixtures themselves: a test that trusts them must be able to."""

from __future__ import annotations

import asyncpg
import pytest

from tests.cast import PAYER
from tests.postgres import Cluster

INSERT = "INSERT INTO users (user_id) VALUES ($1)"
COUNT = "SELECT count(*) FROM users"


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_has_a_database_of_its_own(raw: asyncpg.Connection, turn: int) -> None:
    await raw.execute(INSERT, PAYER.user_id)
    assert await raw.fetchval(COUNT) == 1, turn


@pytest.mark.parametrize("turn", [1, 2])
async def test_what_conn_does_is_rolled_back(conn: asyncpg.Connection, turn: int) -> None:
    await conn.execute(INSERT, PAYER.user_id)
    assert await conn.fetchval(COUNT) == 1, turn


async def test_an_empty_database_is_empty(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT to_regclass('users')::text") is None
    await connection.close()


async def test_a_cluster_stops_and_starts(own_cluster: Cluster) -> None:
    connection = await asyncpg.connect(own_cluster.dsn())
    own_cluster.stop(immediate=True)
    with pytest.raises((OSError, asyncpg.PostgresConnectionError)):
        await connection.fetchval("SELECT 1")
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(own_cluster.dsn())
    own_cluster.start()
    connection = await asyncpg.connect(own_cluster.socket_dsn())
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_a_frozen_cluster_answers_nothing_until_it_is_thawed(own_cluster: Cluster) -> None:
    connection = await asyncpg.connect(own_cluster.dsn())
    own_cluster.freeze()
    with pytest.raises(TimeoutError):
        await asyncpg.connect(own_cluster.dsn(), timeout=0.3)
    own_cluster.thaw()
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


def test_a_cluster_left_frozen_is_destroyed(own_cluster: Cluster) -> None:
    own_cluster.freeze()
    assert own_cluster.is_running()
