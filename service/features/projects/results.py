"""Something in a project, seen again, or taken out.

It knows what was kept of a result, also by an older bot; files are Telegram's, by the id that it gave.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from service.features.projects import repo, screen, texts
from service.features.projects.repo import Kept
from service.kernel.database import Database
from service.telegram import reply
from service.telegram.reply import Call, Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update

# How a file is sent again by its id, which is the parameter of that name: sendPhoto takes a photo.
Method = Literal[
    "sendPhoto", "sendDocument", "sendAnimation", "sendAudio", "sendVideo", "sendVoice", "sendSticker"
]  # fmt: skip
CAPTION_MAX = 1024  # UTF-16 units (https://core.telegram.org/bots/api#sendphoto)
PROMPT_MAX = 200  # characters of it in a caption

router = Router()


class Outputs(msgspec.Struct, frozen=True):
    """What was made: a text, a file, or both. `url` is what an older bot kept of a file."""

    text: str | None = None
    file_id: str | None = None
    method: Method = "sendDocument"
    name: str | None = None
    url: str | None = None

    @staticmethod
    def of(stored: str | None) -> Outputs:
        """Whatever else somebody once stored there is nothing that can be shown."""
        try:
            return msgspec.json.decode(stored or "{}", type=Outputs)
        except msgspec.ValidationError:
            return Outputs()


@router.callback("project_result")
async def show_result(ctx: Context, update: Update) -> Reply:
    """As a message of its own: the list stays where it is."""
    async with ctx.of(Database).acquire() as conn:
        kept = await repo.get_result(conn, result_id=screen.number_of(update), user_id=ctx.user_id)
    if kept is None:
        return screen.toast(ctx, update, texts.NO_SUCH_RESULT)
    *first, last = _messages(ctx, kept)
    remove = reply.inline_keyboard([[(ctx.say(texts.REMOVE), f"project_forget:{kept.id}")]])
    last = Call(last.method, {**last.params, "reply_markup": remove})
    return Reply((*first, last)).and_(screen.done(update))


def _messages(ctx: Context, kept: Kept) -> list[Call]:
    """The file with the text under it, where that is short enough; the text in as many messages as it takes."""
    outputs = Outputs.of(kept.outputs)
    text, calls = (outputs.text or outputs.url or "").strip(), []
    if outputs.file_id:
        fits = bool(text) and reply.units(text) <= CAPTION_MAX
        caption, text = (text, "") if fits else (_caption(ctx, kept), text)
        sent = {outputs.method.removeprefix("send").lower(): outputs.file_id, "caption": caption}
        calls.append(Call(outputs.method, {"chat_id": ctx.chat_id, **sent}))
    elif outputs.name:
        text = "\n\n".join(filter(None, (text, ctx.say(texts.NOT_DELIVERED))))
    text = text if text or calls else ctx.say(texts.NOTHING_KEPT)
    return [*calls, *(call for piece in screen.pieces(text) for call in reply.send(ctx.chat_id, piece).calls)]


def _caption(ctx: Context, kept: Kept) -> str:
    """`Text card: happy birthday`."""
    prompt, title = screen.short(kept.prompt or "", PROMPT_MAX), screen.title(ctx, kept.model_id)
    return f"{title}: {prompt}" if prompt else title


@router.callback("project_forget", writes=True)
async def remove_result(ctx: Context, update: Update) -> Reply:
    """The message stays, for it is the person's; its button goes."""
    name = await repo.remove_result(ctx.transaction, result_id=screen.number_of(update), user_id=ctx.user_id)
    if name is None:
        return screen.toast(ctx, update, texts.NO_SUCH_RESULT)
    told = screen.toast(ctx, update, texts.REMOVED, name=screen.name(ctx, name))
    query = update.callback_query
    if query is None or query.message is None:
        return told
    place = {"chat_id": query.message.chat.id, "message_id": query.message.message_id}
    return told.and_(Reply((Call("editMessageReplyMarkup", place),)))
