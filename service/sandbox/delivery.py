"""Updates on their way to the bot: the queue, getUpdates, and the courier that posts them to the webhook.

It must not know what an update is about. Behaviour after the real server, telegram-bot-api/WebhookActor.cpp
of https://github.com/tdlib/telegram-bot-api.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from service.sandbox.calls import Arguments, Json, Refusal, bad_request, read_arguments

Schedule = Callable[[int, float], float]

EXPIRY_S = 86_400  # Telegram keeps an update for a day
QUERY_EXPIRY_S = 150  # nobody waits longer for the answer to a query
QUERIES = frozenset({"callback_query", "shipping_query", "pre_checkout_query"})
NOT_BY_DEFAULT = frozenset({"chat_member", "message_reaction", "message_reaction_count"})
KEPT_UPDATES = 1_000
RESPONSE_TIMEOUT_S = 60  # how long the real server waits for a webhook's response
RETRY_AFTER_MOST_S = 3_600
RESEND_MOST_S = 60  # the cap of the doubling delay is random between this and twice this
LONG_POLL_MOST_S = 50
UPDATE_ID_BITS = 31
OTHER_POLL = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"


def resend_after(failures: int, retry_after: float) -> float:
    """Seconds until an update that failed `failures` times before is sent again."""
    if retry_after > 0:
        return min(retry_after, RETRY_AFTER_MOST_S)
    cap = random.uniform(RESEND_MOST_S, 2 * RESEND_MOST_S)  # noqa: S311 - jitter, not a secret
    return min(2.0 ** min(failures, 10), cap) if failures else 0.0


@dataclass(slots=True, eq=False)
class Update:
    """An update in the queue. `tried` is set after the first attempt, `delivered` tells that it was taken."""

    id: int
    kind: str
    body: Json
    queue: Hashable
    expires_at: float
    failures: int = 0
    delivered: bool = False
    tried: asyncio.Event = field(default_factory=asyncio.Event)

    def wire(self) -> Json:
        return {"update_id": self.id, self.kind: self.body}


class Updates:
    """What waits to be taken by the bot, in the order of update ids."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.allowed: frozenset[str] | None = None
        self.added: Callable[[Update], None] = lambda update: None
        self.changed: Callable[[], None] = lambda: None
        self._pending: dict[int, Update] = {}
        # From the clock, so that ids go on rising when the process starts again: a bot remembers ids.
        self._last_id = int(clock()) % 2**UPDATE_ID_BITS
        self._poll: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def polled(self) -> bool:
        """Whether a long poll is under way."""
        return self._poll is not None and not self._poll.done()

    def add(self, kind: str, body: Json, *, queue: Hashable) -> Update | None:
        """Queue an update; None when the bot has not asked for its kind."""
        if kind not in self.allowed if self.allowed is not None else kind in NOT_BY_DEFAULT:
            return None
        self._last_id += 1
        expiry = QUERY_EXPIRY_S if kind in QUERIES else EXPIRY_S
        update = Update(self._last_id, kind, body, queue, self.clock() + expiry)
        self._pending[update.id] = update
        if len(self._pending) > KEPT_UPDATES:
            self.drop(next(iter(self._pending.values())))
        self.wake()
        self.added(update)
        self.changed()
        return update

    def head(self, queue: Hashable) -> Update | None:
        """The update that this queue has to deliver next."""
        return next((update for update in self.live() if update.queue == queue), None)

    def live(self) -> Iterator[Update]:
        """What is pending; what is too old is dropped on the way."""
        for update in tuple(self._pending.values()):
            if self.clock() > update.expires_at:
                self.drop(update)
            else:
                yield update

    def take(self, update: Update) -> None:
        update.delivered = True
        self.drop(update)

    def drop(self, update: Update) -> None:
        self._pending.pop(update.id, None)
        update.tried.set()
        self.changed()

    def clear(self) -> None:
        for update in tuple(self._pending.values()):
            self.drop(update)

    async def get(self, *, offset: int, limit: int, timeout: float) -> list[Json]:
        """getUpdates: confirm what is below `offset`, then the next ones; wait up to `timeout` s for one."""
        self.interrupt(OTHER_POLL)
        self._confirm(offset)
        if timeout and not self._pending:
            self._poll = asyncio.get_running_loop().create_future()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._poll, timeout)
        return [update.wire() for update in self.live()][:limit]

    def interrupt(self, why: str) -> None:
        """End a long poll that is under way with 409."""
        if self._poll and self.polled:
            self._poll.set_exception(Refusal(409, why))
        self._poll = None

    def _confirm(self, offset: int) -> None:
        ids = sorted(self._pending)
        for update_id in ids[:offset] if offset < 0 else [one for one in ids if one < offset]:
            self.take(self._pending[update_id])

    def wake(self) -> None:
        """Let a long poll that is under way look again."""
        if self._poll and self.polled:
            self._poll.set_result(None)


@dataclass(frozen=True, slots=True)
class Webhook:
    """What setWebhook said."""

    url: str
    secret_token: str = field(default="", repr=False)
    max_connections: int = 40


def webhook_from(args: Arguments) -> Webhook:
    """Raises Refusal for what setWebhook would not take."""
    url, secret = args.string("url"), args.string("secret_token")
    parts = urlsplit(url)
    # http is allowed, as it is by a Bot API server that runs locally
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise bad_request("invalid webhook URL specified")
    if len(secret) > 256:
        raise bad_request("secret token is too long")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", secret):
        raise bad_request("secret token contains unallowed characters")
    return Webhook(url, secret, args.integer("max_connections", 40, least=1, most=100))


@dataclass(frozen=True, slots=True)
class _Failure:
    why: str
    retry_after: float = 0.0


class Courier:
    """Posts updates to the webhook: one at a time per queue, queues in parallel up to max_connections.

    `execute` runs the method that a response asks for; its result and its errors reach nobody.
    """

    def __init__(self, updates: Updates, execute: Callable[[Arguments], Awaitable[None]], schedule: Schedule) -> None:
        self._updates, self._execute, self._schedule = updates, execute, schedule
        self._running: dict[Hashable, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._room = asyncio.Semaphore(1)
        self.webhook: Webhook | None = None
        self.last_error: tuple[int, str] | None = None
        updates.added = self._start

    async def serve(self, webhook: Webhook | None) -> None:
        """Deliver to this webhook from now on; None leaves the updates to getUpdates."""
        await self._halt()
        self.webhook, self.last_error = webhook, None
        if webhook:
            self._updates.interrupt("Conflict: terminated by setWebhook request")
            self._room = asyncio.Semaphore(webhook.max_connections)
            for update in self._updates.live():
                self._start(update)
        self._updates.changed()

    def info(self) -> Json:
        """The WebhookInfo object of the Bot API."""
        webhook, error, allowed = self.webhook, self.last_error, self._updates.allowed
        return {
            "url": webhook.url if webhook else "",
            "has_custom_certificate": False,
            "pending_update_count": len(self._updates),
            **({"last_error_date": error[0], "last_error_message": error[1]} if error else {}),
            **({"max_connections": webhook.max_connections} if webhook else {}),
            **({"allowed_updates": sorted(allowed)} if allowed else {}),
        }

    async def stop(self) -> None:
        self.webhook = None
        await self._halt()
        if self._session:
            await self._session.close()
            self._session = None

    async def _halt(self) -> None:
        running, self._running = list(self._running.values()), {}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _start(self, update: Update) -> None:
        if self.webhook and update.queue not in self._running:
            task = asyncio.get_running_loop().create_task(self._serve_queue(update.queue))
            self._running[update.queue] = task

    async def _serve_queue(self, queue: Hashable) -> None:
        while (update := self._updates.head(queue)) and self.webhook:
            async with self._room:
                failure = await self._attempt(update, self.webhook)
            if failure is None:
                self._updates.take(update)
            else:
                await self._after_failure(update, failure)
        self._running.pop(queue, None)

    async def _after_failure(self, update: Update, failure: _Failure) -> None:
        self.last_error = int(self._updates.clock()), failure.why
        wait = self._schedule(update.failures, failure.retry_after)
        update.failures += 1
        if self._updates.clock() + wait > update.expires_at:
            self._updates.drop(update)
            return
        update.tried.set()
        self._updates.changed()
        await asyncio.sleep(wait)

    async def _attempt(self, update: Update, webhook: Webhook) -> _Failure | None:
        try:
            body, headers = orjson.dumps(update.wire()), _headers(webhook)
            async with self._http().post(webhook.url, data=body, headers=headers, allow_redirects=False) as response:
                if not 200 <= response.status <= 299:
                    why = f"Wrong response from the webhook: {response.status} {response.reason}"
                    return _Failure(why, _retry_after(response))
                answer = await read_arguments(response.headers, response.content)
        except TimeoutError:
            return _Failure("Read timeout expired")
        except aiohttp.ClientConnectorError:
            return _Failure("Connection refused")
        except aiohttp.ClientError:
            return _Failure("Webhook connection closed")
        except Refusal:  # a body that cannot be read asks for nothing, and the update was taken
            return None
        await self._execute(answer)
        return None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=RESPONSE_TIMEOUT_S),
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _headers(webhook: Webhook) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if webhook.secret_token:
        headers["X-Telegram-Bot-Api-Secret-Token"] = webhook.secret_token
    return headers


def _retry_after(response: aiohttp.ClientResponse) -> float:
    text: Any = response.headers.get("Retry-After", "0")
    return float(text) if text.isdecimal() else 0.0
