"""Whatever the body, decoding ends in an Update, in Invalid or in Undecodable, and in nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import Invalid
from service.telegram.update import ALLOWED_UPDATES, Undecodable, Update, decode
from tests.cast import FRIEND, PAYER
from tests.serving import message, pressed

SAMPLES = Path(__file__).parents[1] / "data" / "telegram"
SENDER = {"id": 1, "first_name": "A"}
TEXTS = {"message_id": 1, "from": SENDER, "chat": {"id": 1, "type": "private"}, "text": "hi"}

# Words that mean something to the decoder, so that random JSON gets past its first field.
WORDS = (
    *("update_id", "message", "callback_query", "my_chat_member", "pre_checkout_query", "from", "chat", "id", "text"),
    *("data", "type", "is_bot", "username", "language_code", "message_id", "successful_payment", "new_chat_member"),
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(("private", "member"))
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=6),
    max_leaves=40,
)
almost = st.fixed_dictionaries({"update_id": st.integers() | junk}, optional=dict.fromkeys(ALLOWED_UPDATES, junk))
person = st.fixed_dictionaries({"id": st.integers(0, 2**52)}, optional={"is_bot": st.booleans(), "username": junk})
chat = st.fixed_dictionaries({"id": st.integers(-(2**52), 2**52)}, optional={"type": junk})
spoken = st.fixed_dictionaries(
    {"message_id": st.integers(0, 2**31), "chat": chat | junk},
    optional={"from": person, "text": junk, "successful_payment": junk, "refunded_payment": junk, "photo": junk},
)
likely = st.fixed_dictionaries({"update_id": st.integers(0, 2**62), "message": spoken}, optional={"poll": junk})


def written(value: Any) -> bytes:
    return json.dumps(value).encode()


def outcome(body: bytes) -> Update | None:
    try:
        return decode(body)
    except Invalid:
        return None


def look_at_everything(update: Update) -> None:
    assert update.kind in (*ALLOWED_UPDATES, "group_message", "money", "unknown")
    assert update.sender is None or not update.sender.is_bot
    assert isinstance(update.text + update.data, str)
    assert update.chat_id is None or -(2**63) <= update.chat_id < 2**63
    assert isinstance(update.in_private, bool)


@settings(deadline=None, max_examples=300)
@given(junk | almost | likely)
def test_any_json_is_an_update_or_refused(value: Any) -> None:
    if (update := outcome(written(value))) is not None:
        look_at_everything(update)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_update_or_refused(body: bytes) -> None:
    assert outcome(body) is None or b"update_id" in body


@settings(deadline=None, max_examples=200)
@given(likely, st.data())
def test_a_body_cut_or_spoilt_anywhere_is_an_update_or_refused(value: Any, data: st.DataObject) -> None:
    body = bytearray(written(value))
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] = data.draw(st.integers(0, 255))
    outcome(bytes(body))
    assert outcome(bytes(body[:place])) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"update_id"',
        b'{"update_id": "1"}',
        b'{"update_id": null}',
        b'{"update_id": 1e400}',
        b'{"update_id": 123456789012345678901234567890}',
        b'{"update_id": 9223372036854775808}',
        b'\xff\xfe{"update_id": 1}',
        b"[" * 500_000,
        b'{"update_id": 1, "poll": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"update_id": 1} {"update_id": 2}',
    ],
    ids=lambda body: body[:40].decode(errors="replace"),
)
def test_no_update(body: bytes) -> None:
    with pytest.raises(Invalid) as raised:
        decode(body)
    assert not isinstance(raised.value, Undecodable)


@pytest.mark.parametrize(
    "inside",
    [
        {"message": 1},
        {"message": {}},
        {"message": {**TEXTS, "chat": None}},
        {"message": {**TEXTS, "from": {"id": "1"}}},
        {"message": {**TEXTS, "from": {"id": 2**63}}},
        {"message": {**TEXTS, "chat": {"id": -(2**63) - 1}}},
        {"message": {**TEXTS, "text": ["hi"]}},
        {"callback_query": {"id": "1"}},
        {"my_chat_member": {"chat": {"id": 1}}},
        {"pre_checkout_query": {"id": 5, "from": SENDER}},
    ],
)
def test_known_kind_in_an_unknown_shape_still_has_its_number(inside: dict[str, Any]) -> None:
    with pytest.raises(Undecodable) as raised:
        decode(written({"update_id": 7, **inside}))
    assert raised.value.update_id == 7
    assert not raised.value.may_be_money


def test_text_that_is_no_utf8_still_has_its_number() -> None:
    body = written({"update_id": 7, "message": TEXTS}).replace(b'"hi"', b'"\xff"')
    with pytest.raises(Undecodable) as raised:
        decode(body)
    assert raised.value.update_id == 7


@pytest.mark.parametrize("key", ["successful_payment", "refunded_payment"])
def test_what_is_not_understood_may_be_money(key: str) -> None:
    with pytest.raises(Undecodable) as raised:
        decode(written({"update_id": 7, "message": {key: {"currency": "XTR"}}}))
    assert raised.value.may_be_money
    with pytest.raises(Undecodable) as raised:
        decode(written({"update_id": 7, "message": {**TEXTS, "chat": None, "text": f'"{key}": 1'}}))
    assert not raised.value.may_be_money


def test_unknown_kinds_and_fields_are_ignored() -> None:
    poll = decode(written({"update_id": 1, "poll": {"id": "x"}, "subscription": {"state": "active"}}))
    assert (poll.kind, poll.sender, poll.chat_id) == ("unknown", None, None)
    odd = decode(written({"update_id": 1, "message": {**TEXTS, "gift": {"a": [1]}, "text": "a\0b🎉"}}))
    assert (odd.kind, odd.text) == ("message", "a\0b🎉")


def test_of_duplicate_keys_the_last_counts() -> None:
    assert decode(b'{"update_id": 1, "update_id": 2}').update_id == 2


def test_null_is_absent() -> None:
    update = decode(written({"update_id": 1, "message": {**TEXTS, "successful_payment": None}, "callback_query": None}))
    assert update.kind == "message"


@pytest.mark.parametrize("person", [PAYER, FRIEND])
def test_who_and_where(person: Any) -> None:
    said, tapped = decode(written(message(person, "hi"))), decode(written(pressed(person, "a:b")))
    assert (said.kind, said.chat_id, said.text, said.in_private) == ("message", person.user_id, "hi", True)
    assert (tapped.kind, tapped.chat_id, tapped.data, tapped.in_private) == (
        *("callback_query", person.user_id, "a:b"),
        True,
    )
    assert said.sender == tapped.sender
    assert said.sender is not None
    assert (said.sender.id, said.sender.username) == (person.user_id, person.username)
    assert said.sender.language == ("ru" if person is FRIEND else "en")


def test_a_bot_is_nobody_and_a_group_is_not_private() -> None:
    group = {**TEXTS, "from": {**SENDER, "is_bot": True}, "chat": {"id": -5, "type": "supergroup"}}
    update = decode(written({"update_id": 1, "message": group}))
    assert (update.kind, update.sender, update.chat_id, update.in_private) == ("group_message", None, -5, False)


def test_a_button_of_an_inline_message_has_no_chat() -> None:
    query = {"id": "1", "from": SENDER, "inline_message_id": "x", "data": "d"}
    update = decode(written({"update_id": 1, "callback_query": query}))
    assert (update.chat, update.chat_id, update.in_private) == (None, 1, False)


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_samples_of_others(path: Path) -> None:
    body = json.loads(path.read_text())
    if "message_id" in body:
        body = {"update_id": 1, "message": body}
    elif "update_id" not in body:
        body = {"update_id": 1, "message": {**TEXTS, path.stem.split(".")[1].removesuffix("_de_json"): body}}
    update = decode(written(body))
    assert update.kind == ("pre_checkout_query" if "pre_checkout_query" in body else "money")
    look_at_everything(update)


def test_the_samples_are_there() -> None:
    assert len(list(SAMPLES.glob("*.json"))) == 8
