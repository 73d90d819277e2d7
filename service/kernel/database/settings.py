"""What the database seam needs to be told.

It knows the settings of one PostgreSQL; it knows nothing of the environment they were read from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

Pooler = Literal["none", "pgbouncer"]


@dataclass(frozen=True, slots=True, repr=False)
class DatabaseSettings:
    """One PostgreSQL and how it may be used. Times are in seconds; `dsn` None means the embedded server.

    Neither `repr` nor `where` shows an address, a user or a password; slots leave no `vars()` to dump.
    """

    dsn: str | None
    pool_min: int = 5
    pool_max: int = 20
    command_timeout: float = 30.0
    acquire_timeout: float = 5.0
    pooler: Pooler = "none"
    slow_query_s: float = 0.02
    door_timeout: float = 5.0

    @property
    def wait_timeout(self) -> float:
        """How long to wait for a connection: half of a door's budget at most.

        Whoever gets one with no time left is cut off in the middle of the work, which costs a connection, for
        which the next one waits: at twice the load that a pool can bear, a fifth of it would get through.
        """
        return min(self.acquire_timeout, self.door_timeout / 2)

    @property
    def where(self) -> str:
        """The database's name for logs and pages: "database ballast"."""
        if self.dsn is None:
            return "embedded database"
        url = urlsplit(self.dsn)
        query = parse_qs(url.query)
        named = [unquote(url.path.lstrip("/")), *query.get("dbname", []), *query.get("database", [])]
        return f"database {next(filter(None, named), '(default)')}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where it is, for whoever has to keep it to himself."""
        url = urlsplit(self.dsn or "")
        named = [*url.netloc.rpartition("@")[2].split(","), *",".join(parse_qs(url.query).get("host", [])).split(",")]
        hosts = (re.sub(r":[0-9]*$", "", unquote(one)).strip("[]") for one in named)
        return tuple(dict.fromkeys(filter(None, hosts)))

    def __repr__(self) -> str:
        return f"DatabaseSettings({self.where}, pool {self.pool_min}-{self.pool_max}, pooler {self.pooler})"
