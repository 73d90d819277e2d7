"""Making a database, and taking one away. It knows the server's other database; what goes in is for the migrations."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote, urlsplit

import msgspec

from service.errors import Invalid
from service.kernel import queries
from service.kernel.database.settings import DatabaseSettings

# Every server has it; no database can be made or dropped from within.
NEIGHBOUR = "postgres"

SQL = queries.room("kernel")


class Nothing(msgspec.Struct, frozen=True):
    """Neither statement has rows."""


# Over a connection to the neighbour; None where there was nothing to do.
create = SQL.composed("compose_create_database", Nothing)
drop = SQL.composed("compose_drop_database", Nothing)


def beside(settings: DatabaseSettings) -> tuple[DatabaseSettings, str]:
    """The neighbour of the database that the settings mean, and that database's name. Raises Invalid."""
    url = urlsplit(settings.dsn or "")
    name = unquote(url.path.lstrip("/"))
    if name in ("", NEIGHBOUR):
        raise Invalid("DATABASE_URL must name a database of its own, as postgresql://server/ballast does")
    query = f"?{url.query}" if url.query else ""
    return replace(settings, dsn=f"{url.scheme}://{url.netloc}/{NEIGHBOUR}{query}"), name
