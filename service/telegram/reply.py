"""What a handler may answer: calls of Bot API methods, as values. Pure.

It knows the shape of a call (https://core.telegram.org/bots/api#making-requests) and nothing of how it is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import orjson

from service.telegram.update import Update

# One button: what it says and what it sends back (callback data, 1-64 bytes).
Button = tuple[str, str]
TEXT_MAX = 4096  # UTF-16 units of a message (https://core.telegram.org/bots/api#sendmessage)


class Link(NamedTuple):
    """A button that opens an address."""

    text: str
    url: str


class Call(msgspec.Struct, frozen=True):
    """One method call of the Bot API."""

    method: str
    params: dict[str, Any]

    def body(self) -> bytes:
        """The call as the body of a webhook response (https://core.telegram.org/bots/api#making-requests-when-getting-updates)."""
        return orjson.dumps({"method": self.method, **self.params})

    @staticmethod
    def of(body: bytes) -> Call:
        """The call that `body` made these bytes of."""
        params = orjson.loads(body)
        return Call(params.pop("method"), params)


class Reply(msgspec.Struct, frozen=True):
    """The calls that answer an update: the first rides on the webhook's response, the rest are sent after it.

    The first is kept with the claim and repeated when the update comes again; the rest may be lost in a crash, so
    what must be told goes first or is found again from rows.
    """

    calls: tuple[Call, ...] = ()

    def body(self) -> bytes:
        return self.calls[0].body() if self.calls else b""

    def and_(self, other: Reply) -> Reply:
        return Reply(self.calls + other.calls)


NOTHING = Reply()


def send(chat_id: int | None, text: str, **params: Any) -> Reply:
    """A message. `reply_markup` and others by their Bot API names."""
    return Reply((Call("sendMessage", {"chat_id": chat_id, "text": text, **params}),))


def units(text: str) -> int:
    """The length as Telegram counts it, in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def beginning(text: str, most: int = TEXT_MAX) -> str:
    """As much of it as fits into so many UTF-16 units; half a character is dropped."""
    return text.encode("utf-16-le", "surrogatepass")[: 2 * most].decode("utf-16-le", "ignore")


def fitting(lines: Sequence[str]) -> str:
    """As many whole lines as one message takes."""
    kept, left = [], TEXT_MAX + 1  # the last line needs no end
    for line in lines:
        left -= units(line) + 1
        if left < 0:
            break
        kept.append(line)
    return "\n".join(kept)


def edit(chat_id: int, message_id: int, text: str, **params: Any) -> Reply:
    """Another text in place of a message's."""
    return Reply((Call("editMessageText", {"chat_id": chat_id, "message_id": message_id, "text": text, **params}),))


def show(update: Update, text: str, rows: Sequence[Sequence[Button | Link]] = ()) -> Reply:
    """In place of the message whose button was pressed; a new message otherwise."""
    markup = inline_keyboard(rows)
    query = update.callback_query
    if query is None:
        return send(update.chat_id, text, reply_markup=markup)
    done = answer_callback(query.id)
    if query.message is None:  # so old that Telegram does not tell
        return send(update.chat_id, text, reply_markup=markup).and_(done)
    return edit(query.message.chat.id, query.message.message_id, text, reply_markup=markup).and_(done)


def answer_callback(callback_query_id: str, text: str | None = None) -> Reply:
    """Stop the button's spinner, with an optional toast (up to 200 characters)."""
    params = {"callback_query_id": callback_query_id}
    return Reply((Call("answerCallbackQuery", {**params, "text": text} if text else params),))


def answer_pre_checkout(query_id: str, error: str | None = None) -> Reply:
    """Let the person pay, or say why not."""
    params: dict[str, Any] = {"pre_checkout_query_id": query_id, "ok": error is None}
    return Reply((Call("answerPreCheckoutQuery", {**params, "error_message": error} if error else params),))


def inline_keyboard(rows: Sequence[Sequence[Button | Link]]) -> dict[str, Any]:
    """Buttons under a message."""
    return {"inline_keyboard": [[_inline(button) for button in row] for row in rows]}


def keyboard(rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Buttons in place of the phone's keyboard; pressing one sends its text."""
    return {"keyboard": [[{"text": text} for text in row] for row in rows], "resize_keyboard": True}


def _inline(button: Button | Link) -> dict[str, str]:
    text, does = button
    return {"text": text, "url" if isinstance(button, Link) else "callback_data": does}
