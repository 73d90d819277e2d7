"""What is sent to a person when his order has ended, as calls of the Bot API. Pure.

It knows Telegram's limits on messages and files; it knows nothing of how they are sent, or of the queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from service.catalog import Catalog
from service.feature import Menu
from service.features.generation.bot import texts
from service.features.generation.providers.provider import File, Output
from service.features.generation.work import Result
from service.telegram import reply
from service.telegram.client import InputFile
from service.telegram.reply import Button, Call
from service.text import Language, storable

# https://core.telegram.org/bots/api#sendphoto; counted in UTF-16 code units, as texts are
CAPTION_MAX = 1_024
PHOTO_MAX = 10 * 1024 * 1024  # bytes
SHOWN_AS_PHOTO = frozenset({"image/png", "image/jpeg", "image/webp"})  # a GIF would stand still
# Where a part of a long text ends, the best place first.
SEAMS = ("\n\n", "\n", " ")
# How a message carries a file, and by which method its id is sent again. An animation says that it is a document too.
METHODS = {
    "photo": "sendPhoto",
    "animation": "sendAnimation",
    "audio": "sendAudio",
    "video": "sendVideo",
    "voice": "sendVoice",
    "sticker": "sendSticker",
    "document": "sendDocument",
}


def title_of(catalog: Catalog, model_id: str, language: Language) -> str:
    """Of a model that may be gone from the catalogue: then its id."""
    model = catalog.model(model_id)
    return model.title.in_(language) if model else model_id


def calls_of(result: Result, title: str, menu: Menu) -> list[Call]:
    """What was made, in as many messages as it needs, the buttons under the last; or a sentence that says why not."""
    if result.status != "success":
        return [_message(result.chat_id, _regret(result, title), markup_of(result, menu))]
    calls = list(_made(result, result.output or Output(), title))
    markup = markup_of(result, menu)
    return [*calls[:-1], *(Call(one.method, {**one.params, **markup}) for one in calls[-1:])]


def markup_of(result: Result, menu: Menu) -> dict[str, Any]:
    """The buttons, as a parameter of the call. What there is no row of can be neither repeated nor saved."""
    if result.job_id is None:
        return {}
    buttons: list[Button] = [again_button(result.job_id, result.language)]
    if result.status == "success":
        buttons += [(text.in_(result.language), f"{word}:{result.job_id}") for text, word in menu.under_result]
    return {"reply_markup": reply.inline_keyboard([buttons])}


def again_button(job_id: UUID, language: Language) -> Button:
    return texts.AGAIN.in_(language), f"again:{job_id}"


def as_document(call: Call) -> Call:
    """A picture that Telegram does not take as a photo."""
    params = {name: value for name, value in call.params.items() if name != "photo"}
    return Call("sendDocument", {**params, "document": call.params["photo"]})


def kept_of(output: Output, answer: Any) -> dict[str, object]:
    """What is to be kept of what was made: text, and Telegram's id of the file from its answer to the file's call."""
    kept: dict[str, object] = {} if output.text is None else {"text": storable(output.text)}
    if output.file is None:
        return kept
    kept |= {"name": storable(output.file.name), "media_type": output.file.media_type}
    kind = next((kind for kind in METHODS if kind in answer), None)
    if kind is None:
        return kept
    sizes = answer[kind]
    return kept | {"file_id": (sizes[-1] if kind == "photo" else sizes)["file_id"], "method": METHODS[kind]}


def parts_of(text: str, most: int = reply.TEXT_MAX) -> Iterator[str]:
    """A text in parts that Telegram takes, cut between paragraphs, lines or words where there are any."""
    left = text.strip()
    while reply.units(left) > most:
        fitting = reply.beginning(left, most)
        cut = next((at for at in map(fitting.rfind, SEAMS) if at > len(fitting) // 2), len(fitting))
        yield left[:cut].rstrip()
        left = left[cut:].lstrip()
    if left:
        yield left


def _made(result: Result, output: Output, title: str) -> Iterator[Call]:
    text = (output.text or "").strip()
    if output.file is not None:
        caption = text or texts.RESULT.in_(result.language, title=title)
        fits = reply.units(caption) <= CAPTION_MAX
        yield _file(result.chat_id, output.file, {"caption": caption} if fits else {})
        text = "" if fits else text
    for part in parts_of(text):
        yield _message(result.chat_id, part, {})


def _file(chat_id: int, file: File, caption: dict[str, Any]) -> Call:
    sent = InputFile(file.name, file.media_type, file.body)
    if file.media_type in SHOWN_AS_PHOTO and len(file.body) <= PHOTO_MAX:
        return Call("sendPhoto", {"chat_id": chat_id, "photo": sent, **caption})
    return Call("sendDocument", {"chat_id": chat_id, "document": sent, **caption})


def _message(chat_id: int, text: str, markup: dict[str, Any]) -> Call:
    return Call("sendMessage", {"chat_id": chat_id, "text": text, **markup})


def _regret(result: Result, title: str) -> str:
    reason = texts.REASONS.get("timeout" if result.status == "timeout" else result.error_code or "", texts.TRY_LATER)
    said = texts.FAILED.in_(result.language, title=title, reason=reason.in_(result.language))
    return f"{said} {texts.NOT_CHARGED.in_(result.language)}" if result.price_rub else said
