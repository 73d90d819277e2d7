"""Structured logs: `log = Log("telegram")`, then `log.info("update handled", route=route)`.

It knows levels, rooms and fields, and that lines are gathered and masked; it knows nothing of what is logged.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import Literal, TextIO

from service.kernel.log.line import canonical_json, json_line, request_id, text_line
from service.kernel.log.mask import hide, mask
from service.kernel.log.sink import Sink

__all__ = ["Log", "RateLimited", "configure", "flush", "hide", "report_to", "request_id"]

GATHER_S = 0.05  # lines of this long share one write; nobody reads a log faster
STOP_S = 1.0  # how long a stopping process waits for a reader that has fallen behind
THIRD_PARTIES = ("aiohttp", "asyncio", "asyncpg", "yoyo")  # their INFO is about themselves
# What a stranger sends that is no HTTP, or cannot be unpacked; our own handlers let nothing through to it.
STRANGERS = "aiohttp.server"
MOST_KEYS = 1000  # of a RateLimited; keys are written in the code, so this is never reached in earnest

Report = Callable[[logging.LogRecord], None]
"""Takes a record that carries an exception. Must neither raise nor wait."""

LINES: dict[str, Callable[[logging.LogRecord], str]] = {"json": json_line, "text": text_line}


class Log:
    """The log of one room. Fields are whatever orjson can write; anything else goes in as its str().

    >>> Log("telegram").info("update handled", update_id=1, route="start")
    """

    __slots__ = ("_logger",)

    def __init__(self, room: str) -> None:
        self._logger = logging.getLogger(room)

    def debug(self, message: str, /, **fields: object) -> None:
        self._write(logging.DEBUG, message, fields)

    def info(self, message: str, /, **fields: object) -> None:
        self._write(logging.INFO, message, fields)

    def warning(self, message: str, /, **fields: object) -> None:
        self._write(logging.WARNING, message, fields)

    def error(self, message: str, /, **fields: object) -> None:
        self._write(logging.ERROR, message, fields)

    def exception(self, message: str, error: BaseException | None = None, /, **fields: object) -> None:
        """An error with its traceback: that of `error`, or of the exception being handled."""
        self._write(logging.ERROR, message, fields, error or sys.exception())

    def canonical(self, message: str, request: str, fields: dict[str, object], *, ago_s: float) -> None:
        """The one line of a request by its id, at INFO, told that many seconds after it.

        Fields hold only words and numbers that our own code wrote: in JSON they are not searched for secrets.
        """
        if not self._logger.isEnabledFor(logging.INFO):
            return
        handler = _json_handler()
        if handler is None:
            self.info(message, request_id=request, **fields)
        else:
            handler.push(
                canonical_json(time.time() - ago_s, self._logger.name, message, {"request_id": request, **fields})
            )

    def _write(self, level: int, message: str, fields: object, error: BaseException | None = None) -> None:
        logger = self._logger
        if logger.isEnabledFor(level):
            exc_info = (type(error), error, error.__traceback__) if error else None
            record = logging.LogRecord(logger.name, level, "", 0, message, None, exc_info)
            record.fields = fields
            logger.handle(record)


class RateLimited:
    """Warnings that a storm repeats: one line per key in `every_s` seconds, and how many were left out."""

    def __init__(self, room: str, every_s: float, *, now: Callable[[], float] = time.monotonic) -> None:
        self._log = Log(room)
        self._every_s = every_s
        self._now = now
        self._told: dict[str, tuple[float, int]] = {}  # key -> when last told, left out since

    def warning(self, message: str, /, *, key: str, **fields: object) -> None:
        now = self._now()
        told_at, left_out = self._told.get(key, (None, 0))
        if told_at is not None and now - told_at < self._every_s:
            self._told[key] = (told_at, left_out + 1)
            return
        if len(self._told) >= MOST_KEYS:
            self._told.clear()
        self._told[key] = (now, 0)
        self._log.warning(message, **fields, **({"left_out": left_out} if left_out else {}))


class _Handler(logging.Handler):
    """Formats, masks and gathers; a WARNING, or a process without a running loop, is written at once."""

    def __init__(self, stream: TextIO, line: Callable[[logging.LogRecord], str]) -> None:
        super().__init__()
        self.line = line
        self._sink = Sink(stream)
        self.report: Report | None = None
        self._due_in: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._sink.push(mask(self.line(record)).encode("utf-8", "backslashreplace"))
        except Exception as error:  # a record of another library may be broken in any way
            self._sink.push(f"a log line of {record.name} could not be written: {type(error).__name__}".encode())
        if record.levelno >= logging.WARNING or self._sink.crowded or not self._drain_soon():
            self._sink.drain()
        if self.report is not None and record.exc_info:
            self.report(record)

    def push(self, line: bytes) -> None:
        """A line that is neither urgent nor in need of masking."""
        self._sink.push(line)
        if self._sink.crowded or not self._drain_soon():
            self._sink.drain()

    def flush(self) -> None:
        """Also what logging itself calls at exit."""
        self.acquire()
        try:
            self._sink.drain(STOP_S)
        finally:
            self.release()

    def _drain_soon(self) -> bool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._due_in is not loop:
            self._due_in = loop
            loop.call_later(GATHER_S, self._drain_now)
        return True

    def _drain_now(self) -> None:
        self._due_in = None
        self.acquire()
        try:
            emptied = self._sink.drain()
        finally:
            self.release()
        if dropped := self._sink.take_dropped():
            Log("log").warning("lines dropped", count=dropped)
        if not emptied:
            self._drain_soon()


def configure(level: str = "INFO", line_format: Literal["json", "text"] = "text", stream: TextIO | None = None) -> None:
    """Sends every log of the process, third parties' too, through one handler to the stream (stderr)."""
    _leave_out_what_no_line_shows()
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        old.flush()
        root.removeHandler(old)
    root.addHandler(_Handler(stream or sys.stderr, LINES[line_format]))
    root.setLevel(level)
    quiet = root.level if root.level <= logging.DEBUG else max(root.level, logging.WARNING)
    for name in THIRD_PARTIES:
        logging.getLogger(name).setLevel(quiet)
    logging.getLogger(STRANGERS).setLevel(logging.CRITICAL if quiet > logging.DEBUG else quiet)
    logging.captureWarnings(True)


def report_to(report: Report | None) -> None:
    """Tell exceptions that are logged from now on to somebody else as well. After `configure`."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            handler.report = report


def _json_handler() -> _Handler | None:
    """The handler in force, where it writes JSON and nobody else listens."""
    handlers = logging.getLogger().handlers
    only = handlers[0] if len(handlers) == 1 else None
    return only if isinstance(only, _Handler) and only.line is json_line else None


def flush() -> None:
    """Writes what is gathered, waiting a second at most for a reader that has fallen behind."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def _leave_out_what_no_line_shows() -> None:
    """Each of these costs every record a system call or a look-up."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
