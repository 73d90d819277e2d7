"""Taking a backup: one moment of the database, counted and dumped, sealed, encrypted, and given to who stores it.

It knows the order of these things; it knows nothing of where a backup is stored.
"""

from __future__ import annotations

import asyncio
import io
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from service.backup import contents, encryption
from service.backup.contents import Kind, Manifest
from service.backup.postgres import programs
from service.backup.seal import CHUNK, Reader, Sealing, Tell
from service.backup.target import names
from service.kernel.database import Database

# Who holds a table locked for longer, a migration, is not waited for: the next backup gets it.
LOCK_WAIT = "60s"

Store = Callable[[str, Reader], None]
"""Takes the name of a backup and reads it to its end; what is stored is there as a whole or not at all."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted. Without recipients it is not encrypted; plain: as a script of SQL."""

    moment: datetime
    kind: Kind = "all"
    plain: bool = False
    recipients: tuple[str, ...] = ()
    tell: Tell = lambda _: None

    @property
    def name(self) -> str:
        return names.name(self.moment, self.kind, plain=self.plain, encrypted=bool(self.recipients))


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that is stored. size: in bytes, before encryption."""

    name: str
    size: int
    manifest: Manifest


class Dump:
    """pg_dump under way."""

    def __init__(self, command: Sequence[str], environ: dict[str, str]) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the program
        self._process = subprocess.Popen(  # noqa: S603 - PostgreSQL's own program, without a shell
            command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._said
        )

    def read(self, size: int = -1, /) -> bytes:
        assert self._process.stdout is not None, "it is a pipe"
        return self._process.stdout.read(size)

    def ended(self) -> None:
        """Raises ProgramFailed where it did not come to its end."""
        if self._process.wait() != 0:
            self._said.seek(0)
            raise programs.failed("pg_dump", self._said.read().decode(errors="replace"))

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._said.close()
        if self._process.stdout is not None:
            self._process.stdout.close()


async def take(database: Database, order: Order, store: Store) -> Taken:
    """Raises Unavailable without a pg_dump that fits, Invalid for a key that is none, ProgramFailed."""
    if order.recipients:
        encryption.recipients(order.recipients)  # before anything is begun
    dsn = database.settings.dsn or ""
    async with database.transaction(one_moment=True) as conn:
        manifest, out = await contents.describe(conn, kind=order.kind, plain=order.plain, moment=order.moment)
        manifest = await asyncio.to_thread(contents.with_migrations, manifest, dsn)
        snapshot = await contents.export_snapshot(conn)
        with _dump(dsn, manifest, snapshot, out) as dump:
            size = await _stored(dump, manifest, order, store)
    return Taken(order.name, size, manifest)


async def _stored(dump: Dump, manifest: Manifest, order: Order, store: Store) -> int:
    """Whoever cancels waits until what was begun is taken away again."""
    sealing = Sealing(dump, manifest, ended=dump.ended, tell=order.tell)
    work = asyncio.create_task(asyncio.to_thread(_store, sealing, order, store))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        dump.kill()
        await asyncio.gather(work, return_exceptions=True)
        raise
    return sealing.size


def _store(sealing: Sealing, order: Order, store: Store) -> None:
    reader = io.BufferedReader(sealing, CHUNK)
    with encryption.encrypted(reader, order.recipients) if order.recipients else nullcontext(reader) as what:
        store(order.name, what)


@contextmanager
def _dump(dsn: str, manifest: Manifest, snapshot: str, out: Sequence[str]) -> Iterator[Dump]:
    found = programs.find("pg_dump", major=manifest.origin.major)
    address, environ = programs.reached(dsn)
    form = ("--format=plain", "--no-owner", "--no-privileges") if manifest.plain else ("--format=custom",)
    dump = Dump(
        (
            *(str(found.directory / "pg_dump"), *form, f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_WAIT}"),
            *(f"--exclude-table-data={relation}" for relation in out),
            *("--no-password", f"--dbname={address}"),
        ),
        environ,
    )
    try:
        yield dump
    finally:
        dump.close()
