"""Stripe's API, and its refusals."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

import pytest
import stripe

from service.sandbox.processors import NotPayable
from tests.sandbox.processors.shop import ACCOUNTS, SESSION, Shop

SESSIONS = "/v1/checkout/sessions"
BOUGHT = ["checkout.session.completed", "payment_intent.succeeded", "charge.succeeded"]
REFUNDED = ["refund.created", "charge.refunded", "refund.updated"]


async def paid(shop: Shop) -> dict[str, Any]:
    session = await shop.stripe("POST", SESSIONS, SESSION)
    return shop.processors.stripe.pay(session["id"])


def told(shop: Shop, event: str) -> dict[str, Any]:
    """The newest event of this name."""
    found = [callback.json for callback in shop.processors.callbacks if callback.event == event]
    return dict(found[-1])


async def test_a_session_is_created_paid_and_told_three_times(shop: Shop) -> None:
    created = await shop.stripe("POST", SESSIONS, SESSION)
    session_id = created["id"]
    assert re.fullmatch(r"cs_test_a1[0-9A-Za-z]{56}", session_id)
    assert created["url"] == f"{shop.sandbox}/pay/stripe/{session_id}"
    assert (created["status"], created["payment_status"], created["payment_intent"]) == ("open", "unpaid", None)
    assert (created["amount_total"], created["currency"], created["livemode"]) == (1000, "usd", False)
    assert (created["metadata"], created["client_reference_id"]) == ({"payment_id": "one"}, "one")
    assert created["expires_at"] == created["created"] + 24 * 3600

    shop.processors.stripe.pay(session_id)
    assert await shop.events() == BOUGHT
    session = await shop.stripe("GET", f"{SESSIONS}/{session_id}")
    intent = await shop.stripe("GET", f"/v1/payment_intents/{session['payment_intent']}")
    charge = await shop.stripe("GET", f"/v1/charges/{intent['latest_charge']}")
    assert (session["status"], session["payment_status"], session["url"]) == ("complete", "paid", None)
    assert (intent["status"], intent["amount_received"], intent["metadata"]) == (
        "succeeded",
        1000,
        {"payment_id": "one"},
    )
    assert (charge["amount"], charge["refunded"], charge["payment_intent"]) == (1000, False, intent["id"])
    events = [callback.json for callback in shop.processors.callbacks]
    assert [event["data"]["object"] for event in events] == [session.body, intent.body, charge.body]
    assert len({event["id"] for event in events}) == 3
    assert {event["livemode"] for event in events} == {False}
    with pytest.raises(NotPayable):
        shop.processors.stripe.pay(session_id)


async def test_the_metadata_of_a_session_is_not_the_payment_intents(shop: Shop) -> None:
    only_its_own = {name: text for name, text in SESSION.items() if not name.startswith("payment_intent_data")}
    session = await shop.stripe("POST", SESSIONS, only_its_own)
    shop.processors.stripe.pay(session["id"])
    await shop.events()
    assert told(shop, "payment_intent.succeeded")["data"]["object"]["metadata"] == {}


async def test_callbacks_are_signed_as_the_library_wants_it(shop: Shop) -> None:
    shop.clock.now = time.time()
    await paid(shop)
    await shop.processors.settled()
    for got in shop.got:
        event = stripe.Webhook.construct_event(
            got.body, got.headers["Stripe-Signature"], ACCOUNTS.stripe.webhook_secret
        )
        assert event.id in shop.processors.stripe.events
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(
                got.body + b" ", got.headers["Stripe-Signature"], "whsec_the-endpoint's-secret"
            )


async def test_any_body_can_be_signed(shop: Shop) -> None:
    at = shop.processors.stripe.signed(b'{"id":"evt_1"}', at=1614265330.9)["Stripe-Signature"]
    expected = stripe.WebhookSignature.generate_signature_header(
        '{"id":"evt_1"}', ACCOUNTS.stripe.webhook_secret, 1614265330
    )
    assert at == expected


async def test_the_library_itself_is_served(shop: Shop) -> None:
    """The vendor's client makes, finds and refunds a payment."""
    api = stripe.StripeClient(
        ACCOUNTS.stripe.secret_key, base_addresses={"api": f"{shop.sandbox}/stripe"}, http_client=stripe.AIOHTTPClient()
    )
    price = {"currency": "eur", "unit_amount": 500, "product_data": {"name": "Top-up"}}
    items: Any = [{"price_data": price, "quantity": 2}]
    asked: Any = {"mode": "payment", "line_items": items, "success_url": "https://t.me/a_bot", "metadata": {"a": "b"}}
    session = await api.v1.checkout.sessions.create_async(asked, {"idempotency_key": "k"})
    assert (session.amount_total, session.currency, session.metadata["a"]) == (1000, "eur", "b")
    shop.processors.stripe.pay(session.id)
    found = await api.v1.checkout.sessions.retrieve_async(session.id)
    refund = await api.v1.refunds.create_async({"payment_intent": str(found.payment_intent), "amount": 1})
    assert (refund.status, refund.amount) == ("succeeded", 1)
    events = await api.v1.events.list_async({"types": ["charge.refunded", "refund.created"], "created": {"gte": 1}})
    assert {event.type for event in events.data} == {"charge.refunded", "refund.created"}
    with pytest.raises(stripe.InvalidRequestError, match="No such checkout"):
        await api.v1.checkout.sessions.retrieve_async("cs_test_unknown")
    with pytest.raises(stripe.IdempotencyError):
        await api.v1.checkout.sessions.create_async({**asked, "metadata": {}}, {"idempotency_key": "k"})


async def test_refunds_sum_up_to_the_charge_and_no_further(shop: Shop) -> None:
    intent = (await paid(shop))["payment_intent"]
    first = await shop.stripe("POST", "/v1/refunds", {"payment_intent": intent, "amount": "400", "metadata[id]": "r"})
    assert (first["status"], first["amount"], first["metadata"]) == ("succeeded", 400, {"id": "r"})
    assert (await shop.events()) == BOUGHT + REFUNDED
    charge = told(shop, "charge.refunded")
    assert (charge["data"]["object"]["amount_refunded"], charge["data"]["object"]["refunded"]) == (400, False)
    assert charge["data"]["previous_attributes"] == {"amount_refunded": 0, "refunded": False}
    assert {told(shop, name)["data"]["object"]["id"] for name in ("refund.created", "refund.updated")} == {first["id"]}
    too_much = await shop.stripe("POST", "/v1/refunds", {"payment_intent": intent, "amount": "601"})
    assert (too_much.status, too_much["error"]["param"]) == (400, "amount")
    rest = await shop.stripe("POST", "/v1/refunds", {"charge": first["charge"]})
    assert rest["amount"] == 600
    again = await shop.stripe("POST", "/v1/refunds", {"payment_intent": intent})
    assert (again.status, again["error"]["code"]) == (400, "charge_already_refunded")
    listed = await shop.stripe("GET", f"/v1/refunds?payment_intent={intent}")
    assert [one["id"] for one in listed["data"]] == [rest["id"], first["id"]]
    assert (await shop.stripe("GET", f"/v1/refunds/{first['id']}"))["id"] == first["id"]


async def test_a_refund_may_fail_later(shop: Shop) -> None:
    intent = (await paid(shop))["payment_intent"]
    refund = await shop.stripe("POST", "/v1/refunds", {"payment_intent": intent})
    shop.processors.stripe.fail_refund(refund["id"])
    assert (await shop.events())[-2:] == ["refund.updated", "refund.failed"]
    assert told(shop, "refund.failed")["data"]["object"]["status"] == "failed"
    charge = shop.processors.stripe.charges[refund["charge"]]
    assert (charge["amount_refunded"], charge["refunded"]) == (0, False)


async def test_a_dispute_takes_money_and_gives_it_back(shop: Shop) -> None:
    session = await paid(shop)
    dispute = shop.processors.stripe.dispute(session["payment_intent"], 700)
    assert (dispute["amount"], dispute["status"]) == (700, "needs_response")
    refused = await shop.stripe("POST", "/v1/refunds", {"payment_intent": session["payment_intent"]})
    assert refused["error"]["code"] == "charge_disputed"
    shop.processors.stripe.withdraw(dispute["id"])
    shop.processors.stripe.reinstate(dispute["id"])
    shop.processors.stripe.close(dispute["id"], "won")
    names = ("created", "funds_withdrawn", "funds_reinstated", "closed")
    assert (await shop.events())[3:] == [f"charge.dispute.{name}" for name in names]
    fetched = await shop.stripe("GET", f"/v1/disputes/{dispute['id']}")
    assert [one["amount"] for one in fetched["balance_transactions"]] == [-700, 700]
    assert fetched["status"] == "won"


async def test_a_session_expires(shop: Shop) -> None:
    one, two, three = [(await shop.stripe("POST", SESSIONS, SESSION))["id"] for _ in range(3)]
    assert (await shop.stripe("POST", f"{SESSIONS}/{one}/expire"))["status"] == "expired"
    assert (await shop.stripe("POST", f"{SESSIONS}/{one}/expire")).status == 400
    assert shop.processors.stripe.cancel(two)["status"] == "expired"
    shop.clock.now += 24 * 3600
    with pytest.raises(NotPayable):
        shop.processors.stripe.pay(three)
    assert await shop.events() == ["checkout.session.expired"] * 3


async def test_lists_come_in_pages(shop: Shop) -> None:
    ids = []
    for _ in range(12):
        shop.clock.now += 1
        ids.append((await shop.stripe("POST", SESSIONS, SESSION))["id"])
    first = await shop.stripe("GET", SESSIONS)
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (ids[:1:-1], True)
    second = await shop.stripe("GET", f"{SESSIONS}?starting_after={ids[2]}")
    assert ([one["id"] for one in second["data"]], second["has_more"]) == ([ids[1], ids[0]], False)
    late = await shop.stripe("GET", f"{SESSIONS}?created[gte]={int(shop.clock.now)}&limit=1")
    assert [one["id"] for one in late["data"]] == [ids[11]]
    before = await shop.stripe("GET", f"{SESSIONS}?ending_before={ids[9]}")
    assert [one["id"] for one in before["data"]] == [ids[11], ids[10]]
    nearest = await shop.stripe("GET", f"{SESSIONS}?ending_before={ids[9]}&limit=1")
    assert ([one["id"] for one in nearest["data"]], nearest["has_more"]) == ([ids[10]], True)
    for wrong in ("limit=0", "limit=101", "limit=x", "starting_after=unknown", "created[gte]=x"):
        assert (await shop.stripe("GET", f"{SESSIONS}?{wrong}")).status == 400


async def test_events_are_kept(shop: Shop) -> None:
    await paid(shop)
    await shop.processors.settled()
    both = await shop.stripe("GET", "/v1/events?types[]=charge.succeeded&types[]=payment_intent.succeeded")
    assert [one["type"] for one in both["data"]] == ["charge.succeeded", "payment_intent.succeeded"]
    await shop.stripe("POST", "/v1/refunds", {"charge": both["data"][0]["data"]["object"]["id"]})
    one = await shop.stripe("GET", "/v1/events?type=charge.succeeded")
    assert one["data"] == [json.loads(shop.processors.callbacks[2].body)]
    assert (await shop.stripe("GET", f"/v1/events/{one['data'][0]['id']}")).body == one["data"][0]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"mode": None}, "mode", "parameter_missing"),
        ({"mode": "subscription"}, "mode", None),
        ({"success_url": None}, "success_url", "parameter_missing"),
        ({"line_items[0][price_data][currency]": None}, "line_items[0][price_data][currency]", "parameter_missing"),
        ({"line_items[0][price_data][currency]": "xtr"}, "line_items[0][price_data][currency]", None),
        (
            {"line_items[0][price_data][unit_amount]": "10.00"},
            "line_items[0][price_data][unit_amount]",
            "parameter_invalid_integer",
        ),
        (
            {"line_items[0][price_data][unit_amount]": "-1"},
            "line_items[0][price_data][unit_amount]",
            "parameter_invalid_integer",
        ),
        (
            {"line_items[0][price_data][unit_amount]": "100000000"},
            "line_items[0][price_data][unit_amount]",
            "amount_too_large",
        ),
        ({"line_items[0][price_data][unit_amount]": "49"}, None, "amount_too_small"),
        ({"line_items[0][quantity]": "0"}, "line_items[0][quantity]", "parameter_invalid_integer"),
        (
            {"line_items[0][price_data][product_data][name]": ""},
            "line_items[0][price_data][product_data][name]",
            "parameter_missing",
        ),
        ({"amount": "1000"}, "amount", "parameter_unknown"),
        ({"client_reference_id": "x" * 201}, "client_reference_id", None),
        ({"metadata[key]": "x" * 501}, "metadata", None),
        ({f"metadata[{'k' * 41}]": ""}, "metadata", None),
        ({f"payment_intent_data[metadata][{'k' * 41}]": ""}, "payment_intent_data[metadata]", None),
        ({f"metadata[{key}]": "" for key in range(51)}, "metadata", None),
        ({"expires_at": "in"}, "expires_at", "parameter_invalid_integer"),
    ],
)
async def test_a_wrong_parameter_is_named(
    shop: Shop, change: dict[str, Any], param: str | None, code: str | None
) -> None:
    asked = {name: text for name, text in {**SESSION, **change}.items() if text is not None}
    refusal = await shop.stripe("POST", SESSIONS, asked)
    assert (refusal.status, refusal["error"]["type"]) == (400, "invalid_request_error")
    assert (refusal["error"].get("param"), refusal["error"].get("code")) == (param, code)
    assert shop.processors.stripe.sessions == {}


@pytest.mark.parametrize(("later_s", "status"), [(1799, 400), (1800, 200), (86_400, 200), (86_401, 400)])
async def test_a_session_lives_half_an_hour_to_a_day(shop: Shop, later_s: int, status: int) -> None:
    asked = {**SESSION, "expires_at": str(int(shop.clock.now) + later_s)}
    assert (await shop.stripe("POST", SESSIONS, asked)).status == status


async def test_a_key_answers_as_before_for_a_day(shop: Shop) -> None:
    first = await shop.stripe("POST", SESSIONS, SESSION, key="k")
    shop.processors.stripe.pay(first["id"])
    again = await shop.stripe("POST", SESSIONS, SESSION, key="k")
    assert (again.body, again.headers["Idempotent-Replayed"]) == (first.body, "true")
    other = await shop.stripe("POST", SESSIONS, {**SESSION, "client_reference_id": "two"}, key="k")
    assert (other.status, other["error"]["type"]) == (400, "idempotency_error")
    elsewhere = await shop.stripe("POST", "/v1/refunds", SESSION, key="k")
    assert (elsewhere.status, elsewhere["error"]["type"]) == (400, "idempotency_error")
    shop.clock.now += 86_400
    assert (await shop.stripe("POST", SESSIONS, SESSION, key="k"))["id"] != first["id"]
    assert (await shop.stripe("POST", SESSIONS, SESSION, key="k" * 256)).status == 400


async def test_an_event_names_the_request_that_caused_it(shop: Shop) -> None:
    intent = (await paid(shop))["payment_intent"]
    await shop.stripe("POST", "/v1/refunds", {"payment_intent": intent}, key="r")
    await shop.processors.settled()
    assert told(shop, "refund.created")["request"]["idempotency_key"] == "r"
    assert told(shop, "charge.succeeded")["request"] == {"id": None, "idempotency_key": None}


@pytest.mark.parametrize("given", [None, "Bearer sk_test_other", "Bearer", "Basic ???", "Digest x", "Bearer ключ"])
async def test_strangers_are_refused(shop: Shop, given: str | None) -> None:
    refusal = await shop.call("GET", f"/stripe{SESSIONS}", headers={"Authorization": given} if given else {})
    assert (refusal.status, refusal["error"]["type"]) == (401, "invalid_request_error")


async def test_the_key_may_be_the_user_of_basic_auth(shop: Shop) -> None:
    login = base64.b64encode(f"{ACCOUNTS.stripe.secret_key}:".encode()).decode()
    assert (await shop.stripe("GET", SESSIONS, headers={"Authorization": f"Basic {login}"})).status == 200


async def test_other_bodies_and_paths_are_refused(shop: Shop) -> None:
    assert (await shop.stripe("POST", SESSIONS, json={"mode": "payment"})).status == 400
    for path in (f"{SESSIONS}/x", "/v1/payment_intents/x", "/v1/refunds/x", "/v1/nothing"):
        missing = await shop.stripe("GET", path)
        assert (missing.status, missing["error"]["type"]) == (404, "invalid_request_error")
    for asked in ({}, {"charge": "x"}, {"payment_intent": "x"}, {"charge[x]": "x"}):
        assert (await shop.stripe("POST", "/v1/refunds", asked)).status in (400, 404)
