"""Where backups are stored: folders and buckets, by what a person types.

It knows addresses and names; it knows nothing of what a backup is.
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from service.backup.seal import Reader
from service.backup.target import names
from service.backup.target.folder import Folder
from service.errors import Invalid


class Target(Protocol):
    """A place with many backups in it."""

    def where(self, name: str) -> str: ...

    def store(self, name: str, reader: Reader) -> None: ...

    def listed(self) -> dict[str, datetime]: ...

    def delete(self, name: str) -> None: ...

    def fetched(self, name: str) -> AbstractContextManager[Path]: ...


@dataclass(frozen=True, slots=True, repr=False)
class Access:
    """Who answers at s3://, and who asks. Without an endpoint Amazon; without keys, what the client finds itself."""

    endpoint: str | None = None
    region: str = "us-east-1"
    key_id: str | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A target, and the one name in it that is meant; None for all of it."""

    target: Target
    name: str | None


def place(where: str, access: Access) -> Place:
    """s3://bucket/folder/, s3://bucket/folder/name, a folder or a file in one. Raises Invalid."""
    if where.startswith("s3://"):
        return _in_bucket(where, access)
    path = Path(where)
    if path.is_dir():
        return Place(Folder(path), None)
    if not path.parent.is_dir() or where.endswith("/"):
        raise Invalid(f"there is no folder {path if where.endswith('/') else path.parent}")
    return Place(Folder(path.parent), path.name)


def mark_verified(target: Target, name: str) -> None:
    """For whoever looks at the target: the time of the mark is when."""
    target.store(name + names.VERIFIED, io.BytesIO())


def prune(target: Target, *, daily: int, monthly: int, dry_run: bool) -> list[str]:
    """What goes, and with it the marks."""
    there = target.listed()
    going = names.to_go(there, daily=daily, monthly=monthly)
    for name in () if dry_run else going:
        target.delete(name)
        if name + names.VERIFIED in there:
            target.delete(name + names.VERIFIED)
    return going


def _in_bucket(where: str, access: Access) -> Place:
    from service.backup.target.bucket import Bucket  # its client takes a fifth of a second to load

    url = urlsplit(where)
    folder, _, name = url.path.lstrip("/").rpartition("/")
    if not url.netloc or url.query or url.fragment:
        raise Invalid("must look like s3://bucket/folder/")
    return Place(Bucket(url.netloc, f"{folder}/" if folder else "", access), name or None)
