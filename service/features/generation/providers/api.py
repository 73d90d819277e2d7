"""Calls the HTTP APIs of providers.

It knows how a call is sent, and what can be told from its answer or its lack; it knows nothing of what is made.
No error and no line of the log has a key, a header, an address or somebody's words in it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Generic, TypeVar

import aiohttp
import msgspec
import orjson
from yarl import URL

from service.features.generation.providers.provider import ProviderFailed
from service.kernel import metrics
from service.kernel.clock import Clock
from service.kernel.log import Log

T = TypeVar("T")

CALL_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
ANSWER_MAX = 48 * 1024 * 1024  # bytes; a picture of 32 MiB in base64, which is more than Telegram takes
PAUSES_S = (0.3, 1.0)  # between tries of one call, where it is safe to try again
RETRY_AFTER_MAX_S = 3_600.0

# Codes of a failure after which nothing was done, so that another try makes nothing twice.
NOT_DONE = frozenset({"unreachable", "overloaded"})
# And those after which it may have been done.
UNCLEAR = frozenset({"broken", "no_answer"})
# What a status means: our word for it, and whether another try would not help.
STATUSES = {
    401: ("unauthorized", True),
    402: ("out_of_quota", True),
    403: ("unauthorized", True),
    404: ("not_found", True),
    408: ("broken", False),
    409: ("broken", False),
    425: ("broken", False),
    429: ("rate_limited", False),
    503: ("overloaded", False),
    529: ("overloaded", False),
}
# What a provider's own code means, whatever the status.
REASONS = {
    "content_policy_violation": ("refused", True),
    "moderation_blocked": ("refused", True),
    "content_filter": ("refused", True),
    "insufficient_quota": ("out_of_quota", True),
    "billing_hard_limit_reached": ("out_of_quota", True),
}

log = Log("generation")

_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PATHS = (("error", "code"), ("error", "type"), ("code",), ("title",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """What is asked: a `{}` in the path takes the id. `answer` is the shape of what comes back.

    again: asked twice it is done once. timeout_s: of one try, seconds.
    """

    method: str
    path: str
    answer: type[T]
    id: str | None = None
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = CALL_TIMEOUT_S
    again: bool = False

    @property
    def operation(self) -> str:
        return f"{self.method} {self.path}"

    def may_be_tried_again(self, failure: ProviderFailed) -> bool:
        safe = failure.code in NOT_DONE or (self.again and failure.code in UNCLEAR)
        return safe and failure.retry_after is None


@dataclass(slots=True, repr=False, kw_only=True)
class Api:
    """One provider's API, with our key. `provider` and the paths name a call in the log and in the metrics."""

    provider: str
    session: aiohttp.ClientSession
    base: str
    key: str | None
    clock: Clock
    pauses_s: tuple[float, ...] = PAUSES_S

    async def send(self, call: Call[T]) -> T:
        """The answer. Tries again within the call where that is safe. Raises ProviderFailed."""
        for pause in self.pauses_s:
            try:
                return await self._measured(call)
            except ProviderFailed as failure:
                if not call.may_be_tried_again(failure):
                    raise
            await asyncio.sleep(pause)
        return await self._measured(call)

    async def _measured(self, call: Call[T]) -> T:
        started, outcome = self.clock.monotonic(), "unclear"
        try:
            answer = await self._sent(call)
            outcome = "ok"
            return answer
        except ProviderFailed as failure:
            outcome = "refused" if failure.permanent or failure.code == "rate_limited" else "unclear"
            raise
        finally:
            seconds = self.clock.monotonic() - started
            metrics.UPSTREAM_SECONDS.labels(self.provider, call.operation, outcome).observe(seconds)
            log.debug(
                "provider called", provider=self.provider, operation=call.operation, outcome=outcome, seconds=seconds
            )

    async def _sent(self, call: Call[T]) -> T:
        what = f"{self.provider} {call.operation}"
        path = call.path if call.id is None else call.path.format(known_id(call.id))
        url = URL(self.base + path, encoded=True)
        limits = aiohttp.ClientTimeout(total=call.timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        try:
            async with self.session.request(
                call.method, url, timeout=limits, allow_redirects=False, **self._options(call)
            ) as response:
                body = await bounded(response, ANSWER_MAX)
                if not 200 <= response.status < 300:
                    raise self._refusal(what, response, body)
                return _read(what, body, call.answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = lost(what, error)
        raise failure  # here, and not where it was caught: what aiohttp says has the address, and is not chained to it

    def _options(self, call: Call[T]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        if call.json is None:
            return {"headers": {**headers, **call.headers}}
        headers["Content-Type"] = "application/json"
        return {"headers": {**headers, **call.headers}, "data": orjson.dumps(call.json)}

    def _refusal(self, what: str, response: aiohttp.ClientResponse, body: bytes) -> ProviderFailed:
        reason = _reason(body)
        code, permanent = STATUSES.get(response.status, ("broken", False) if response.status >= 500 else ("bad", True))
        code, permanent = REASONS.get(reason, (code, permanent))
        wait = None if permanent else retry_after(response.headers, self.clock)
        return ProviderFailed(
            code, f"{what}: {response.status} {reason}".rstrip(), permanent=permanent, retry_after=wait
        )

    def __repr__(self) -> str:
        return f"Api({self.provider})"


def known_id(given: str) -> str:
    """The id, where it is one and leads nowhere else. Raises ProviderFailed."""
    if not _ID.fullmatch(given):
        raise ProviderFailed("unreadable", "this cannot be an id of the provider", permanent=True)
    return given


def lost(what: str, error: Exception) -> ProviderFailed:
    """What to make of a connection that failed. https://docs.aiohttp.org/en/stable/client_reference.html#exceptions"""
    name = type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return ProviderFailed("unreachable", f"{what}: not reached, {name}", permanent=False)
    if isinstance(error, aiohttp.InvalidURL | aiohttp.TooManyRedirects):
        return ProviderFailed("unreadable", f"{what}: {name}", permanent=True)
    code = "timeout" if isinstance(error, TimeoutError) else "no_answer"
    return ProviderFailed(code, f"{what}: no answer, {name}", permanent=False)


async def bounded(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body, unpacked. Raises ProviderFailed where it has more than so many bytes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            raise ProviderFailed("too_large", f"the answer has more than {most} bytes", permanent=True)
    return bytes(body)


def retry_after(headers: Mapping[str, str], clock: Clock) -> float | None:
    """Seconds, bounded. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after (a number, or a date)"""
    given = headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", given):
        return min(float(given), RETRY_AFTER_MAX_S)
    try:
        wait = (parsedate_to_datetime(given) - clock.now()).total_seconds()
    except (TypeError, ValueError):  # no date, or one without a zone
        return None
    return min(max(wait, 0.0), RETRY_AFTER_MAX_S)


def _read(what: str, body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # what it says quotes the answer
    raise ProviderFailed("unreadable", f"{what}: the answer cannot be read", permanent=False)


def _reason(body: bytes) -> str:
    """The provider's code of an error, where each of them puts it; never its sentence, which may quote people."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    found = (_at(answer, path) for path in _PATHS)
    return next((code for code in found if isinstance(code, str) and _CODE.fullmatch(code)), "")


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value
