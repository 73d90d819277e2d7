"""Writes lines to a stream without ever making the event loop wait for its reader.

It knows bytes, a bound and a file descriptor; it knows nothing of records. A pipe whose reader has stopped
would block a plain write, and with it every request: here lines wait in memory, up to a bound.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TextIO

MOST_WAITING = 1 << 20  # bytes: some five thousand lines, more than a reader that lives falls behind
CROWDED = 1 << 16  # bytes: a pipe's own size, worth a write before its time


class Sink:
    """Lines waiting for a stream; `dropped` counts those for which there was no room."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting = bytearray()
        self._ready = _readiness(stream)
        self.dropped = 0

    @property
    def crowded(self) -> bool:
        return len(self._waiting) > CROWDED

    def push(self, line: bytes) -> None:
        if len(self._waiting) + len(line) > MOST_WAITING:
            self.dropped += 1
        else:
            self._waiting += line
            self._waiting += b"\n"

    def drain(self, wait_s: float = 0.0) -> bool:
        """Writes what the stream takes at once, or within wait_s in all; False when something still waits."""
        if self._ready is None:
            self._write_whole()
            return True
        deadline = time.monotonic() + wait_s
        while self._waiting:
            left_ms = max(0.0, deadline - time.monotonic()) * 1000
            if not self._ready.poll(left_ms) or not self._write_piece():
                break
        return not self._waiting

    def take_dropped(self) -> int:
        """How many lines were dropped since last asked; 0 while there is still no room to say so."""
        if len(self._waiting) > MOST_WAITING // 2:
            return 0
        dropped, self.dropped = self.dropped, 0
        return dropped

    def _write_piece(self) -> bool:
        """PIPE_BUF is what a pipe reported as ready takes without blocking."""
        try:
            del self._waiting[: os.write(self._stream.fileno(), self._waiting[: select.PIPE_BUF])]
        except BlockingIOError:
            return False
        except OSError:  # the reader has gone for good, and there is nobody to tell
            self._waiting.clear()
        return True

    def _write_whole(self) -> None:
        text, self._waiting = self._waiting.decode(), bytearray()
        with contextlib.suppress(OSError, ValueError):  # a closed stream: there is nobody to tell
            self._stream.write(text)
            self._stream.flush()


def _readiness(stream: TextIO) -> select.poll | None:
    """A poll of the stream's descriptor; None for a stream in memory."""
    try:
        stream.flush()
        descriptor = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll
