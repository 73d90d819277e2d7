"""Sends what does not ride on a webhook's response, behind the update's back.

It knows calls under way and how to wait for them at the end; it knows nothing of why they are made.
"""

from __future__ import annotations

import asyncio

from service.errors import Upstream
from service.kernel.log import Log
from service.telegram.client import BotApi
from service.telegram.reply import Call

# Calls that wait for their turn at once; beyond, the bot is talking faster than Telegram lets it.
UNDER_WAY_MAX = 1_000
DRAIN_TIMEOUT_S = 5.0

log = Log("telegram")


class Courier:
    """Calls that nobody waits for. One that fails is told in the log: what must arrive is found again from rows."""

    def __init__(self, bot: BotApi) -> None:
        self._bot = bot
        self._under_way: set[asyncio.Task[None]] = set()

    def send_later(self, call: Call) -> None:
        if len(self._under_way) >= UNDER_WAY_MAX:
            log.warning("call dropped, too many are waiting", method=call.method)
            return
        task = asyncio.create_task(self._send(call))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def drain(self) -> None:
        """Wait for what is under way, and give it up after a while."""
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=DRAIN_TIMEOUT_S)
            for task in late:
                task.cancel()

    async def _send(self, call: Call) -> None:
        try:
            await self._bot.send(call)
        except Upstream as error:
            log.warning("call failed", method=call.method, reason=error.message)
