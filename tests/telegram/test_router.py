"""Which handler an update meets: the first match by command, text or callback data, else by kind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service.errors import FeatureOff
from service.feature import Rooms
from service.telegram.reply import NOTHING, Reply
from service.telegram.router import Context, Router, payload_of
from service.telegram.update import Update, decode
from service.text import Text
from tests.cast import PAYER
from tests.serving import message, pressed

BUTTON = Text(en="Balance", ru="Баланс")


async def handler(_ctx: Context, _update: Update) -> Reply:
    return NOTHING


def router() -> Router:
    made = Router()
    made.command("start")(handler)
    made.button(BUTTON, when_away="run")(handler)
    made.callback("pay", writes=True)(handler)
    made.kind("message")(handler)
    return made


def update_of(wire: dict[str, Any]) -> Update:
    return decode(json.dumps(wire).encode())


def said(text: str, **more: Any) -> Update:
    return update_of(message(PAYER, text, **more))


GROUP = {"chat": {"id": -7, "type": "group"}}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/start", "/start"),
        ("/START", "/start"),
        ("/start ref_42", "/start"),
        ("/start\nref_42", "/start"),
        ("/start@this_bot", "/start"),
        ("/start@THIS_BOT ref_42", "/start"),
        ("/start@another_bot", "message"),
        ("/started", "message"),
        ("/", "message"),
        ("/@this_bot", "message"),
        ("/ start", "message"),
        ("start", "message"),
        ("Balance", "Balance"),
        ("Баланс", "Balance"),
        ("balance", "message"),
        ("🎉", "message"),
        ("", "message"),
    ],
)
def test_a_message_by_its_text(text: str, name: str) -> None:
    route = router().match(said(text), "this_bot")
    assert route is not None
    assert route.name == name


def test_a_command_for_any_bot_is_ours_until_our_name_is_known() -> None:
    route = router().match(said("/start@some_bot"), None)
    assert route is not None
    assert route.name == "/start"


@pytest.mark.parametrize(
    ("data", "matched"), [("pay", True), ("pay:5:x", True), ("payout", False), ("", False), ("x:pay", False)]
)
def test_a_button_by_its_data(data: str, matched: bool) -> None:
    route = router().match(update_of(pressed(PAYER, data)))
    assert (route is not None) is matched


def test_in_a_group_only_what_is_meant_for_the_bot_has_a_route() -> None:
    assert router().match(said("hello all", **GROUP)) is None
    assert router().match(said("/start@another_bot", **GROUP), "this_bot") is None
    assert router().match(said("/start", **GROUP)) is not None


def test_an_unknown_kind_has_no_route() -> None:
    assert router().match(update_of({"update_id": 1, "poll": {}})) is None


def test_what_a_route_declares() -> None:
    routes = router().routes
    assert (routes["text", "Баланс"].when_away, routes["text", "Баланс"].writes) == ("run", False)
    assert (routes["callback", "pay"].when_away, routes["callback", "pay"].writes) == ("apologise", True)


def test_two_claims_to_one_match_are_refused() -> None:
    with pytest.raises(ValueError, match="start"):
        router().command("start")(handler)
    other = Router()
    other.callback("pay")(handler)
    with pytest.raises(ValueError, match="pay"):
        Router.merge([router(), other])


def test_merged_routers_keep_all_their_routes() -> None:
    other = Router()
    other.kind("money", when_away="retry")(handler)
    assert Router.merge([router(), other]).routes == router().routes | other.routes


async def test_switched_off_matches_the_same_and_apologises() -> None:
    made = router()
    made.kind("money", when_away="retry", writes=True)(handler)
    off = made.switched_off()
    assert off.routes.keys() == made.routes.keys()
    assert {route.when_away for route in off.routes.values()} == {"apologise", "retry"}
    assert not any(route.writes for route in off.routes.values())
    assert off.routes["kind", "money"].when_away == "retry", "money waits for the feature to come back"
    context = Context(Rooms({}), "en", 1, 1)
    for route in off.routes.values():
        with pytest.raises(FeatureOff):
            await route.handler(context, said("x"))
    assert made.routes["command", "start"].handler is handler, "the original is untouched"


@pytest.mark.parametrize(
    ("text", "payload"),
    [("/start ref_42", "ref_42"), ("/start", ""), ("/start  ref_42 ", "ref_42"), ("/start\nref_42", "ref_42")],
)
def test_the_payload_of_a_command(text: str, payload: str) -> None:
    assert payload_of(said(text)) == payload


def test_a_route_without_a_transaction_cannot_write() -> None:
    with pytest.raises(AssertionError, match="not declared to write"):
        _ = Context(Rooms({}), "en", 1, 1).transaction
