"""The people who talk to the bot: what they can do in a Telegram client, done by a test or by the page.

It must not know methods or HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from service.sandbox.calls import Json
from service.sandbox.chats import CALLBACK_ANSWER_S, CHECKOUT_ANSWER_S, Chat, Chats, Message, Question
from service.sandbox.delivery import Courier, Update, Updates
from service.sandbox.invoices import Checkout, Invoice
from service.sandbox.markup import MAX_TEXT, Formatted, detected, units

# https://core.telegram.org/bots/api#message: a message that is replied to does not tell what it replies to itself.
NOT_REPEATED = frozenset({"reply_to_message"})
PATIENCE_S = 5.0  # how long an action of a person waits for the bot's first reaction


def _user(user_id: int, first_name: str, username: str, language_code: str) -> Json:
    names = {"first_name": first_name, "username": username}
    return {"id": user_id, "is_bot": False, **names, "language_code": language_code}


CAST: Mapping[str, Json] = {
    "payer": _user(700_000_001, "Payer", "payer", "en"),
    "friend": _user(700_000_002, "Друг", "friend", "ru"),
    "stranger": _user(7_000_000_003, "Stranger", "stranger", "de"),  # new accounts' ids do not fit into 32 bits
}


class CannotDo(ValueError):
    """A person tried what a Telegram client does not offer."""


@dataclass(frozen=True, slots=True)
class World:
    """What a person acts upon."""

    chats: Chats
    updates: Updates
    courier: Courier
    checkout: Checkout


class Person:
    """One person and their chat with the bot.

    `says`, `presses`, `pays`, `blocks` and `unblocks` return when the bot's webhook has answered, in whatever
    way, or after PATIENCE_S. The actions without the wait are for the page.
    """

    def __init__(self, world: World, name: str, user: Json) -> None:
        self._world, self.name, self.user = world, name, user
        self._acted_at = 0

    @property
    def id(self) -> int:
        return int(self.user["id"])

    @property
    def chat(self) -> list[Message]:
        """What is visible, oldest first."""
        return list(self._chat.messages.values())

    @property
    def toasts(self) -> list[str]:
        """Texts of answerCallbackQuery and refused payments, oldest first."""
        return list(self._chat.toasts)

    @property
    def keyboard(self) -> list[str]:
        """Labels of the reply keyboard that is shown."""
        rows = (self._chat.keyboard or {}).get("keyboard", [])
        return [label(button) for row in rows for button in row]

    async def says(self, text: str) -> Update | None:
        """Type and send, as a reply where the bot asked for one. The update, or None where the bot does not want it."""
        return await self._tried(self.send(text))

    async def presses(self, button_text: str) -> Update | None:
        """Press the newest button with this label, inline or of the reply keyboard."""
        for message in reversed(self.chat):
            for button in message.buttons:
                if button["text"] == button_text:
                    return await self._press(message, button)
        if button_text in self.keyboard:
            return await self._tried(self.send(button_text, replying=False))
        raise CannotDo(f"{self.name} sees no button {button_text!r}")

    async def pays(self, link: str = "", timeout: float = CHECKOUT_ANSWER_S) -> Json:
        """Pay the newest invoice in the chat, or the one behind a link; the bot's answer to the checkout.

        Raises TimeoutError when the bot does not answer within `timeout` seconds.
        """
        message = None if link else next((one for one in reversed(self.chat) if "invoice" in one.wire), None)
        question = self.checkout(message, link)
        async with asyncio.timeout(timeout):
            return await question.answered

    async def blocks(self) -> Update | None:
        return await self._tried(self.block(True))

    async def unblocks(self) -> Update | None:
        return await self._tried(self.block(False))

    async def hears(self, text: str = "", timeout: float = PATIENCE_S) -> Message:
        """The first message of the bot with `text` in it that came or changed after the last action.

        Raises TimeoutError after `timeout` seconds.
        """
        with self._world.chats.feed.reader() as changes:
            try:
                async with asyncio.timeout(timeout):
                    while (message := self._heard(text)) is None:
                        await changes.get()
            except TimeoutError:
                seen = [one.text for one in self.chat[-5:]]
                raise TimeoutError(f"{self.name} did not hear {text!r}; the chat ends with {seen}") from None
        return message

    def send(self, text: str, *, replying: bool = True) -> Update | None:
        if not 1 <= units(text.strip()) <= MAX_TEXT:
            raise CannotDo(f"a message has 1 to {MAX_TEXT} characters")
        self._begin()
        said = Formatted()
        said.write(text.strip())
        entities = detected(said)
        content = {"text": said.text, **({"entities": entities} if entities else {})}
        content |= self._reply() if replying else {}
        self._world.chats.offer_reply(self._chat, None)
        self._fold_keyboard()
        message = self._world.chats.post(self._chat, content, from_bot=False)
        return self._world.updates.add("message", message.wire, queue=("chat", self.id))

    def press(self, message_id: int, data: str) -> tuple[Update | None, Question]:
        """Press an inline button with callback data."""
        message = self._chat.messages.get(message_id)
        if message is None or not any(button.get("callback_data") == data for button in message.buttons):
            raise CannotDo("there is no such button any more")
        self._begin()
        question = self._world.chats.ask(self._chat, patience=CALLBACK_ANSWER_S)
        query = {
            "id": question.id,
            "from": self.user,
            "message": message.wire,
            "chat_instance": str(self.id),
            "data": data,
        }
        return self._world.updates.add("callback_query", query, queue=("callback", self.id)), question

    def checkout(self, message: Message | None, link: str = "") -> Question:
        """Press Pay: the question the bot has to answer."""
        invoice: Invoice | None = self._world.checkout.invoice_of(message, link)
        if invoice is None:
            raise CannotDo("there is nothing to pay")
        self._begin()
        return self._world.checkout.pay(self._chat, invoice, message)

    def block(self, blocked: bool) -> Update | None:
        """Stop or restart the bot; nothing happens when it is so already."""
        chat = self._chat
        if chat.blocked == blocked:
            return None
        chat.blocked, chat.started = blocked, True
        self._acted_at = self._world.chats.revision
        self._world.chats.feed.tell("blocked", chat, blocked=blocked)
        change = {
            "chat": chat.wire(),
            "from": self.user,
            "date": self._world.chats.now(),
            "old_chat_member": self._membership(not blocked),
            "new_chat_member": self._membership(blocked),
        }
        return self._world.updates.add("my_chat_member", change, queue=("membership", self.id))

    def _membership(self, blocked: bool) -> Json:
        bot: Json = {"user": self._world.chats.bot}
        return bot | ({"status": "kicked", "until_date": 0} if blocked else {"status": "member"})

    @property
    def _chat(self) -> Chat:
        return self._world.chats.of(self.id)

    def _begin(self) -> None:
        if self._chat.blocked:
            raise CannotDo("the bot is blocked; unblock it first")
        self._chat.started = True
        self._acted_at = self._world.chats.revision

    def _reply(self) -> Json:
        """What the client adds where the bot asked with force_reply: the question, without what it replied to."""
        asked = self._chat.messages.get(self._chat.asked["message_id"]) if self._chat.asked else None
        if asked is None:
            return {}
        bare = {name: value for name, value in asked.wire.items() if name not in NOT_REPEATED}
        return {"reply_to_message": bare}

    def _fold_keyboard(self) -> None:
        if self._chat.keyboard and self._chat.keyboard.get("one_time_keyboard"):
            self._world.chats.show_keyboard(self._chat, None)

    def _heard(self, text: str) -> Message | None:
        fresh = (one for one in self.chat if one.from_bot and one.revision > self._acted_at)
        return next((one for one in fresh if text in one.text), None)

    async def _press(self, message: Message, button: Json) -> Update | None:
        if "callback_data" not in button:
            raise CannotDo(f"the button {button['text']!r} is not for the bot to answer")
        return await self._tried(self.press(message.id, button["callback_data"])[0])

    async def _tried(self, update: Update | None) -> Update | None:
        if update and self._world.courier.webhook and not self._stuck_behind(update):
            with suppress(TimeoutError):
                await asyncio.wait_for(update.tried.wait(), PATIENCE_S)
        return update

    def _stuck_behind(self, update: Update) -> bool:
        first = self._world.updates.head(update.queue)
        return first is not None and first is not update and first.failures > 0


def label(button: Any) -> str:
    """The text of a reply keyboard's button, which may be a bare string."""
    return button if isinstance(button, str) else str(button["text"])
