"""The methods of the Bot API that are emulated, except those about money: what they check, what they change.

It must not know HTTP or who called. https://core.telegram.org/bots/api
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.sandbox.calls import Arguments, Json, Refusal, bad_request, leading_integer
from service.sandbox.chats import Chat, Chats, Message
from service.sandbox.delivery import LONG_POLL_MOST_S, Courier, Updates, webhook_from
from service.sandbox.files import document, photo_size
from service.sandbox.markup import (
    MAX_CAPTION,
    MAX_TEXT,
    Formatted,
    check_commands,
    formatted,
    markup_of,
    units,
)

Method = Callable[[Arguments], Awaitable[Any]]

MAX_TOAST = 200
DELETABLE_S = 48 * 3600  # a message can be deleted for two days
WEBHOOK_ACTIVE = (
    "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
)
CHAT_ACTIONS = frozenset({
    "typing", "upload_photo", "record_video", "upload_video", "record_voice", "upload_voice",
    "upload_document", "choose_sticker", "find_location", "record_video_note", "upload_video_note",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Described:
    """A result with the remark that the real server adds to it."""

    result: Any
    description: str


class MessageMethods:
    """Messages, keyboards, files and commands."""

    def __init__(self, chats: Chats) -> None:
        self._chats = chats
        self.commands: dict[tuple[str, str], list[Json]] = {}

    def table(self) -> Mapping[str, Method]:
        return {
            "getMe": self.get_me,
            "sendMessage": self.send_message,
            "sendPhoto": self.send_photo,
            "sendDocument": self.send_document,
            "sendChatAction": self.send_chat_action,
            "editMessageText": self.edit_message_text,
            "editMessageReplyMarkup": self.edit_message_reply_markup,
            "deleteMessage": self.delete_message,
            "answerCallbackQuery": self.answer_callback_query,
            "setMyCommands": self.set_my_commands,
            "getMyCommands": self.get_my_commands,
            "deleteMyCommands": self.delete_my_commands,
        }

    async def get_me(self, args: Arguments) -> Json:
        return {
            **self._chats.bot,
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
            "can_connect_to_business": False,
            "has_main_web_app": False,
        }

    async def send_message(self, args: Arguments) -> Json:
        text, markup = _text_of(args), markup_of(args)
        chat = self._chat(args)
        content: Json = {"text": text.text, **_optional(entities=text.entities, reply_markup=markup)}
        return self._chats.post(chat, content, from_bot=True).wire

    async def send_photo(self, args: Arguments) -> Json:
        content = self._captioned(args)
        chat = self._chat(args)
        photo = photo_size(*self._chats.files.of(args, "photo"))
        return self._chats.post(chat, {"photo": [photo], **content}, from_bot=True).wire

    async def send_document(self, args: Arguments) -> Json:
        content = self._captioned(args)
        chat = self._chat(args)
        sent = document(*self._chats.files.of(args, "document"))
        return self._chats.post(chat, {"document": sent, **content}, from_bot=True).wire

    async def send_chat_action(self, args: Arguments) -> bool:
        action = args.required("action")
        if action not in CHAT_ACTIONS:
            raise bad_request("wrong parameter action in request")
        self._chats.feed.tell("action", self._chat(args), action=action)
        return True

    async def edit_message_text(self, args: Arguments) -> Json:
        text, markup = _text_of(args), markup_of(args)
        chat, message = self._own_message(args)
        if "text" not in message.wire:
            raise bad_request("there is no text in the message to edit")
        return self._edit(
            chat,
            message,
            {"text": text.text, "entities": text.entities or None, "reply_markup": markup},
        )

    async def edit_message_reply_markup(self, args: Arguments) -> Json:
        markup = markup_of(args)
        chat, message = self._own_message(args)
        return self._edit(chat, message, {"reply_markup": markup})

    async def delete_message(self, args: Arguments) -> bool:
        chat = self._chat(args)
        message = chat.messages.get(_message_id(args))
        if message is None:
            raise bad_request("message to delete not found")
        if self._chats.now() - message.wire["date"] > DELETABLE_S:
            raise bad_request("message can't be deleted for everyone")
        self._chats.delete(chat, message)
        return True

    async def answer_callback_query(self, args: Arguments) -> bool:
        question = self._chats.question(args.string("callback_query_id"))
        text = args.string("text")
        if units(text) > MAX_TOAST:
            raise bad_request("MESSAGE_TOO_LONG")
        if not question.answered.done():
            question.answered.set_result({"text": text})
            self._chats.toast(question.chat, text, alert=args.truth("show_alert"))
        return True

    async def set_my_commands(self, args: Arguments) -> bool:
        commands = args.decoded("commands", wrong="can't parse commands JSON object")
        self.commands[_commands_key(args)] = check_commands(commands)
        self._chats.feed.tell("commands", commands=self.menu())
        return True

    async def get_my_commands(self, args: Arguments) -> list[Json]:
        return self.commands.get(_commands_key(args), [])

    async def delete_my_commands(self, args: Arguments) -> bool:
        self.commands.pop(_commands_key(args), None)
        self._chats.feed.tell("commands", commands=self.menu())
        return True

    def menu(self) -> Json:
        """What the page shows under its menu button: commands by language code, "" for everybody else."""
        everywhere = (item for item in self.commands.items() if item[0][0] == "default")
        return {language: commands for (_, language), commands in everywhere}

    def _chat(self, args: Arguments) -> Chat:
        chat_id = args.string("chat_id")
        if not chat_id:
            raise bad_request("chat_id is empty")
        return self._chats.reachable(leading_integer(chat_id))

    def _captioned(self, args: Arguments) -> Json:
        caption = formatted(args.string("caption"), args.string("parse_mode"), most=MAX_CAPTION)
        markup = markup_of(args)
        return _optional(caption=caption.text, caption_entities=caption.entities, reply_markup=markup)

    def _own_message(self, args: Arguments) -> tuple[Chat, Message]:
        chat = self._chat(args)
        message = chat.messages.get(_message_id(args))
        if message is None:
            raise bad_request("message to edit not found")
        if not message.from_bot:
            raise bad_request("message can't be edited")
        return chat, message

    def _edit(self, chat: Chat, message: Message, content: Json) -> Json:
        if content.get("reply_markup") and "inline_keyboard" not in content["reply_markup"]:
            raise bad_request("inline keyboard expected")
        if all(message.wire.get(name) == value for name, value in content.items()):
            raise bad_request(
                "message is not modified: specified new message content and reply markup are exactly the same"
                " as a current content and reply markup of the message"
            )
        return self._chats.edit(chat, message, content).wire


def _text_of(args: Arguments) -> Formatted:
    source = args.string("text")
    if not source:
        raise bad_request("message text is empty")
    text = formatted(source, args.string("parse_mode"), most=MAX_TEXT)
    if not text.text:
        raise bad_request("text must be non-empty")
    return text


def _message_id(args: Arguments) -> int:
    if not (message_id := leading_integer(args.string("message_id"))):
        raise bad_request("message identifier is not specified")
    return message_id


def _optional(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value}


def _commands_key(args: Arguments) -> tuple[str, str]:
    scope = args.decoded("scope", wrong="can't parse BotCommandScope JSON object") or {"type": "default"}
    if not isinstance(scope, dict) or "type" not in scope:
        raise bad_request("can't parse BotCommandScope: BotCommandScope must be an Object")
    name = ":".join(str(scope[field]) for field in ("type", "chat_id", "user_id") if field in scope)
    return name, args.string("language_code")


class UpdateMethods:
    """How the bot gets its updates: setWebhook and its kin, or getUpdates."""

    def __init__(self, updates: Updates, courier: Courier) -> None:
        self._updates, self._courier = updates, courier

    def table(self) -> Mapping[str, Method]:
        return {
            "setWebhook": self.set_webhook,
            "deleteWebhook": self.delete_webhook,
            "getWebhookInfo": self.get_webhook_info,
            "getUpdates": self.get_updates,
        }

    async def set_webhook(self, args: Arguments) -> Described:
        if not args.string("url"):
            return await self.delete_webhook(args)
        webhook = webhook_from(args)
        self._keep_allowed(args)
        if self._forget_pending(args) or webhook != self._courier.webhook:
            await self._courier.serve(webhook)
            return Described(True, "Webhook was set")
        return Described(True, "Webhook is already set")

    async def delete_webhook(self, args: Arguments) -> Described:
        self._forget_pending(args)
        if self._courier.webhook is None:
            return Described(True, "Webhook is already deleted")
        await self._courier.serve(None)
        return Described(True, "Webhook was deleted")

    async def get_webhook_info(self, args: Arguments) -> Json:
        return self._courier.info()

    async def get_updates(self, args: Arguments) -> list[Json]:
        if self._courier.webhook:
            raise Refusal(409, WEBHOOK_ACTIVE)
        self._keep_allowed(args)
        return await self._updates.get(
            offset=leading_integer(args.string("offset")),
            limit=args.integer("limit", 100, least=1, most=100),
            timeout=args.integer("timeout", 0, least=0, most=LONG_POLL_MOST_S),
        )

    def _forget_pending(self, args: Arguments) -> bool:
        if dropped := args.truth("drop_pending_updates"):
            self._updates.clear()
        return dropped

    def _keep_allowed(self, args: Arguments) -> None:
        """Take over allowed_updates; the real server, too, ignores what is not a list of strings."""
        try:
            kinds = args.decoded("allowed_updates", wrong="ignored")
        except Refusal:
            return
        if isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds):
            self._updates.allowed = frozenset(kind.lower() for kind in kinds) or None
