"""Backups in a folder. It knows files; it knows nothing of what is in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from service.backup.seal import CHUNK, Reader
from service.errors import NotFound


class Folder:
    """A folder that is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def where(self, name: str) -> str:
        return str(self.path / name)

    def store(self, name: str, reader: Reader) -> None:
        """Written beside, and given its name when it is whole and on the disk."""
        making = self.path / f".{name}.{os.getpid()}.part"
        try:
            with making.open("wb") as file:
                making.chmod(0o600)
                shutil.copyfileobj(reader, file, CHUNK)
                file.flush()
                os.fsync(file.fileno())
            making.replace(self.path / name)
        except BaseException:
            making.unlink(missing_ok=True)
            raise

    def listed(self) -> dict[str, datetime]:
        """Names, and when each was written."""
        return {
            one.name: datetime.fromtimestamp(one.stat().st_mtime, UTC) for one in self.path.iterdir() if one.is_file()
        }

    def delete(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """Raises NotFound."""
        if not (self.path / name).is_file():
            raise NotFound(f"there is no {self.path / name}")
        yield self.path / name
