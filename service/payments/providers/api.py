"""Calls the HTTP APIs of processors.

It knows how a call is sent, and what can be told from its answer or its lack; it knows nothing of what is asked for.
No error and no line of the log has a key, a header or an address in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from service.errors import Invalid, Upstream
from service.kernel import metrics
from service.kernel.clock import Clock
from service.kernel.log import Log
from service.payments.providers import strict

CALL_TIMEOUT_S = 4.0  # under the 5 s that a callback may take in all
CONNECT_TIMEOUT_S = 2.0
ANSWER_MAX = 4 * 1024 * 1024  # bytes; a list of a hundred payments has about half of one MiB
NOT_FOUND = 404
RETRYABLE = frozenset({408, 409, 423, 425, 429})  # refused now, and perhaps not later
STILL_AT_WORK = 202

Json = dict[str, Any]
Pairs = list[tuple[str, str]]

log = Log("payments")

_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_CODE = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")


class Refused(Upstream):
    """The processor said no: what was asked for was not done.

    status: of HTTP. reason: the processor's code for it ("not_found", "charge_already_refunded"), or "".
    """

    def __init__(self, call: str, status: int, reason: str, retry_after: float | None) -> None:
        permanent = status >= 400 and status not in RETRYABLE
        super().__init__(f"{call}: {status} {reason}".rstrip(), permanent=permanent, retry_after=retry_after)
        self.status = status
        self.reason = reason

    @property
    def not_found(self) -> bool:
        return self.status == NOT_FOUND


class Unclear(Upstream):
    """The processor did not say whether it was done: ask again with the same key, or look."""


@dataclass(slots=True, repr=False, kw_only=True)
class Api:
    """One processor's API, with our keys. `provider` and the paths name a call in the log and in the metrics."""

    provider: str
    session: aiohttp.ClientSession
    base: str
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = CALL_TIMEOUT_S
    clock: Clock = field(default_factory=Clock)

    async def call(
        self,
        method: str,
        path: str,
        *ids: str,
        json: Json | None = None,
        form: Pairs | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """The answer. Each `{}` of the path takes one of the ids; the form of a GET is its query.

        Raises Refused where it was certainly not done, Unclear where it may have been, and Upstream itself where the
        call could not even be sent.
        """
        url = self._url(path, ids)
        options: dict[str, Any] = {"headers": {**self.headers, **(headers or {})}}
        if form is not None:
            options["params" if method == "GET" else "data"] = form
        elif json is not None:
            options["data"] = strict.written(json)
            options["headers"]["Content-Type"] = "application/json"
        return await self._measured(method, path, url, options)

    def _url(self, path: str, ids: Sequence[str]) -> URL:
        if not all(_ID.fullmatch(one) for one in ids):
            raise Invalid("this cannot be an id of the processor")
        return URL(self.base + path.format(*ids), encoded=True)

    async def _measured(self, method: str, path: str, url: URL, options: dict[str, Any]) -> Json:
        operation = f"{method} {path}"
        started, outcome = self.clock.monotonic(), "unclear"
        try:
            answer = await self._sent(operation, method, url, options)
            outcome = "ok"
            return answer
        except Refused:
            outcome = "refused"
            raise
        finally:
            seconds = self.clock.monotonic() - started
            metrics.UPSTREAM_SECONDS.labels(self.provider, operation, outcome).observe(seconds)
            log.debug("processor called", provider=self.provider, operation=operation, outcome=outcome, seconds=seconds)

    async def _sent(self, operation: str, method: str, url: URL, options: dict[str, Any]) -> Json:
        limits = aiohttp.ClientTimeout(total=self.timeout_s, sock_connect=CONNECT_TIMEOUT_S)
        call = f"{self.provider} {operation}"
        try:
            async with self.session.request(method, url, timeout=limits, allow_redirects=False, **options) as response:
                return _read(call, response.status, response.headers, await _bounded(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            failure = Upstream(f"{call}: not reached, {type(error).__name__}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = Unclear(f"{call}: no answer, {type(error).__name__}")
        raise failure  # here, and not where it was caught: what aiohttp says has the address, and is not chained to it

    def __repr__(self) -> str:
        return f"Api({self.provider})"


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Around reading an answer: what is Invalid there is the processor's fault, and may be better the next time."""
    try:
        yield
    except Invalid as error:
        raise Unclear(f"{what} cannot be read: {error.message}") from None


def form(params: Mapping[str, Any]) -> Pairs:
    """Nested parameters as Stripe takes them: {"a": [{"b": 1}]} is a[0][b]=1; None is left out.

    https://docs.stripe.com/api#introduction
    """
    return [pair for name, value in params.items() for pair in _pairs(name, value)]


def _pairs(name: str, value: Any) -> Pairs:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in _pairs(f"{name}[{key}]", inner)]
    if isinstance(value, list | tuple):
        return [pair for place, inner in enumerate(value) for pair in _pairs(f"{name}[{place}]", inner)]
    return [(name, str(value).lower() if isinstance(value, bool) else str(value))]


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > ANSWER_MAX:
            raise aiohttp.ClientPayloadError("the answer is too large")
    return bytes(body)


def _read(call: str, status: int, headers: Mapping[str, str], body: bytes) -> Json:
    try:
        answer = strict.read(body)
    except Invalid:
        answer = None
    wait = _retry_after(headers, answer or {})
    if status >= 500 or status == STILL_AT_WORK:
        raise Unclear(f"{call}: {status} {_reason(answer or {})}".rstrip(), retry_after=wait)
    if not 200 <= status < 300:
        raise Refused(call, status, _reason(answer or {}), wait)
    if answer is None:
        raise Unclear(f"{call}: {status} without JSON")
    return answer


def _reason(answer: Json) -> str:
    """The processor's code of an error, where each of them puts it; never its sentence, which may name people."""
    paths = (("error", "code"), ("error", "type"), ("code",), ("error",))
    found = (strict.at(answer, *path) for path in paths)
    return next((code for code in found if isinstance(code, str) and _CODE.fullmatch(code)), "")


def _retry_after(headers: Mapping[str, str], answer: Json) -> float | None:
    """Seconds: of the header, or YooKassa's milliseconds in the body."""
    given = headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]{1,6}", given):
        return float(given)
    told = strict.at(answer, "retry_after")
    return told / 1000 if type(told) is int and 0 <= told < 10**9 else None
