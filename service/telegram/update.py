"""From the bytes of an update to the few fields that are used. Pure.

It knows Telegram's Update object (https://core.telegram.org/bots/api#update) and nothing of who handles it.
Unknown fields and unknown kinds are ignored: Telegram adds some every few weeks, and an update that is refused
comes back for a day and holds up everything else of that person.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from service.errors import Invalid
from service.text import Language, language_of

Kind = Literal["message", "group_message", "callback_query", "my_chat_member", "pre_checkout_query", "money", "unknown"]

# What setWebhook and getUpdates ask for; the kinds that are decoded below.
ALLOWED_UPDATES = ("message", "callback_query", "my_chat_member", "pre_checkout_query")

# Where one of these stands as a key, money may be meant, whatever else is not understood.
MONEY_KEYS = (b'"successful_payment"', b'"refunded_payment"')

# What PostgreSQL's bigint holds; JSON numbers may be of any size.
Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Sender(msgspec.Struct, frozen=True, gc=False):
    """https://core.telegram.org/bots/api#user"""

    id: Id
    is_bot: bool = False
    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None
    language_code: str | None = None

    @property
    def language(self) -> Language:
        return language_of(self.language_code)


class Chat(msgspec.Struct, frozen=True, gc=False):
    """https://core.telegram.org/bots/api#chat"""

    id: Id
    type: str = "private"


class Question(msgspec.Struct, frozen=True):
    """The message that another one replies to, as far as it can be a question of ours."""

    sender: Sender | None = msgspec.field(name="from", default=None)
    text: str | None = None


class Message(msgspec.Struct, frozen=True):
    """https://core.telegram.org/bots/api#message"""

    message_id: Id
    chat: Chat
    sender: Sender | None = msgspec.field(name="from", default=None)
    text: str | None = None
    reply_to_message: Question | None = None
    successful_payment: dict[str, Any] | None = None
    refunded_payment: dict[str, Any] | None = None


class CallbackQuery(msgspec.Struct, frozen=True):
    """https://core.telegram.org/bots/api#callbackquery"""

    id: str
    sender: Sender = msgspec.field(name="from")
    message: Message | None = None
    data: str | None = None


class ChatMember(msgspec.Struct, frozen=True, gc=False):
    """https://core.telegram.org/bots/api#chatmember"""

    status: str


class ChatMemberUpdated(msgspec.Struct, frozen=True):
    """https://core.telegram.org/bots/api#chatmemberupdated"""

    chat: Chat
    sender: Sender = msgspec.field(name="from")
    new_chat_member: ChatMember = ChatMember("member")


class PreCheckoutQuery(msgspec.Struct, frozen=True):
    """https://core.telegram.org/bots/api#precheckoutquery"""

    id: str
    sender: Sender = msgspec.field(name="from")
    currency: str = ""
    total_amount: int = 0
    invoice_payload: str = ""


class Update(msgspec.Struct, frozen=True):
    """https://core.telegram.org/bots/api#update"""

    update_id: Id
    message: Message | None = None
    callback_query: CallbackQuery | None = None
    my_chat_member: ChatMemberUpdated | None = None
    pre_checkout_query: PreCheckoutQuery | None = None

    @property
    def kind(self) -> Kind:
        if self.message is not None:
            if self.message.successful_payment is not None or self.message.refunded_payment is not None:
                return "money"
            return "message" if self.in_private else "group_message"
        if self.callback_query is not None:
            return "callback_query"
        if self.my_chat_member is not None:
            return "my_chat_member"
        return "pre_checkout_query" if self.pre_checkout_query is not None else "unknown"

    @property
    def sender(self) -> Sender | None:
        """Who caused it: a person, never a bot or a channel."""
        source = self.message or self.callback_query or self.my_chat_member or self.pre_checkout_query
        sender = source.sender if source is not None else None
        return None if sender is None or sender.is_bot else sender

    @property
    def chat(self) -> Chat | None:
        """Where it was said or pressed; None when Telegram does not tell."""
        message = self.message or (self.callback_query and self.callback_query.message)
        return message.chat if message else None

    @property
    def in_private(self) -> bool:
        """Whether it was said to the bot alone: then the bot can write to the person."""
        return self.chat is not None and self.chat.type == "private"

    @property
    def chat_id(self) -> int | None:
        """Where an answer goes: the chat it came from, else the person."""
        if self.chat:
            return self.chat.id
        return self.sender.id if self.sender else None

    @property
    def text(self) -> str:
        return (self.message.text if self.message else None) or ""

    @property
    def command_line(self) -> str:
        """The text; of a reply to a question of a bot that ends in a command, that command with the reply behind it.

        So a question that waits for an answer is kept by nobody but the chat.
        """
        question = self.message.reply_to_message if self.message else None
        if question is None or not question.text or question.sender is None or not question.sender.is_bot:
            return self.text
        command = question.text.rstrip().rpartition("\n")[2]
        return f"{command} {self.text}" if command.startswith("/") and not self.text.startswith("/") else self.text

    @property
    def data(self) -> str:
        return (self.callback_query.data if self.callback_query else None) or ""


class Undecodable(Invalid):
    """The update has a known kind in an unknown shape."""

    code = "undecodable"

    def __init__(self, update_id: int, detail: str, *, may_be_money: bool) -> None:
        super().__init__(detail)
        self.update_id = update_id
        self.may_be_money = may_be_money


class _Numbered(msgspec.Struct, frozen=True):
    update_id: Id


_decoder = msgspec.json.Decoder(Update)
_numbered = msgspec.json.Decoder(_Numbered)
# The last is what deep nesting meets.
_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def decode(body: bytes) -> Update:
    """Raises Invalid when the body is no update at all, Undecodable when only its insides are not understood."""
    try:
        return _decoder.decode(body)
    except _MALFORMED as error:
        reason = str(error)
    try:
        update_id = _numbered.decode(body).update_id
    except _MALFORMED:
        raise Invalid("The body is not a Telegram update.") from None
    raise Undecodable(update_id, reason, may_be_money=any(key in body for key in MONEY_KEYS))
