"""Something in a project, seen again: a text as it was, a file by Telegram's id of it; and taken out."""

from __future__ import annotations

from typing import Any

import pytest

from service.features.projects import screen
from service.telegram.client import InputFile
from tests.cast import FRIEND, PAYER
from tests.features.projects.shelf import CARD, PHOTO, TEXT, buttons, kept, project
from tests.payments.bot.shop import open_shop
from tests.serving import Served, pressed


async def shown(served: Served, raw: Any, outputs: Any, **columns: Any) -> Any:
    number = await kept(raw, await project(raw), outputs, **columns)
    status, body = await served.post(pressed(PAYER, f"project_result:{number}"))
    assert status == 200
    assert body["chat_id"] == PAYER.user_id
    assert buttons(body) == {"🗑 Remove from the project": f"project_forget:{number}"}
    return body


async def test_a_text(served: Served, raw: Any) -> None:
    body = await shown(served, raw, {"text": "<b>Once</b> {upon} a time."})
    assert (body["method"], body["text"]) == ("sendMessage", "<b>Once</b> {upon} a time.")
    assert "parse_mode" not in body


async def test_a_photo_by_its_id(served: Served, raw: Any) -> None:
    body = await shown(served, raw, PHOTO)
    assert (body["method"], body["photo"], body["caption"]) == ("sendPhoto", "photo-1", "Text card: a tale")


async def test_a_document_by_its_id(served: Served, raw: Any) -> None:
    body = await shown(served, raw, {"file_id": "doc-1", "method": "sendDocument", "name": "a.pdf"}, inputs="{}")
    assert (body["method"], body["document"], body["caption"]) == ("sendDocument", "doc-1", "Text card")


@pytest.mark.parametrize("kind", ["animation", "audio", "video", "voice", "sticker"])
async def test_any_other_file_by_its_id(served: Served, raw: Any, kind: str) -> None:
    body = await shown(served, raw, {"file_id": "id-1", "method": f"send{kind.title()}"})
    assert (body["method"], body[kind]) == (f"send{kind.title()}", "id-1")


async def test_a_file_with_a_text_under_it(served: Served, raw: Any) -> None:
    assert (await shown(served, raw, {**PHOTO, "text": "Be happy! " * 100}))["caption"] == ("Be happy! " * 100).strip()


async def test_a_file_that_was_never_delivered(served: Served, raw: Any) -> None:
    sentence = "This file has not reached Telegram."
    assert (await shown(served, raw, {"name": "card.png", "media_type": "image/png"}))["text"] == sentence
    assert (await shown(served, raw, {"name": "card.png", "text": "A card."}))["text"] == f"A card.\n\n{sentence}"


@pytest.mark.parametrize(
    "outputs", [None, {}, [], "text", 5, {"text": 5}, {"text": "  "}, {"file_id": "x", "method": "banChatMember"}]
)
async def test_where_nothing_was_kept(served: Served, raw: Any, outputs: Any) -> None:
    assert (await shown(served, raw, outputs))["text"] == "Nothing was kept of this result."


@pytest.mark.parametrize("text", ["x" * 4096, "x" * 4097, "🐈" * 2049, "x" + "🐈" * 5000, "line\n" * 2000])
def test_a_long_text_comes_in_pieces(text: str) -> None:
    pieces = list(screen.pieces(text))
    assert "".join(pieces) == text
    assert all(len(piece.encode("utf-16-le")) <= 2 * 4096 for piece in pieces)
    assert len(pieces) == -(-len(text.encode("utf-16-le")) // 8192)


async def test_it_is_taken_out_once(served: Served, raw: Any) -> None:
    number = await project(raw, "Коты", FRIEND.user_id)
    await project(raw, "Псы", FRIEND.user_id)
    gone, stays = await kept(raw, number), await kept(raw, number)
    _, told = await served.post(pressed(FRIEND, f"project_forget:{gone}"))
    assert (told["method"], told["text"]) == ("answerCallbackQuery", "Убрано из проекта «Коты».")
    _, told = await served.post(pressed(FRIEND, f"project_forget:{gone}"))
    assert told["text"] == "Этого в ваших проектах больше нет."
    assert await raw.fetchval("SELECT array_agg(id) FROM project_history") == [stays]
    assert next(iter(buttons(await served.says(FRIEND, "/projects")))) == "Коты · 1 результат", "it changed last"


async def test_a_file_with_a_text_that_is_too_long_for_it(database_url: str, raw: Any) -> None:
    async with open_shop(database_url) as shop:
        payer = shop.payer
        await payer.says("/start")
        file = InputFile("a.txt", "text/plain", b"text")
        answer = await shop.served.operations.bot.call("sendDocument", {"chat_id": payer.id, "document": file})
        file_id = answer["document"]["file_id"]
        number = await project(raw, "Tales", payer.id)
        await kept(raw, number, {"text": "🐈" * 513, "file_id": file_id, "method": "sendDocument", "name": "a.txt"})
        await payer.says("/projects")
        await payer.presses("Tales · 1 result")
        await payer.hears("Press a number")
        await payer.presses("1")
        heard = await payer.hears("🐈")
        assert [button["text"] for button in heard.buttons] == ["🗑 Remove from the project"]
        assert heard.text == "🐈" * 513
        again = [message.wire for message in payer.chat if "document" in message.wire][-1]
        assert (again["document"]["file_id"], again["caption"]) == (file_id, "text-card: a tale")
        assert "reply_markup" not in again


async def test_in_the_chat(database_url: str, raw: Any) -> None:
    """The list stays, the result comes below it; when it is taken out, its message stays and loses its button."""
    async with open_shop(database_url) as shop:
        payer = shop.payer
        number = await project(raw, "Tales", payer.id)
        await kept(raw, number, {"text": "x" * 4096 + "The end."})
        await payer.says("/projects")
        await payer.presses("Tales · 1 result")
        await payer.hears("Press a number")
        await payer.presses("1")
        end = await payer.hears("The end.")
        assert [message.text[:5] for message in payer.chat if message.from_bot] == ["💼 Tal", "xxxxx", "The e"]
        assert CARD.id in payer.chat[-3].text, "this catalogue knows no such model"
        await payer.presses("🗑 Remove from the project")
        await shop.sandbox.wait_for(lambda call: call.method == "editMessageReplyMarkup", 5)
        assert (end.text, end.buttons) == ("The end.", [])
        assert payer.toasts[-1] == "Removed from “Tales”."
        assert TEXT["text"] not in end.text
