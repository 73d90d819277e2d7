"""Calls methods of the Bot API.

It knows how a call is sent, when it may be sent again, and that the token must never be seen; it knows nothing
of why it is made. https://core.telegram.org/bots/api#making-requests
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
import orjson

from service.errors import Upstream
from service.kernel import metrics
from service.kernel.clock import Clock
from service.telegram.client import answer
from service.telegram.client.answer import ApiError, NoAnswer
from service.telegram.pacing import Chat, Pacing
from service.telegram.reply import Call

Params = Mapping[str, Any]

CALL_TIMEOUT_S = 10.0  # one try; the Bot API answers in well under a second
CONNECT_TIMEOUT_S = 5.0
TRIES = 3  # of a call that may be repeated
BACKOFF_S = 0.25  # before the second try, doubled before the third, each half to one and a half times that
# Carrying these out twice is carrying them out once. A send is not among them: the first try may have arrived
# although its answer was lost, Telegram has no key to tell the two apart, and a person would read it twice.
REPEATABLE = ("get", "set", "edit", "answer", "delete")
PACED = ("send", "copy", "forward", "edit")  # what Telegram's limits on messages count


class InputFile(NamedTuple):
    """A file that goes up with a call; pictures are known by the media type and the name.

    https://core.telegram.org/bots/api#sending-files
    """

    name: str
    media_type: str
    body: bytes


async def _ignore(chat_id: int) -> None:
    """Nobody asked to be told."""


@dataclass(slots=True, repr=False, kw_only=True)
class BotApi:
    """One bot. `on_blocked` is told of a person whom the bot cannot reach any more; `username` is learnt later.

    `patience` is how long, in seconds, a call may wait for its turn, for a 429 to pass and for repeats, in all.
    """

    token: str
    base: str
    session: aiohttp.ClientSession
    clock: Clock
    pacing: Pacing
    on_blocked: Callable[[int], Awaitable[None]] = _ignore
    patience: float = 30.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    username: str | None = None

    async def send(self, call: Call) -> Any:
        """Makes the call of a reply; as `call`."""
        return await self.call(call.method, call.params)

    async def call(self, method: str, params: Params | None = None, *, timeout: float = CALL_TIMEOUT_S) -> Any:
        """The method's result; True for what needed no doing any more. `timeout` bounds one try, in seconds.

        Values that are InputFile go up. Raises Upstream: permanent where the same call cannot succeed,
        with retry_after where Telegram asks for more time than there is patience.
        """
        attempt = _Attempt(self, method, dict(params or {}), timeout, self.clock.monotonic() + self.patience)
        try:
            result = await attempt.until_done()
        except Upstream as error:
            metrics.TELEGRAM_CALLS.labels(method, "permanent" if error.permanent else "retryable").inc()
            raise
        metrics.TELEGRAM_CALLS.labels(method, "ok").inc()
        return result

    async def post(self, method: str, params: Params, timeout: float) -> Any:
        """One try. Raises ApiError or NoAnswer, neither of which carries the address: the token is part of it."""
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT_S)
        url = f"{self.base}/bot{self.token}/{method}"
        started = self.clock.monotonic()
        try:
            async with self.session.post(url, timeout=limits, allow_redirects=False, **_body(params)) as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            failure = NoAnswer(method, type(error).__name__, ambiguous=not _never_sent(error))
        else:
            return answer.read(method, status, body)
        finally:
            metrics.TELEGRAM_SECONDS.labels(method).observe(self.clock.monotonic() - started)
        raise failure  # here, and not where it was caught: nothing of the error's own may be chained to it

    def __repr__(self) -> str:
        return f"BotApi(bot {self.token.partition(':')[0]})"


@dataclass(slots=True, repr=False)
class _Attempt:
    """One call with its repeats, until it is done or `deadline` would pass."""

    bot: BotApi
    method: str
    params: dict[str, Any]
    timeout: float
    deadline: float
    failures: int = 0
    moved: bool = False

    async def until_done(self) -> Any:
        while True:
            await self._take_turn()
            try:
                return await self.bot.post(self.method, self.params, self.timeout)
            except ApiError as error:
                if error.done_anyway:
                    return True
                await self._after_refusal(error)
            except NoAnswer as error:
                await self._back_off(error)

    async def _take_turn(self) -> None:
        """Waits for this chat's turn, and again where the chat was silenced meanwhile."""
        while (wait := self._wait_for_turn()) > 0:
            if wait > self._left():
                raise Upstream(f"{self.method}: too many messages are waiting", retry_after=wait)
            await self.bot.sleep(wait)
            if not self.bot.pacing.silence_left(self._where, self._now()):
                return

    def _wait_for_turn(self) -> float:
        if "chat_id" in self.params and self.method.startswith(PACED):
            return self.bot.pacing.reserve(self._where, self._now(), self._left())
        return self.bot.pacing.silence_left(self._where, self._now())

    async def _after_refusal(self, error: ApiError) -> None:
        """Returns where the call should be made again."""
        if error.moved_to is not None and not self.moved:
            self.params, self.moved = {**self.params, "chat_id": error.moved_to}, True
        elif error.retry_after is not None:
            self._silence(error, error.retry_after)
        elif error.ambiguous:
            await self._back_off(error)
        else:
            if error.gone and isinstance(self._where, int) and self._where > 0:
                await self.bot.on_blocked(self._where)
            raise error

    def _silence(self, error: ApiError, seconds: float) -> None:
        """A refused call was not carried out, so any may be repeated once the silence is over."""
        self.bot.pacing.silence(self._where, self._now() + seconds)
        if seconds > self._left():
            raise error

    async def _back_off(self, error: ApiError | NoAnswer) -> None:
        self.failures += 1
        spread = random.uniform(0.5, 1.5)  # noqa: S311 - to keep instances apart, not to keep a secret
        wait = BACKOFF_S * 2 ** (self.failures - 1) * spread
        repeatable = not error.ambiguous or self.method.startswith(REPEATABLE)
        if not repeatable or self.failures >= TRIES or wait > self._left():
            raise error
        await self.bot.sleep(wait)

    @property
    def _where(self) -> Chat:
        """The chat that the call goes to; of a call without one, its method."""
        where: Chat = self.params.get("chat_id", self.method)
        return where

    def _now(self) -> float:
        return self.bot.clock.monotonic()

    def _left(self) -> float:
        return self.deadline - self._now()


def _never_sent(error: Exception) -> bool:
    """Whether the connection was not even made, so that Telegram cannot have carried the call out."""
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _body(params: Params) -> dict[str, Any]:
    """JSON; or, where a value is a file, a form whose other values are text or JSON."""
    given = {name: value for name, value in params.items() if value is not None}  # null would be read as text
    if not any(isinstance(value, InputFile) for value in given.values()):
        return {"data": orjson.dumps(given), "headers": {"Content-Type": "application/json"}}
    form = aiohttp.FormData(quote_fields=False)  # Telegram shows a file's name as it came
    for name, value in given.items():
        if isinstance(value, InputFile):
            form.add_field(
                name, value.body, filename="".join(filter(str.isprintable, value.name)), content_type=value.media_type
            )
        else:
            form.add_field(name, value if isinstance(value, str) else orjson.dumps(value).decode())
    return {"data": form}
