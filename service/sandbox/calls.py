"""One call to the Bot API: what it carries, how it is refused, the record of it, the faults a test asks for.

It must not know what any method does.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar
from urllib.parse import parse_qsl

import aiohttp
import orjson

Json = dict[str, Any]
Via = Literal["request", "webhook"]

KEPT_CALLS = 2_000  # enough for the longest test; a day of clicking stays under a few MB
MAX_BODY_BYTES = 50 * 1024 * 1024  # what the real server takes by multipart


class Refusal(Exception):
    """An answer that is not ok, in the real server's words."""

    def __init__(self, code: int, description: str, retry_after: int | None = None) -> None:
        super().__init__(description)
        self.code, self.description, self.retry_after = code, description, retry_after

    def body(self) -> Json:
        body: Json = {"ok": False, "error_code": self.code, "description": self.description}
        if self.retry_after is not None:
            body["parameters"] = {"retry_after": self.retry_after}
        return body


def bad_request(why: str) -> Refusal:
    return Refusal(400, f"Bad Request: {why}")


def too_many(retry_after: int) -> Refusal:
    return Refusal(429, f"Too Many Requests: retry after {retry_after}", retry_after)


BLOCKED = "Forbidden: bot was blocked by the user"


class Dropped(Exception):
    """The connection is to be closed without an answer."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came with a call."""

    name: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Arguments:
    """The parameters of one call. Every scalar is read as a string, as the real server does."""

    values: Mapping[str, Any]
    files: Mapping[str, Upload] = field(default_factory=dict)

    def string(self, name: str) -> str:
        """The parameter as text, "" when it is absent or null."""
        value = self.values.get(name)
        if value is None:
            return ""
        return value if isinstance(value, str) else orjson.dumps(value).decode()

    def required(self, name: str) -> str:
        if not (value := self.string(name)):
            raise bad_request(f'parameter "{name}" is required')
        return value

    def integer(self, name: str, default: int, *, least: int, most: int) -> int:
        """Out of range is clamped and nonsense is 0, as the real server has it."""
        text = self.string(name)
        return min(max(leading_integer(text) if text else default, least), most)

    def truth(self, name: str) -> bool:
        return self.string(name).lower() in {"true", "yes", "1"}

    def decoded(self, name: str, *, wrong: str) -> Any:
        """A parameter that is JSON, itself or inside a string; None when absent. `wrong` refuses the rest."""
        value = self.values.get(name)
        if not isinstance(value, str):
            return value
        if not value:
            return None
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            raise bad_request(wrong) from None

    def upload(self, name: str) -> Upload | None:
        """The file sent under this name, or under the name that attach:// points to."""
        return self.files.get(self.string(name).removeprefix("attach://") or name)


def leading_integer(text: str) -> int:
    """The number a text begins with, at most 18 digits of it; else 0."""
    number = re.match(r"-?[0-9]{1,18}", text)
    return int(number[0]) if number else 0


async def read_arguments(headers: Mapping[str, str], body: aiohttp.StreamReader) -> Arguments:
    """Arguments of a JSON, form or multipart body (of a request, or of a webhook's response).

    Raises Refusal 400 when the body is not what its type says, 413 when it is too large.
    """
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await _read_multipart(headers, body)
    raw = await _read_bounded(body.read)
    if kind == "application/json":
        return Arguments(_json_object(raw))
    return Arguments(dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True)))


async def _read_bounded(read: Callable[[int], Any], room: int = MAX_BODY_BYTES) -> bytes:
    parts = bytearray()
    while chunk := await read(64 * 1024):
        parts += chunk
        if len(parts) > room:
            raise Refusal(413, "Request Entity Too Large")
    return bytes(parts)


def _json_object(raw: bytes) -> Json:
    try:
        value = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise bad_request("can't parse JSON object")
    return value


async def _read_multipart(headers: Mapping[str, str], body: aiohttp.StreamReader) -> Arguments:
    values: dict[str, str] = {}
    files: dict[str, Upload] = {}
    room = MAX_BODY_BYTES
    try:
        async for part in aiohttp.MultipartReader(headers, body):
            if not isinstance(part, aiohttp.BodyPartReader) or part.name is None:
                continue
            data = await _read_bounded(part.read_chunk, room)
            room -= len(data)
            if part.filename is None:
                values[part.name] = data.decode("utf-8", "replace")
            else:
                kind = part.headers.get("Content-Type", "application/octet-stream")
                files[part.name] = Upload(part.filename, kind, data)
    except ValueError as fault:
        raise bad_request("can't parse multipart body") from fault
    return Arguments(values, files)


@dataclass(frozen=True, slots=True)
class Call:
    """A call the bot made. `status` is what it was answered, 0 when it was left without an answer."""

    method: str
    params: Mapping[str, Any]
    time: float
    status: int
    via: Via


class Recorded(Protocol):
    """What can be asked for by the name of what was called."""

    @property
    def method(self) -> str: ...


Kept = TypeVar("Kept", bound=Recorded)


class Calls(Generic[Kept]):
    """The last calls, oldest first, and a way to wait for one."""

    def __init__(self) -> None:
        self._kept: deque[Kept] = deque(maxlen=KEPT_CALLS)
        self._waiting: dict[asyncio.Future[Kept], Callable[[Kept], bool]] = {}

    def __iter__(self) -> Any:
        return iter(tuple(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, method: str) -> list[Kept]:
        return [call for call in self._kept if call.method == method]

    def clear(self) -> None:
        self._kept.clear()

    def record(self, call: Kept) -> None:
        self._kept.append(call)
        for waiter, wanted in self._waiting.items():
            if not waiter.done() and wanted(call):
                waiter.set_result(call)

    async def wait_for(self, wanted: Callable[[Kept], bool], timeout: float) -> Kept:
        """The first call that is wanted, made already or within `timeout` seconds; else TimeoutError."""
        for call in self._kept:
            if wanted(call):
                return call
        waiter: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = wanted
        try:
            return await asyncio.wait_for(waiter, timeout)
        finally:
            del self._waiting[waiter]


Fault = Refusal | Literal["hang", "drop"]


class Faults:
    """What the next calls of a method shall suffer. The method "*" stands for any of them."""

    def __init__(self) -> None:
        self._asked: dict[str, deque[Fault]] = {}
        self._released = asyncio.Event()

    def flood(self, method: str, *, retry_after: int, times: int = 1) -> None:
        """429 with parameters.retry_after."""
        self._ask(method, too_many(retry_after), times)

    def fail(
        self, method: str, *, status: int = 500, description: str = "Internal Server Error", times: int = 1
    ) -> None:
        """Any refusal; a 403 without words is that of a blocked bot."""
        sentence = BLOCKED if (status, description) == (403, "Internal Server Error") else description
        self._ask(method, Refusal(status, sentence), times)

    def hang(self, method: str, *, times: int = 1) -> None:
        """No answer until clear() or the sandbox's stop(), then a closed connection."""
        self._ask(method, "hang", times)

    def drop(self, method: str, *, times: int = 1) -> None:
        """The connection is closed at once, and nothing was done."""
        self._ask(method, "drop", times)

    def clear(self) -> None:
        """Forget what was asked and let go what hangs."""
        self._asked.clear()
        self._released.set()
        self._released = asyncio.Event()

    def take(self, method: str) -> Fault | None:
        for name in (method.lower(), "*"):
            if faults := self._asked.get(name):
                return faults.popleft()
        return None

    async def released(self) -> None:
        await self._released.wait()

    def _ask(self, method: str, fault: Fault, times: int) -> None:
        self._asked.setdefault(method.lower(), deque()).extend([fault] * times)
