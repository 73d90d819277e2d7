"""From the bytes of an update to the few fields that are used. Pure.

It knows Telegram's Update object (https://core.telegram.org/bots/api#update) and nothing of who handles it.
Unknown fields and unknown kinds are ignored: Telegram adds some every few weeks, and an update that is refused
comes back for a day and holds up everything else of that person.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from service.errors import Invalid
from service.text import Language, language_of

Kind = Literal["message", "callback_query", "my_chat_member", "pre_checkout_query", "money", "unknown"]

# What setWebhook and getUpdates ask for; the kinds that are decoded below.
ALLOWED_UPDATES = ("message", "callback_query", "my_chat_member", "pre_checkout_query")

# PostgreSQL's text cannot hold this character, and no name needs it.
NUL = "\x00"


class Sender(msgspec.Struct, frozen=True, gc=False):
    """https://core.telegram.org/bots/api#user"""

    id: int
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

    id: int
    type: str = "private"


class Message(msgspec.Struct, frozen=True):
    """https://core.telegram.org/bots/api#message"""

    message_id: int
    chat: Chat
    sender: Sender | None = msgspec.field(name="from", default=None)
    text: str | None = None
    successful_payment: msgspec.Raw | None = None
    refunded_payment: msgspec.Raw | None = None


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

    update_id: int
    message: Message | None = None
    callback_query: CallbackQuery | None = None
    my_chat_member: ChatMemberUpdated | None = None
    pre_checkout_query: PreCheckoutQuery | None = None

    @property
    def kind(self) -> Kind:
        if self.message is not None:
            paid = self.message.successful_payment or self.message.refunded_payment
            return "money" if paid is not None else "message"
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
    def chat_id(self) -> int | None:
        """Where an answer goes: the chat it came from, else the person."""
        message = self.message or (self.callback_query and self.callback_query.message)
        if message:
            return message.chat.id
        return self.sender.id if self.sender else None

    @property
    def text(self) -> str:
        return (self.message.text if self.message else None) or ""

    @property
    def data(self) -> str:
        return (self.callback_query.data if self.callback_query else None) or ""


class Undecodable(Invalid):
    """The update has a known kind in an unknown shape."""

    code = "undecodable"

    def __init__(self, update_id: int, detail: str) -> None:
        super().__init__(detail)
        self.update_id = update_id


class _Numbered(msgspec.Struct, frozen=True):
    update_id: int


_decoder = msgspec.json.Decoder(Update)
_numbered = msgspec.json.Decoder(_Numbered)


def decode(body: bytes) -> Update:
    """Raises Invalid when the body is no update at all, Undecodable when only its insides are not understood."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = str(error)
    try:
        update_id = _numbered.decode(body).update_id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Invalid("The body is not a Telegram update.") from None
    raise Undecodable(update_id, reason)
