"""The end of a backup: its manifest, and a seal over everything before it, as comments that SQL ignores.

It knows bytes; it knows nothing of how they were made. pg_dump's own format is kept: pg_restore and psql read a backup
of ours as if it were one of theirs, for they stop where their own end is.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import msgspec

from service.backup.contents import Manifest
from service.errors import ServiceError

CHUNK = 1 << 20
SEAL = re.compile(rb"-- ballast seal ([0-9]{12}) ([0-9a-f]{64})\n")
SEAL_BYTES = len(b"-- ballast seal ") + 12 + 1 + 64 + 1

Tell = Callable[[int], None]
"""Hears how many bytes have gone by."""


class Damaged(ServiceError):
    """The backup is damaged."""

    code = "damaged"
    permanent = True


class Reader(Protocol):
    """Something to be read to its end; shorter than asked for only at the end."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Sealed:
    """A backup on this machine, whole and not encrypted."""

    path: Path
    manifest: Manifest


class Sealing(io.RawIOBase):
    """Reads a dump to its end, and then the manifest and the seal."""

    def __init__(self, dump: Reader, manifest: Manifest, *, ended: Callable[[], None], tell: Tell) -> None:
        self._dump = dump
        self._manifest = manifest
        self._ended = ended
        self._tell = tell
        self._sum = hashlib.sha256()
        self._end: io.BytesIO | None = None
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer, says typeshed
        piece = self._piece(len(buffer))
        buffer[: len(piece)] = piece
        self.size += len(piece)
        self._tell(self.size)
        return len(piece)

    def _piece(self, size: int) -> bytes:
        if self._end is None:
            if piece := self._dump.read(size):
                self._sum.update(piece)
                return piece
            self._ended()  # raises where what was read is not all
            self._end = io.BytesIO(self._last_lines())
        return self._end.read(size)

    def _last_lines(self) -> bytes:
        told = b"\n-- ballast manifest " + msgspec.json.encode(self._manifest) + b"\n"
        self._sum.update(told)
        return told + f"-- ballast seal {len(told):012} {self._sum.hexdigest()}\n".encode()


def opened(path: Path) -> Sealed:
    """The backup, read once to its end. Raises Damaged where a byte of it is not as it was written."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - SEAL_BYTES))
        found = SEAL.fullmatch(file.read())
        if found is None:
            raise Damaged(f"{path.name} does not end as a backup of Ballast does: it was cut off, or is none")
        told = int(found[1])
        if not 0 < told <= size - SEAL_BYTES or _sum(file, size - SEAL_BYTES) != found[2].decode():
            raise Damaged(f"{path.name} is damaged: it is not what was written")
        file.seek(size - SEAL_BYTES - told)
        return Sealed(path, _manifest(file.read(told)))


def _manifest(line: bytes) -> Manifest:
    try:
        return msgspec.json.decode(line.removeprefix(b"\n-- ballast manifest "), type=Manifest)
    except msgspec.DecodeError:
        raise Damaged("the backup is of another release: its manifest is not known here") from None


def _sum(file: IO[bytes], size: int) -> str:
    file.seek(0)
    counted = hashlib.sha256()
    while size > 0 and (piece := file.read(min(CHUNK, size))):
        counted.update(piece)
        size -= len(piece)
    return counted.hexdigest()
