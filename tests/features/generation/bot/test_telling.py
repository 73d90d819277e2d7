"""What was made goes out in as many messages as Telegram wants, with the buttons under the last."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.feature import Menu
from service.features.generation.bot import telling
from service.features.generation.bot.telling import calls_of, kept_of, parts_of
from service.features.generation.providers.provider import File, Output
from service.features.generation.work import Result
from service.telegram.client import InputFile
from service.telegram.reply import Call
from service.text import Text

JOB = UUID("00000000-0000-0000-0000-000000000007")
MENU = Menu(under_result=((Text(en="Save", ru="Сохранить"), "save"),))
FILE = File("fox.png", "image/png", b"\x89PNG")
BUTTONS = {
    "inline_keyboard": [
        [
            {"text": "🔁 Repeat", "callback_data": f"again:{JOB}"},
            {"text": "Save", "callback_data": f"save:{JOB}"},
        ],
    ]
}


def result(output: Output | None = None, **fields: Any) -> Result:
    told = {"job_id": JOB, "user_id": 5, "chat_id": -7, "language": "en", "model_id": "fox", "price_rub": Decimal(0)}
    return Result(**{**told, "status": "success", "output": output, **fields})


def calls(output: Output | None = None, **fields: Any) -> list[Call]:
    return calls_of(result(output, **fields), "Fox", MENU)


def methods(made: list[Call]) -> list[str]:
    return [call.method for call in made]


def test_a_text() -> None:
    assert calls(Output("A fox")) == [
        Call("sendMessage", {"chat_id": -7, "text": "A fox", "reply_markup": BUTTONS}),
    ]


def test_a_long_text_has_its_buttons_at_the_end() -> None:
    made = calls(Output("word " * 2_000))
    assert methods(made) == ["sendMessage"] * 3
    assert ["reply_markup" in call.params for call in made] == [False, False, True]


def test_a_picture_with_a_caption() -> None:
    for text, caption in ((None, "🎨 Fox"), ("A fox", "A fox"), ("x" * 1_024, "x" * 1_024)):
        (call,) = calls(Output(text, FILE))
        photo = InputFile("fox.png", "image/png", FILE.body)
        told = {"chat_id": -7, "photo": photo, "caption": caption, "reply_markup": BUTTONS}
        assert call == Call("sendPhoto", told)


def test_what_is_too_long_for_a_caption_follows() -> None:
    made = calls(Output("🦊" * 513, FILE))
    assert methods(made) == ["sendPhoto", "sendMessage"]
    assert made[0].params.keys() == {"chat_id", "photo"}
    assert made[1].params["reply_markup"] == BUTTONS


@pytest.mark.parametrize(
    "file",
    [
        File("fox.gif", "image/gif", b"GIF8"),
        File("fox.svg", "image/svg+xml", b"<svg/>"),
        File("fox.mp4", "video/mp4", b"x"),
        File("fox.png", "image/png", b"x" * (10 * 1024 * 1024 + 1)),
    ],
    ids=lambda file: file.media_type,
)
def test_what_is_no_photo_is_a_document(file: File) -> None:
    (call,) = calls(Output(None, file))
    assert call.method == "sendDocument"
    assert call.params["document"] == InputFile(file.name, file.media_type, file.body)


def test_a_photo_that_is_refused_becomes_a_document() -> None:
    (photo,) = calls(Output(None, FILE))
    document = telling.as_document(photo)
    assert document.method == "sendDocument"
    assert document.params == {
        "chat_id": -7,
        "document": InputFile("fox.png", "image/png", FILE.body),
        "caption": "🎨 Fox",
        "reply_markup": BUTTONS,
    }


@pytest.mark.parametrize("output", [None, Output(), Output(" \n ")])
def test_nothing_is_not_sent(output: Output | None) -> None:
    assert calls(output) == []


def test_what_there_is_no_row_of_has_no_buttons() -> None:
    assert "reply_markup" not in calls(Output("A fox"), job_id=None)[0].params
    assert "reply_markup" not in calls(status="failed", job_id=None)[0].params


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": "failed"}, "😔 Fox: it did not work out. Try again later."),
        ({"status": "failed", "error_code": "odd"}, "😔 Fox: it did not work out. Try again later."),
        (
            {"status": "failed", "error_code": "refused"},
            "😔 Fox: it did not work out. The model refused this prompt. Put it differently.",
        ),
        (
            {"status": "timeout", "price_rub": Decimal("1.00")},
            "😔 Fox: it did not work out. It took too long. Try again later. You were not charged.",
        ),
        (
            {"status": "failed", "price_rub": Decimal("1.00"), "language": "ru"},
            "😔 Fox: не получилось. Попробуйте позже. Деньги не списаны.",
        ),
    ],
)
def test_what_did_not_work_out(fields: dict[str, Any], said: str) -> None:
    (call,) = calls(**fields)
    assert (call.method, call.params["text"]) == ("sendMessage", said)
    (row,) = call.params["reply_markup"]["inline_keyboard"]
    assert len(row) == 1, "there is nothing to save"


SENT = {
    "photo": ([{"file_id": "small"}, {"file_id": "large"}], "large", "sendPhoto"),
    "document": ({"file_id": "d"}, "d", "sendDocument"),
    "audio": ({"file_id": "a"}, "a", "sendAudio"),
}


@pytest.mark.parametrize("kind", SENT)
def test_what_is_kept_of_a_file(kind: str) -> None:
    sent, file_id, method = SENT[kind]
    kept = {"name": "fox.png", "media_type": "image/png", "file_id": file_id, "method": method}
    assert kept_of(Output(None, FILE), {"message_id": 1, kind: sent}) == kept
    assert kept_of(Output("A fox", FILE), {"message_id": 1, kind: sent}) == {"text": "A fox", **kept}


def test_an_animation_is_no_document() -> None:
    answer = {"document": {"file_id": "x"}, "animation": {"file_id": "x"}}
    assert kept_of(Output(None, FILE), answer)["method"] == "sendAnimation"


def test_what_is_kept_of_a_text() -> None:
    assert kept_of(Output("A\0 fox"), {"message_id": 1, "text": "A fox"}) == {"text": "A fox"}, "as a table holds it"


def test_a_file_of_which_telegram_does_not_tell() -> None:
    assert kept_of(Output(None, FILE), {"message_id": 1}) == {"name": "fox.png", "media_type": "image/png"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("one two", ["one two"]),
        ("one two three", ["one two", "three"]),
        ("one\n\ntwo\nthree", ["one\n\ntwo", "three"]),
        ("eight ch\n\nnext", ["eight ch", "next"]),
        ("elevenchars", ["elevenchar", "s"]),
        ("🦊🦊🦊🦊🦊🦊", ["🦊🦊🦊🦊🦊", "🦊"]),
        ("x🦊🦊🦊🦊🦊", ["x🦊🦊🦊🦊", "🦊"]),
    ],
)
def test_a_text_is_cut_where_it_hurts_least(text: str, parts: list[str]) -> None:
    assert list(parts_of(text, 10)) == parts


@given(st.text(alphabet=st.sampled_from("ab \n🦊я"), max_size=200))
def test_nothing_is_lost_but_space(text: str) -> None:
    parts = list(parts_of(text, 12))
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part.strip() and len(part.encode("utf-16-le")) <= 24 for part in parts)
