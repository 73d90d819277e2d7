"""Encryption by age: anybody who has the public keys can write a backup, and only who has an identity reads it.

It knows keys and streams; it knows nothing of what is in them. https://age-encryption.org/v1
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pyrage

from service.backup.seal import CHUNK, Damaged, Reader
from service.errors import Invalid

HEADER = b"age-encryption.org/v1\n"


def recipients(keys: Sequence[str]) -> list[object]:
    """Raises Invalid for what is no public key, `age1...` or `ssh-...`."""
    if not keys:
        raise Invalid("to encrypt, set BACKUP_RECIPIENTS to the public keys of those who may read it")
    try:
        return [_recipient(key) for key in keys]
    except pyrage.RecipientError:
        raise Invalid("BACKUP_RECIPIENTS: must be public keys, age1... or ssh-ed25519 ..., comma-separated") from None


def identities(path: Path | None) -> list[object]:
    """The secret keys in a file as age-keygen writes it, or the one of ssh-keygen. Raises Invalid."""
    if path is None:
        raise Invalid("it is encrypted: say --identity FILE, or set BACKUP_IDENTITY to the file with the key")
    try:
        text = path.read_text(encoding="utf-8")
        if text.startswith("-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(text.encode())]
        keys = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        return [pyrage.x25519.Identity.from_str(key) for key in keys]
    except OSError as error:
        raise Invalid(f"the identity cannot be read: {error.strerror}") from None
    except (pyrage.IdentityError, UnicodeDecodeError):
        raise Invalid("the identity is no secret key of age or ssh") from None


def is_encrypted(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(HEADER)) == HEADER


@contextmanager
def encrypted(reader: Reader, keys: Sequence[str]) -> Iterator[Reader]:
    """What is read, encrypted for those keys. A failure while reading comes out of the last read."""
    wanted = recipients(keys)
    coming, going = os.pipe()
    failure: list[BaseException] = []

    def encrypt() -> None:
        try:
            with os.fdopen(going, "wb", CHUNK) as sink:
                pyrage.encrypt_io(_Remembering(reader, failure), sink, wanted)
        except Exception as error:  # it is raised where it is read
            failure.append(error)

    worker = threading.Thread(target=encrypt, name="encrypt", daemon=True)
    worker.start()
    with os.fdopen(coming, "rb", 0) as pipe:
        try:
            yield io.BufferedReader(_Piped(pipe, worker, failure), CHUNK)
        finally:
            pipe.close()  # a worker that still writes hears that nobody reads
            worker.join()


def decrypt(path: Path, into: Path, keys: Sequence[object]) -> None:
    """Raises Damaged where the key is another one, or the file is not whole."""
    try:
        with path.open("rb") as file, into.open("xb") as sink:
            into.chmod(0o600)
            pyrage.decrypt_io(file, sink, keys)
    except pyrage.DecryptError:
        raise Damaged(f"{path.name} cannot be decrypted: it is for another key, or damaged") from None
    except OSError as error:
        if error.errno is not None:  # the disk's word, not age's
            raise
        raise Damaged(f"{path.name} cannot be decrypted to its end: it is damaged or cut off") from None


def _recipient(key: str) -> object:
    return pyrage.ssh.Recipient.from_str(key) if key.startswith("ssh-") else pyrage.x25519.Recipient.from_str(key)


class _Remembering:
    """The library tells of a failed read in its own words; who reads wants ours."""

    def __init__(self, reader: Reader, failure: list[BaseException]) -> None:
        self._reader = reader
        self._failure = failure

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._reader.read(size)
        except Exception as error:
            self._failure.append(error)
            raise


class _Piped(io.RawIOBase):
    """The other end of the pipe: its end is an end only where the worker did not fail."""

    def __init__(self, pipe: IO[bytes], worker: threading.Thread, failure: list[BaseException]) -> None:
        self._pipe = pipe
        self._worker = worker
        self._failure = failure

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any buffer, says typeshed
        with suppress(ValueError):  # closed: whoever asks after the end
            piece = self._pipe.read(len(buffer))
            buffer[: len(piece)] = piece
            if piece:
                return len(piece)
        self._worker.join()
        if self._failure:
            raise self._failure[0]
        return 0
