"""Opening one connection to PostgreSQL: which host, with which timeouts and socket options.

It knows DSNs and sockets; it knows nothing of pools or of what is asked over the connection.
"""

from __future__ import annotations

import socket
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from service.kernel.database.settings import DatabaseSettings
from service.kernel.sqlstate import DRIVER_ERRORS

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

# A request to cancel can come too early and go unheard. The server notices within this time that nobody waits for a
# statement any more, and ends it, with the locks that it holds. PostgreSQL 14 and later.
ORPHAN_CHECK_MS = 2_000


class Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """A connection that knows its age and what counts as a slow query on it."""

    __slots__ = ("opened_at", "slow_query_s")

    opened_at: float
    slow_query_s: float

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """As asyncpg's, which also commits with it. The server answers the COMMIT of a transaction in which a
        statement failed with ROLLBACK: whoever swallowed that failure must not take this for a success.
        """
        tag: str = await super().execute(query, *args, timeout=timeout)
        if tag == "ROLLBACK" and query == "COMMIT;":
            raise asyncpg.InFailedSQLTransactionError("a statement had failed; nothing was committed")
        return tag

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


class Connector:
    """Opens connections to one PostgreSQL. Of several hosts, the one that took the last is asked first."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._dsns = [] if settings.dsn is None else one_dsn_per_host(settings.dsn)
        self._slow_query_s = settings.slow_query_s
        self._arguments = session_arguments(settings) | {
            "connection_class": Connection,
            "command_timeout": settings.command_timeout,
            "timeout": HOST_TIMEOUT_S,
        }
        if len(self._dsns) > 1:
            self._arguments["target_session_attrs"] = "read-write"

    async def open(self, **arguments: Any) -> Connection:
        """A connection to the first host that answers and, among several, takes writes.

        Raises one of DRIVER_ERRORS, that of the last host; TimeoutError when it did not answer in HOST_TIMEOUT_S.
        """
        failure: Exception = OSError("no database is configured")
        for dsn in tuple(self._dsns):
            try:
                connection = await self._open(dsn, arguments)
            except DRIVER_ERRORS as error:
                failure = error
            else:
                self._ask_first(dsn)
                return connection
        raise failure

    async def _open(self, dsn: str, arguments: dict[str, Any]) -> Connection:
        connection: Connection = await asyncpg.connect(dsn, **{**arguments, **self._arguments})
        connection.opened_at = time.monotonic()
        connection.slow_query_s = self._slow_query_s
        connection.keep_alive()
        return connection

    def _ask_first(self, dsn: str) -> None:
        """So that the pool and the prober meet on one server, and a dead first host is waited for only once."""
        self._dsns.remove(dsn)
        self._dsns.insert(0, dsn)


def one_dsn_per_host(dsn: str) -> list[str]:
    """`postgresql://u:p@a:1,b:2/db` as one DSN for each host, in order."""
    parts = urlsplit(dsn)
    login, at, hosts = parts.netloc.rpartition("@")
    rest = urlunsplit(parts._replace(scheme="", netloc=""))
    return [f"{parts.scheme}://{login}{at}{host}{rest}" for host in hosts.split(",")]


def session_arguments(settings: DatabaseSettings) -> dict[str, Any]:
    """What each session starts with. A pooler in transaction mode takes neither settings nor named statements."""
    if settings.pooler == "pgbouncer":
        return {"statement_cache_size": 0}
    return {
        "server_settings": {
            "application_name": "ballast",
            "statement_timeout": str(int(settings.command_timeout * 1000)),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
            "client_connection_check_interval": str(ORPHAN_CHECK_MS),
            "jit": "off",  # our queries are short; compiling them costs more than it saves
        }
    }
