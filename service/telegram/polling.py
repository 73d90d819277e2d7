"""Fetches updates for a machine that Telegram cannot reach, such as a laptop.

It knows getUpdates and when an update counts as received; it knows nothing of what is in one.
https://core.telegram.org/bots/api#getupdates
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import orjson

from service.errors import ServiceError, Upstream
from service.kernel.log import Log
from service.telegram.client import BotApi
from service.telegram.client.registration import remove_webhook

LONG_POLL_S = 25  # how long Telegram holds an empty answer back; proxies cut at 30
ANSWER_S = 10.0  # beyond that, for the answer to arrive
FIRST_PAUSE_S = 0.5  # after a failure; doubled with each that follows
CONFIRM_S = 3.0  # a process that stops has little time, and what is not confirmed only comes again
LONGEST_PAUSE_S = 15.0  # a person at a laptop is waiting

T = TypeVar("T")
Handle = Callable[[bytes], Awaitable[object]]

log = Log("telegram")


class Polling:
    """Hands every update, as the JSON a webhook would bring, to `handle`, one after the other.

    An update is confirmed to Telegram only after `handle` returned for it. Where it raised (Unavailable: it could
    not be stored) the same update is fetched again after a pause: none is skipped.
    """

    def __init__(
        self,
        bot: BotApi,
        handle: Handle,
        *,
        allowed_updates: Sequence[str],
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        self._bot = bot
        self._handle = handle
        self._allowed = list(allowed_updates)
        self._sleep = sleep
        self._stopping = asyncio.Event()
        self._may_poll = False
        self._next_id: int | None = None
        self._failures = 0

    async def run(self) -> None:
        """Fetches until `stop`. Raises Upstream where Telegram refuses for good, as it does a wrong token."""
        while not self._stopping.is_set():
            try:
                await self._round()
                self._failures = 0
            except Upstream as error:
                if error.permanent:
                    log.error("polling ends", reason=error.message)
                    raise
                await self._pause(error, error.retry_after)
            except Exception as error:  # as a webhook's 500: whatever it was, the update is still Telegram's
                await self._pause(error)
        await self._confirm()

    def stop(self) -> None:
        """Ends `run` once the update under way is handled; waiting for others ends at once."""
        self._stopping.set()

    async def _round(self) -> None:
        if not self._may_poll:
            await self._until_stopped(remove_webhook(self._bot))
            self._may_poll = True
        updates = await self._until_stopped(self._fetch(LONG_POLL_S))
        for update in updates or ():
            if self._stopping.is_set():
                return
            await self._handle(orjson.dumps(update))
            self._next_id = update["update_id"] + 1

    async def _fetch(self, wait_s: int) -> list[dict[str, Any]]:
        params: dict[str, Any] = {"timeout": wait_s, "allowed_updates": self._allowed}
        if self._next_id is not None:
            params["offset"] = self._next_id
        updates: list[dict[str, Any]] = await self._bot.call("getUpdates", params, timeout=wait_s + ANSWER_S)
        return updates

    async def _confirm(self) -> None:
        """What was handled is confirmed by asking for what comes after; unconfirmed, it would come once more."""
        if self._next_id is not None:
            try:
                async with asyncio.timeout(CONFIRM_S):
                    await self._fetch(0)
            except (Upstream, TimeoutError):
                log.warning("updates not confirmed, the last will come again")

    async def _pause(self, error: Exception, asked_for: float | None = None) -> None:
        self._failures += 1
        seconds = asked_for or min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (self._failures - 1))
        reason = error.message if isinstance(error, ServiceError) else type(error).__name__
        log.warning("polling pauses", seconds=seconds, reason=reason)
        await self._until_stopped(self._sleep(seconds))

    async def _until_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The work's result; None where it was broken off because `stop` was called."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            stopping.cancel()
            task.cancel()
            await asyncio.wait((task,))
