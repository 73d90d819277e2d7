"""One connection: which host, how long, with which settings of session and socket."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import pytest

from service.kernel.database.connect import HOST_TIMEOUT_S, Connector, one_dsn_per_host
from tests.kernel.seam import another, make_standby, set_read_only, settings
from tests.postgres import Cluster, free_port
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_complaints")


def hosts(*ports: int) -> str:
    return f"postgresql://postgres@{','.join(f'127.0.0.1:{port}' for port in ports)}/postgres"


async def port_of(connector: Connector) -> int:
    """Where the next connection leads."""
    connection = await connector.open()
    try:
        return int(await connection.fetchval("SELECT inet_server_port()"))
    finally:
        await connection.close()


@contextmanager
def swallowing() -> Iterator[int]:
    """The port of a host that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        yield deaf.getsockname()[1]


@pytest.mark.parametrize(
    ("dsn", "each"),
    [
        ("postgresql://u:p@a/d", ["postgresql://u:p@a/d"]),
        ("postgresql://u:p%40@a:1,b:2/d", ["postgresql://u:p%40@a:1/d", "postgresql://u:p%40@b:2/d"]),
        ("postgresql://a,[::1]:5/d?sslmode=require", [
            "postgresql://a/d?sslmode=require", "postgresql://[::1]:5/d?sslmode=require",
        ]),
        ("postgresql://u@/d?host=/run/pg", ["postgresql://u@/d?host=/run/pg"]),
        ("postgresql:///d", ["postgresql:///d"]),
    ],
)  # fmt: skip
def test_one_dsn_per_host(dsn: str, each: list[str]) -> None:
    assert one_dsn_per_host(dsn) == each


async def test_a_session_has_its_limits(database_url: str) -> None:
    connection = await Connector(settings(database_url, command_timeout=7.0)).open()
    shown = {
        name: await connection.fetchval("SELECT current_setting($1)", name)
        for name in (
            "statement_timeout",
            "idle_in_transaction_session_timeout",
            "client_connection_check_interval",
            "application_name",
            "jit",
        )
    }
    assert shown == {
        "statement_timeout": "7s",
        "idle_in_transaction_session_timeout": "1min",
        "client_connection_check_interval": "2s",
        "application_name": "ballast",
        "jit": "off",
    }
    await connection.close()


async def test_a_statement_that_nobody_waits_for_is_ended(database_url: str, raw: asyncpg.Connection) -> None:
    connection = await Connector(settings(database_url)).open()
    sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
    alive = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'active'"
    pid = connection.get_server_pid()

    async def is_alive() -> bool:
        return bool(await raw.fetchval(alive, pid))

    async def is_gone() -> bool:
        return not await is_alive()

    await until(is_alive)
    connection.terminate()
    await asyncio.gather(sleeping, return_exceptions=True)
    await until(is_gone)


async def test_a_session_through_a_pooler_sets_nothing_and_names_nothing(database_url: str) -> None:
    connection = await Connector(settings(database_url, pooler="pgbouncer")).open()
    assert await connection.fetchval("SELECT $1::int", 1) == 1
    assert await connection.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
    assert await connection.fetchval("SELECT current_setting('application_name')") == ""
    await connection.close()


async def test_a_dead_peer_is_noticed_by_the_socket(own_cluster: Cluster) -> None:
    connection = await Connector(settings(own_cluster.dsn())).open()
    sock = connection._transport.get_extra_info("socket")
    options = {
        name: sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT", "TCP_NODELAY")
    }
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert options == {
        "TCP_KEEPIDLE": 30,
        "TCP_KEEPINTVL": 10,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 20_000,
        "TCP_NODELAY": 1,
    }
    await connection.close()


async def test_a_host_that_refuses_is_passed_over(own_cluster: Cluster) -> None:
    started = time.monotonic()
    assert await port_of(Connector(settings(hosts(free_port(), own_cluster.port)))) == own_cluster.port
    assert time.monotonic() - started < 1.0


async def test_a_host_that_says_nothing_is_waited_for_once(own_cluster: Cluster) -> None:
    with swallowing() as deaf:
        connector = Connector(settings(hosts(deaf, own_cluster.port)))
        started = time.monotonic()
        assert await port_of(connector) == own_cluster.port
        assert HOST_TIMEOUT_S <= time.monotonic() - started < HOST_TIMEOUT_S + 1.0
        started = time.monotonic()
        assert await port_of(connector) == own_cluster.port
        assert time.monotonic() - started < 1.0


async def test_nobody_says_anything(own_cluster: Cluster) -> None:
    with swallowing() as deaf, pytest.raises(TimeoutError):
        await Connector(settings(hosts(deaf))).open()


async def test_a_host_that_takes_no_writes_is_passed_over(own_cluster: Cluster) -> None:
    with another(own_cluster) as second:
        connector = Connector(settings(hosts(own_cluster.port, second.port)))
        await make_standby(own_cluster)
        assert await port_of(connector) == second.port
        await set_read_only(second, "on")
        with pytest.raises(asyncpg.InternalClientError):
            await until(lambda: port_of(connector))
        await set_read_only(second, "off")

        async def is_back() -> bool:
            try:
                return await port_of(connector) == second.port
            except asyncpg.InternalClientError:
                return False

        await until(is_back)


async def test_a_lone_host_may_be_read_only(own_cluster: Cluster) -> None:
    await make_standby(own_cluster)
    assert await port_of(Connector(settings(own_cluster.dsn()))) == own_cluster.port


@pytest.mark.parametrize(
    ("dsn", "failure"),
    [
        ("postgresql://nobody@127.0.0.1:{port}/postgres", asyncpg.InvalidAuthorizationSpecificationError),
        ("postgresql://postgres@127.0.0.1:{port}/nowhere", asyncpg.InvalidCatalogNameError),
        ("postgresql://postgres@no-such-host.invalid/postgres", OSError),
    ],
)
async def test_a_refusal_is_the_servers_own(own_cluster: Cluster, dsn: str, failure: type[Exception]) -> None:
    with pytest.raises(failure):
        await Connector(settings(dsn.format(port=own_cluster.port))).open()


async def test_without_a_dsn_there_is_nothing_to_open() -> None:
    with pytest.raises(OSError, match="no database"):
        await Connector(settings(None)).open()  # type: ignore[arg-type]  # what development's settings hold at first
