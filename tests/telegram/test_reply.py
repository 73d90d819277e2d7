"""Calls of the Bot API, as values and as bytes."""

from __future__ import annotations

import orjson
import pytest

from service.telegram import reply
from service.telegram.reply import NOTHING, Call, Link, Reply
from service.telegram.update import decode


def test_the_first_call_is_the_body_of_the_response() -> None:
    made = reply.send(5, "hi", reply_markup={"a": 1}).and_(reply.answer_callback("9", "ok"))
    assert orjson.loads(made.body()) == {
        "method": "sendMessage",
        "chat_id": 5,
        "text": "hi",
        "reply_markup": {"a": 1},
    }
    assert [call.method for call in made.calls] == ["sendMessage", "answerCallbackQuery"]


def test_nothing_is_an_empty_body() -> None:
    assert NOTHING.body() == b""
    assert NOTHING.and_(reply.edit(1, 2, "x")) == Reply(reply.edit(1, 2, "x").calls)


@pytest.mark.parametrize(
    "made",
    [
        reply.send(-7, "a\0🎉" * 1000),
        reply.edit(1, 2, "x", reply_markup=reply.inline_keyboard([[("Pay", "pay:1")], []])),
        reply.send(1, "x", reply_markup=reply.inline_keyboard([[Link("Pay", "https://t.me/$x"), ("Back", "back")]])),
        reply.answer_callback("1"),
        reply.answer_pre_checkout("1"),
        reply.answer_pre_checkout("1", "no"),
        reply.send(1, "x", reply_markup=reply.keyboard([["a", "b"]])),
    ],
    ids=lambda made: made.calls[0].method,
)
def test_a_call_is_read_back_from_its_bytes(made: Reply) -> None:
    assert Call.of(made.body()) == made.calls[0]


def test_a_checkout_is_refused_with_a_reason_and_granted_without() -> None:
    assert reply.answer_pre_checkout("1").calls[0].params == {"pre_checkout_query_id": "1", "ok": True}
    refused = {"pre_checkout_query_id": "1", "ok": False, "error_message": "no"}
    assert reply.answer_pre_checkout("1", "no").calls[0].params == refused


def test_a_toast_is_optional() -> None:
    assert reply.answer_callback("1").calls[0].params == {"callback_query_id": "1"}
    assert reply.answer_callback("1", "hi").calls[0].params == {"callback_query_id": "1", "text": "hi"}


def test_a_button_says_something_or_leads_somewhere() -> None:
    assert reply.inline_keyboard([[Link("Pay", "https://t.me/$x")], [("Back", "back")]]) == {
        "inline_keyboard": [[{"text": "Pay", "url": "https://t.me/$x"}], [{"text": "Back", "callback_data": "back"}]]
    }


def test_a_pressed_button_changes_its_message() -> None:
    pressed = {"id": "7", "from": {"id": 5}, "message": {"message_id": 3, "chat": {"id": -9}}, "data": "x"}
    made = reply.show(decode(orjson.dumps({"update_id": 1, "callback_query": pressed})), "Next", [[("A", "a")]])
    assert [call.method for call in made.calls] == ["editMessageText", "answerCallbackQuery"]
    assert (made.calls[0].params["chat_id"], made.calls[0].params["message_id"]) == (-9, 3)


def test_a_button_of_a_message_that_is_gone_is_answered_by_another() -> None:
    pressed = {"id": "7", "from": {"id": 5}, "data": "x"}
    made = reply.show(decode(orjson.dumps({"update_id": 1, "callback_query": pressed})), "Next")
    assert [(call.method, call.params.get("chat_id")) for call in made.calls] == [
        ("sendMessage", 5),
        ("answerCallbackQuery", None),
    ]


def test_what_was_said_is_answered_by_a_message() -> None:
    said = {"message_id": 3, "chat": {"id": -9}, "from": {"id": 5}, "text": "/x"}
    (call,) = reply.show(decode(orjson.dumps({"update_id": 1, "message": said})), "Next").calls
    assert (call.method, call.params["chat_id"]) == ("sendMessage", -9)


def test_a_message_takes_whole_lines_as_far_as_they_fit() -> None:
    assert reply.fitting(["a", "", "b"]) == "a\n\nb"
    assert reply.fitting(["x" * 4095, "y"]) == "x" * 4095
    assert reply.fitting(["🙂" * 2047, "y", "z"]) == "🙂" * 2047 + "\n" + "y", "as Telegram counts"
