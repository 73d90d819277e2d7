"""Bringing a backup back: into an empty database, in one transaction, and held against its manifest afterwards.

It knows pg_restore and psql; it knows nothing of where the backup came from.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from service.backup import contents, encryption, seal
from service.backup.contents import Manifest
from service.backup.postgres import programs
from service.backup.seal import Sealed
from service.errors import Conflict, DatabaseAway
from service.kernel.database import Connection, Database, DatabaseSettings
from service.kernel.embedded import Programs
from service.payments.operators import audit

# Seconds. A check reads whole tables, which are as cold as they can be.
CHECK_TIMEOUT_S = 3600.0
NAMED_MAX = 5
# Of these the books are made; a backup without one of them has none.
BOOKS = {"balances", "payment_transactions", "payments", "payment_refunds", "payment_reservations"}


@contextmanager
def opened(path: Path, identity: Path | None) -> Iterator[Sealed]:
    """A backup as it lies on this machine, decrypted for as long as it is open. Raises Damaged, Invalid."""
    if not encryption.is_encrypted(path):
        yield seal.opened(path)
        return
    keys = encryption.identities(identity)
    with tempfile.TemporaryDirectory(prefix="ballast-restore-") as folder:
        clear = Path(folder, path.name.removesuffix(".age"))
        encryption.decrypt(path, clear, keys)
        yield seal.opened(clear)


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Database]:
    """A patient connection or two. Raises DatabaseAway."""
    database = Database(DatabaseSettings(dsn, pool_min=0, pool_max=2, command_timeout=CHECK_TIMEOUT_S))
    await database.start()
    try:
        if not database.reachable:
            raise DatabaseAway(f"The database is away: {database.status().reason}.")
        yield database
    finally:
        await database.stop()


async def require_empty(conn: Connection) -> None:
    """Raises Conflict that names what is there."""
    there = [one.name for one in await contents.list_relations(conn)]
    if there:
        more = f" and {len(there) - NAMED_MAX} more" if len(there) > NAMED_MAX else ""
        raise Conflict(
            f"the database is not empty, it has {', '.join(there[:NAMED_MAX])}{more}: restore into a new one"
            " (python -m service db create)"
        )


def pour(sealed: Sealed, dsn: str, found: Programs) -> None:
    """All of it or nothing: one transaction, which ends at the first error. Raises ProgramFailed."""
    address, environ = programs.reached(dsn)
    if sealed.manifest.plain:
        words = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", f"--file={sealed.path}")
        _run(found, ("psql", *words, "--single-transaction", "--no-password", f"--dbname={address}"), environ)
        return
    words = ("--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", "--no-password")
    with tempfile.NamedTemporaryFile("w", prefix="ballast-list-") as wanted:
        wanted.write("\n".join(_wanted(sealed.path, found)))
        wanted.flush()
        listed = f"--use-list={wanted.name}"
        _run(found, ("pg_restore", *words, listed, f"--dbname={address}", str(sealed.path)), environ)


async def settled(database: Database, manifest: Manifest) -> list[str]:
    """What is wrong with a database into which that backup was brought, a line each."""
    async with database.transaction(one_moment=True) as conn:
        lines = await contents.differences(conn, manifest)
    if lines:
        return lines
    async with database.transaction() as conn:
        await contents.take_time(conn)
        await contents.renumber(conn, manifest)
    return await _audited(database, manifest)


def program_major(manifest: Manifest, major: int) -> int:
    """The oldest pg_restore that reads the backup and speaks to that server."""
    return max(manifest.origin.major, major)


async def _audited(database: Database, manifest: Manifest) -> list[str]:
    """What `ledger verify` says."""
    here = {one.relation.rpartition(".")[2] for one in manifest.tables}
    if not here >= BOOKS:
        return []
    since = audit.keyed_since(database.settings.dsn or "")
    return [
        f"user {one.user_id}: {one.what}: expected {one.expected}, found {one.found}"
        async for checked in audit.verify(database, since)
        for one in checked.differences
    ]


def _wanted(path: Path, found: Programs) -> list[str]:
    """All but the comments of extensions, which only their owner may write: on a platform's server not we."""
    listing = _run(found, ("pg_restore", "--list", str(path)), dict(programs.ENVIRONMENT))
    return [line for line in listing.splitlines() if " COMMENT - EXTENSION " not in line]


def _run(found: Programs, words: Sequence[str], environ: dict[str, str]) -> str:
    name, *arguments = words
    done = subprocess.run(  # noqa: S603 - PostgreSQL's own program, without a shell
        [found.directory / name, *arguments], env=environ, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise programs.failed(name, done.stderr.decode(errors="replace"))
    return done.stdout.decode(errors="replace")
