"""Opening one connection to PostgreSQL: which host, with which timeouts and socket options.

It knows DSNs and sockets; it knows nothing of pools or of what is asked over the connection.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from service.kernel.database.settings import DatabaseSettings

# asyncpg tries all hosts within one timeout, so a host that swallows packets would leave nothing for the
# next one. Each host gets its own share here: a connection over any sane network opens well within it.
HOST_TIMEOUT_S = 2.0

# A peer that vanished without a word is noticed in 30 + 3 x 10 s when idle, in 20 s when data is unacknowledged.
KEEPALIVE_IDLE_S = 30
KEEPALIVE_INTERVAL_S = 10
KEEPALIVE_PROBES = 3
UNACKNOWLEDGED_MS = 20_000

# A transaction that nobody continues holds back vacuum for the whole database; none of ours waits for people.
IDLE_IN_TRANSACTION_MS = 60_000


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """A connection that knows its age and what counts as a slow query on it."""

    __slots__ = ("opened_at", "slow_query_s")

    opened_at: float
    slow_query_s: float

    def keep_alive(self) -> None:
        """Let the kernel notice a dead peer. asyncpg itself sets TCP_NODELAY only."""
        sock = self._transport.get_extra_info("socket")
        if sock is None or sock.family == socket.AF_UNIX:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (
            ("TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
            ("TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
            ("TCP_KEEPCNT", KEEPALIVE_PROBES),
            ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
        ):
            if hasattr(socket, option):  # not every system has all of them
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def one_dsn_per_host(dsn: str) -> list[str]:
    """`postgresql://u:p@a:1,b:2/db` as one DSN for each host, in order."""
    parts = urlsplit(dsn)
    login, at, hosts = parts.netloc.rpartition("@")
    return [urlunsplit(parts._replace(netloc=f"{login}{at}{host}")) for host in hosts.split(",")]


def session_arguments(settings: DatabaseSettings) -> dict[str, Any]:
    """What each session starts with. A pooler in transaction mode takes neither settings nor named statements."""
    if settings.pooler == "pgbouncer":
        return {"statement_cache_size": 0}
    return {
        "server_settings": {
            "application_name": "ballast",
            "statement_timeout": str(int(settings.command_timeout * 1000)),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
            "jit": "off",  # our queries are short; compiling them costs more than it saves
        }
    }


async def open_connection(settings: DatabaseSettings, **arguments: Any) -> Connection:
    """Open a connection to the first host that answers and, among several, takes writes.

    Raises what asyncpg raises for the last host: OSError, TimeoutError, asyncpg.PostgresError.
    """
    if settings.dsn is None:
        raise OSError("no database is configured")
    dsns = one_dsn_per_host(settings.dsn)
    if len(dsns) > 1:
        arguments["target_session_attrs"] = "read-write"
    arguments = {**session_arguments(settings), **arguments, "connection_class": Connection}
    for dsn in dsns[:-1]:
        try:
            return await _open(dsn, settings, arguments)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            continue
    return await _open(dsns[-1], settings, arguments)


async def _open(dsn: str, settings: DatabaseSettings, arguments: dict[str, Any]) -> Connection:
    async with asyncio.timeout(HOST_TIMEOUT_S):
        connection: Connection = await asyncpg.connect(
            dsn, command_timeout=settings.command_timeout, timeout=HOST_TIMEOUT_S, **arguments
        )
    connection.opened_at = time.monotonic()
    connection.slow_query_s = settings.slow_query_s
    connection.keep_alive()
    return connection
