"""Callbacks on their way to the shop: sent, sent again until they are acknowledged, or held for a test to deliver.

It must not know what a callback is about. Simpler than the real ones in one thing: all three processors send again
after the same seconds, and none of them ever switches the endpoint off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from service.sandbox.processors.signing import Headers, Signer

Schedule = Callable[[int], float | None]

RESPONSE_TIMEOUT_S = 10  # Polar's; the others wait a little longer
RESEND_MOST_S = 60.0
ATTEMPTS_MOST = 1_440  # about a day at RESEND_MOST_S, which is YooKassa's patience
KEPT_CALLBACKS = 2_000


def resend_after(failures: int) -> float | None:
    """Seconds until a callback that failed so many times is sent again; None when it is given up."""
    return min(2.0 ** min(failures - 1, 10), RESEND_MOST_S) if failures < ATTEMPTS_MOST else None


def exactly_200(status: int) -> bool:
    return status == 200


def any_2xx(status: int) -> bool:
    return 200 <= status <= 299


@dataclass(frozen=True, slots=True)
class Sender:
    """A processor as the sender of callbacks. `acknowledges` tells which status it takes for a yes."""

    processor: str
    sign: Signer
    acknowledges: Callable[[int], bool] = any_2xx

    @property
    def path(self) -> str:
        return f"/payments/{self.processor}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try. `status` is 0 when there was no answer, `why` says what there was instead."""

    at: float
    url: str
    headers: Headers
    status: int
    why: str = ""


@dataclass(slots=True, eq=False)
class Callback:
    """What a processor has to say, and how often it tried. `about` is the id of the payment on the pay page."""

    sender: Sender
    id: str
    event: str
    about: str
    body: bytes
    attempts: list[Attempt] = field(default_factory=list)
    acknowledged: bool = False
    given_up: bool = False

    @property
    def processor(self) -> str:
        return self.sender.processor

    @property
    def path(self) -> str:
        return self.sender.path

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    def headers(self) -> Headers:
        """Signed as of now, as each attempt is."""
        return self.sender.sign(self.id, self.body)


class Postman:
    """Takes callbacks from the processors and brings them to the shop."""

    def __init__(self, base: Callable[[], str], clock: Callable[[], float], schedule: Schedule) -> None:
        self._base, self._clock, self._schedule = base, clock, schedule
        self._running: dict[Callback, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._idle = asyncio.Condition()
        self.log: deque[Callback] = deque(maxlen=KEPT_CALLBACKS)
        self.held: list[Callback] = []
        self.holding = False

    @property
    def pending(self) -> list[Callback]:
        """What is being sent or waits to be sent again, oldest first."""
        return list(self._running)

    def post(self, callback: Callback) -> None:
        """Send it from now on, or hold it."""
        self.log.append(callback)
        if self.holding:
            self.held.append(callback)
        else:
            self._start(callback)

    def release(self) -> None:
        """Hold no longer, and send what was held and nobody delivered."""
        self.holding = False
        held, self.held = self.held, []
        for callback in held:
            if not callback.acknowledged:
                self._start(callback)

    async def deliver(self, callback: Callback) -> int:
        """One attempt; the status of the answer, 0 when there was none."""
        attempt = await self._attempt(callback)
        callback.attempts.append(attempt)
        callback.acknowledged = callback.acknowledged or callback.sender.acknowledges(attempt.status)
        return attempt.status

    async def settled(self, timeout: float) -> None:
        """Return when nothing is pending; TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            async with self._idle:
                await self._idle.wait_for(lambda: not self._running)

    async def stop(self) -> None:
        """What was pending is lost, and stays in the log."""
        running, self._running = list(self._running.values()), {}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self._session:
            await self._session.close()
            self._session = None

    def _start(self, callback: Callback) -> None:
        self._running[callback] = asyncio.get_running_loop().create_task(self._bring(callback))

    async def _bring(self, callback: Callback) -> None:
        failures = 0
        while not callback.sender.acknowledges(await self.deliver(callback)):
            failures += 1
            wait = self._schedule(failures)
            if wait is None:
                callback.given_up = True
                break
            await asyncio.sleep(wait)
        async with self._idle:
            self._running.pop(callback, None)
            self._idle.notify_all()

    async def _attempt(self, callback: Callback) -> Attempt:
        at, url, headers = self._clock(), self._base().rstrip("/") + callback.path, callback.headers()
        try:
            sent = self._http().post(url, data=callback.body, headers=headers, allow_redirects=False)
            async with sent as response:
                return Attempt(at, url, headers, response.status, response.reason or "")
        except TimeoutError:
            return Attempt(at, url, headers, 0, f"no answer within {RESPONSE_TIMEOUT_S} s")
        except aiohttp.ClientConnectorError:
            return Attempt(at, url, headers, 0, "connection refused")
        except aiohttp.ClientError:
            return Attempt(at, url, headers, 0, "connection closed")

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=RESPONSE_TIMEOUT_S),
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session
