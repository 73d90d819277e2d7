"""Something in a project, seen again, or taken out.

It knows what was kept of a result, also by an older bot; files are Telegram's, by the id that it gave.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from service.features.projects import repo, screen, texts
from service.features.projects.repo import Kept
from service.kernel.database import Database
from service.telegram import reply
from service.telegram.reply import Call, Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update

# What the file goes up as (https://core.telegram.org/bots/api#sendphoto).
PARAMETERS = {"sendPhoto": "photo", "sendDocument": "document"}
CAPTION_PROMPT_MAX = 200  # characters, within the 1024 of a caption

router = Router()


class Outputs(msgspec.Struct, frozen=True):
    """What was made: a text, a file, or both. `url` is what an older bot kept of a file."""

    text: str | None = None
    file_id: str | None = None
    method: Literal["sendPhoto", "sendDocument"] = "sendDocument"
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
    outputs = Outputs.of(kept.outputs)
    calls = [_file(ctx, kept, outputs)] if outputs.file_id else []
    text = (outputs.text or outputs.url or "").strip()
    if not (calls or text):
        text = ctx.say(texts.NOT_DELIVERED if outputs.name else texts.NOTHING_KEPT)
    return [*calls, *(call for piece in screen.pieces(text) for call in reply.send(ctx.chat_id, piece).calls)]


def _file(ctx: Context, kept: Kept, outputs: Outputs) -> Call:
    prompt, title = screen.short(kept.prompt or "", CAPTION_PROMPT_MAX), screen.title(ctx, kept.model_id)
    caption = f"{title}: {prompt}" if prompt else title
    params: dict[str, Any] = {"chat_id": ctx.chat_id, PARAMETERS[outputs.method]: outputs.file_id, "caption": caption}
    return Call(outputs.method, params)


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
