"""A message that tells how an order is going, while somebody is at it. It knows claims and the Bot API.

Nothing depends on it: what Telegram does not take is not shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Self

from service.catalog import Catalog
from service.errors import Upstream
from service.feature import Rooms
from service.features.generation.bot import telling, texts
from service.features.generation.work import Claim
from service.kernel.clock import Clock
from service.kernel.log import Log
from service.telegram import reply
from service.telegram.client import BotApi

FIRST_AFTER_S = 2.0  # what is made sooner needs no message
EVERY_S = 3.0
# The longer it takes, the less often it is said: a chat has but one message a second, for its results as well.
EVERY_SHARE = 0.1
LAST_WORD_S = 2.0  # how long the end waits for what is being said, and for what is said last

log = Log("generation")


class Shown:
    """Tells the person how it is going until the block ends; one that is broken off leaves no message.

    percent: 0 to 100, or None where nobody knows. message_id: of the message that is there, for whoever goes on or
    delivers.
    """

    def __init__(self, rooms: Rooms, claim: Claim) -> None:
        self.message_id = claim.progress_message_id
        self._rooms, self._claim = rooms, claim
        self._percent: int | None = None
        self._goes_on = False
        self._said = ""
        self._mute = False
        self._over = asyncio.Event()
        self._speaking: asyncio.Task[None] | None = None
        # Most work is done before this is due, and then it costs nothing but the timer.
        self._first = asyncio.get_running_loop().call_later(self._first_in_s, self._speak)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.hush()
        if kind is None:
            await self.last_word()
        else:  # called off, taken from us, or this process stops: whoever goes on shows another
            await self.take_away()

    @property
    def percent(self) -> int | None:
        return self._percent

    @percent.setter
    def percent(self, percent: int | None) -> None:
        """Whoever sets it will go on later, so this is said, however short the look at it was."""
        self._percent, self._goes_on = percent, True

    @property
    def _first_in_s(self) -> float:
        """Where a message tells already how far it was, the time alone would be a step back."""
        return max(FIRST_AFTER_S - self._elapsed_s, 0.0) if self.message_id is None else EVERY_S

    def _speak(self) -> None:
        self._speaking = asyncio.create_task(self._keep_telling())

    async def _keep_telling(self) -> None:
        while not (self._mute or self._over.is_set()):
            await self.tell()
            await self._pause(max(EVERY_S, self._elapsed_s * EVERY_SHARE))

    async def hush(self) -> None:
        """Say nothing more, and break off no call: its message would stay in the chat for good."""
        self._first.cancel()
        self._over.set()
        if self._speaking is not None:
            await asyncio.wait([self._speaking], timeout=LAST_WORD_S)
            self._speaking.cancel()

    async def tell(self) -> None:
        text = self._text()
        if text == self._said or self._mute:
            return
        try:
            await self._write(text)
        except Upstream as error:
            self._note(error)
        else:
            self._said = text

    async def last_word(self) -> None:
        """Before the claim is let go: how far it is, where that goes on."""
        if self._goes_on and self._elapsed_s >= FIRST_AFTER_S:
            await _briefly(self.tell())

    async def take_away(self) -> None:
        """Nobody is at it any more, or somebody else."""
        if self.message_id is None:
            return
        where, self.message_id = {"chat_id": self._claim.chat_id, "message_id": self.message_id}, None
        try:
            await _briefly(self._rooms.of(BotApi).call("deleteMessage", where))
        except Upstream as error:
            self._note(error)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0)):
                await self._over.wait()

    async def _write(self, text: str) -> None:
        bot, params = self._rooms.of(BotApi), {"chat_id": self._claim.chat_id, "text": text, **self._markup()}
        if self.message_id is None:
            self.message_id = (await bot.call("sendMessage", params))["message_id"]
        else:
            await bot.call("editMessageText", {**params, "message_id": self.message_id})

    def _note(self, error: Upstream) -> None:
        """A message that cannot be changed is gone: the next word is another one. Who cannot be told is left alone."""
        log.info("progress not shown", job_id=str(self._claim.job_id), reason=error.message)
        if error.permanent:
            self._mute, self.message_id = self.message_id is None, None

    def _markup(self) -> dict[str, Any]:
        cancel = texts.CANCEL.in_(self._claim.language), f"cancel:{self._claim.job_id}"
        return {"reply_markup": reply.inline_keyboard([[cancel]])}

    def _text(self) -> str:
        minutes, seconds = divmod(int(self._elapsed_s), 60)
        language = self._claim.language
        told = {
            "title": telling.title_of(self._rooms.of(Catalog), self._claim.model_id, language),
            "elapsed": f"{minutes}:{seconds:02}",
        }
        if self._percent is None:
            return texts.PROGRESS.in_(language, **told)
        return texts.PROGRESS_PERCENT.in_(language, percent=self._percent, **told)

    @property
    def _elapsed_s(self) -> float:
        return (self._rooms.of(Clock).now() - self._claim.started_at).total_seconds()


async def _briefly(said: Awaitable[object]) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(said, LAST_WORD_S)
