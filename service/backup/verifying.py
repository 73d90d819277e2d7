"""Verifying a backup: it is restored into a server that is made for it, and compared with what was there.

It knows which checks there are; what each is, other rooms know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.backup import restoring
from service.backup.postgres import programs, scratch
from service.backup.seal import Damaged, Sealed

Say = Callable[[str], None]


def verify(sealed: Sealed, say: Say) -> None:
    """Raises Damaged with the first difference, Unavailable where no server can be made here, ProgramFailed."""
    origin = sealed.manifest.origin
    found = programs.find(
        "pg_restore", "psql", "initdb", "pg_ctl", major=origin.major, extensions=tuple(origin.extensions)
    )
    with scratch.cluster(found) as dsn:
        say("restoring")
        restoring.pour(sealed, dsn, found)
        say("comparing")
        lines = asyncio.run(_settled(dsn, sealed))
    if lines:
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise Damaged(f"it is not what was there: {lines[0]}{more}")


async def _settled(dsn: str, sealed: Sealed) -> list[str]:
    async with restoring.connected(dsn) as database:
        return await restoring.settled(database, sealed.manifest)
