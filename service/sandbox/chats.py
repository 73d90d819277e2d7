"""Private chats of one bot: messages, questions awaiting an answer, and a feed of what changed.

It must not know methods, webhooks or HTTP: it is what a Telegram client would have on its screen.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from service.sandbox.calls import BLOCKED, Json, Refusal, bad_request
from service.sandbox.files import Files

KEPT_MESSAGES = 300  # per chat; older ones are forgotten, as if scrolled away
KEPT_QUESTIONS = 1_000
KEPT_TOASTS = 50
FEED_ROOM = 1_000  # changes a slow page may lag behind before it is told to start over
CALLBACK_ANSWER_S = 15  # seconds a client waits for answerCallbackQuery
CHECKOUT_ANSWER_S = 10  # seconds Telegram waits for answerPreCheckoutQuery


@dataclass(slots=True, eq=False)
class Message:
    """A message; `wire` is the Message object of the Bot API, `revision` rises with every change anywhere."""

    wire: Json
    from_bot: bool
    revision: int = 0

    @property
    def id(self) -> int:
        return int(self.wire["message_id"])

    @property
    def text(self) -> str:
        """The text, or the caption."""
        return str(self.wire.get("text", self.wire.get("caption", "")))

    @property
    def buttons(self) -> list[Json]:
        """The inline buttons, row by row in one list."""
        rows = self.wire.get("reply_markup", {}).get("inline_keyboard", [])
        return [button for row in rows for button in row]


@dataclass(slots=True, eq=False)
class Chat:
    """The conversation of one person with the bot. `user` is the User object of the Bot API.

    `asked` is what the person's client offers to reply to: {"message_id", "placeholder"}.
    """

    user: Json
    messages: OrderedDict[int, Message] = field(default_factory=OrderedDict)
    toasts: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_TOASTS))
    keyboard: Json | None = None
    asked: Json | None = None
    started: bool = False
    blocked: bool = False

    @property
    def id(self) -> int:
        return int(self.user["id"])

    def wire(self) -> Json:
        """The Chat object of the Bot API."""
        names = ("id", "first_name", "last_name", "username")
        return {**{name: self.user[name] for name in names if name in self.user}, "type": "private"}


@dataclass(slots=True, eq=False)
class Question:
    """A callback or pre-checkout query: something the bot has to answer within `patience` seconds."""

    id: str
    chat: Chat
    asked_at: float
    patience: float
    about: Any = None
    answered: asyncio.Future[Json] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Feed:
    """Tells the pages that are open what changed."""

    def __init__(self) -> None:
        self._readers: set[asyncio.Queue[Json | None]] = set()

    def tell(self, kind: str, chat: Chat | None = None, **facts: Any) -> None:
        change = {"kind": kind, **({"chat_id": chat.id} if chat else {}), **facts}
        for reader in self._readers:
            if reader.full():
                self._end(reader)
            else:
                reader.put_nowait(change)

    @contextmanager
    def reader(self) -> Iterator[asyncio.Queue[Json | None]]:
        """A queue of changes; None means that it ended and the reader has to start over."""
        queue: asyncio.Queue[Json | None] = asyncio.Queue(FEED_ROOM)
        self._readers.add(queue)
        try:
            yield queue
        finally:
            self._readers.discard(queue)

    def close(self) -> None:
        for reader in self._readers:
            self._end(reader)

    @staticmethod
    def _end(reader: asyncio.Queue[Json | None]) -> None:
        while not reader.empty():
            reader.get_nowait()
        reader.put_nowait(None)


class Chats:
    """All chats of the bot, and the one place where their messages change."""

    def __init__(self, bot: Json, users: Iterable[Json], clock: Callable[[], float]) -> None:
        self.bot, self.clock = bot, clock
        self.feed, self.files = Feed(), Files()
        self._chats = {int(user["id"]): Chat(user) for user in users}
        self._questions: OrderedDict[str, Question] = OrderedDict()
        self._last_message_id = 0
        self.revision = 0

    def __iter__(self) -> Iterator[Chat]:
        return iter(self._chats.values())

    def of(self, user_id: int) -> Chat:
        return self._chats[user_id]

    def reachable(self, chat_id: int) -> Chat:
        """The chat the bot may write to. Raises Refusal as the real server does for any other."""
        chat = self._chats.get(chat_id)
        if chat is None or not chat.started:
            raise bad_request("chat not found")
        if chat.blocked:
            raise Refusal(403, BLOCKED)
        return chat

    def now(self) -> int:
        return int(self.clock())

    def post(self, chat: Chat, content: Json, *, from_bot: bool) -> Message:
        """A new message. A reply keyboard or a question becomes the chat's; an inline one stays with the message."""
        self._last_message_id += 1
        head = {
            "message_id": self._last_message_id,
            "from": self.bot if from_bot else chat.user,
            "chat": chat.wire(),
            "date": self.now(),
        }
        message = Message({**head, **content}, from_bot)
        markup = {} if message.buttons else message.wire.pop("reply_markup", {})
        chat.messages[message.id] = message
        while len(chat.messages) > KEPT_MESSAGES:
            chat.messages.popitem(last=False)
        self._changed(chat, message)
        self._obey(chat, message, markup)
        return message

    def _obey(self, chat: Chat, message: Message, markup: Json) -> None:
        if markup.get("keyboard") or markup.get("remove_keyboard"):
            self.show_keyboard(chat, markup if markup.get("keyboard") else None)
        elif markup.get("force_reply"):
            self.offer_reply(chat, {"message_id": message.id, "placeholder": markup.get("input_field_placeholder", "")})

    def offer_reply(self, chat: Chat, asked: Json | None) -> None:
        if chat.asked != asked:
            chat.asked = asked
            self.feed.tell("asked", chat, asked=asked)

    def show_keyboard(self, chat: Chat, keyboard: Json | None) -> None:
        chat.keyboard = keyboard
        self.feed.tell("keyboard", chat, keyboard=keyboard)

    def edit(self, chat: Chat, message: Message, content: Json) -> Message:
        """Replace what `content` names; a value of None takes the field away."""
        changed = {**message.wire, **content}
        message.wire = {name: value for name, value in changed.items() if value is not None}
        message.wire["edit_date"] = self.now()
        return self._changed(chat, message)

    def take_buttons(self, chat: Chat, message: Message) -> None:
        """The inline keyboard goes away, and nothing says that the message was edited."""
        message.wire.pop("reply_markup", None)
        self._changed(chat, message)

    def _changed(self, chat: Chat, message: Message) -> Message:
        self.revision += 1
        message.revision = self.revision
        self.feed.tell("message", chat, message=message.wire)
        return message

    def delete(self, chat: Chat, message: Message) -> None:
        del chat.messages[message.id]
        if chat.asked and chat.asked["message_id"] == message.id:
            self.offer_reply(chat, None)
        self.feed.tell("deleted", chat, message_id=message.id)

    def toast(self, chat: Chat, text: str, *, alert: bool = False) -> None:
        """Something short that the person sees and that is not a message."""
        if text:
            chat.toasts.append(text)
        self.feed.tell("toast", chat, text=text, alert=alert)

    def ask(self, chat: Chat, *, patience: float, about: Any = None) -> Question:
        question = Question(str(secrets.randbits(62)), chat, self.clock(), patience, about)
        self._questions[question.id] = question
        while len(self._questions) > KEPT_QUESTIONS:
            self._questions.popitem(last=False)
        return question

    def question(self, question_id: str) -> Question:
        """A question that still may be answered. Raises Refusal when it is unknown or too old."""
        question = self._questions.get(question_id)
        if question is None or self.clock() - question.asked_at > question.patience:
            raise bad_request("query is too old and response timeout expired or query ID is invalid")
        return question
