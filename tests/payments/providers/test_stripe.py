"""Case numbers are those of the failure cases that payment callbacks are held to."""

import itertools
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from service.errors import Forged, Invalid, Upstream
from service.payments.event import Money, Payment, PaymentEvent, Report, payment_step, refund_step
from service.payments.providers import stripe, stripe_events
from service.payments.providers.api import Refused, Unclear
from service.payments.providers.stripe import Stripe
from service.payments.providers.stripe_events import NOT_SOLD, READERS
from service.sandbox.processors import Accounts, StripeAccount
from tests.payments.providers.emulated import BACK, NOBODY, Emulated, a_refund, an_order, emulated
from tests.payments.providers.oddities import mutated
from tests.serving import config_for

SAMPLES = Path(__file__).parents[2] / "data/payments/stripe"
OPERATIONS = (Path(__file__).parents[3] / "docs/operations.md").read_text(encoding="utf-8")
KEY, SECRET = "sk_test_of_a_shop", "whsec_of_an_endpoint"
ORDER_ID = "0b7c8f0e-6a53-4a6e-9a53-8a54cf1d2f01"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def configured(session: Any = None, base: str = NOBODY, key: str = KEY) -> Stripe:
    config = config_for(
        "postgresql://nowhere/none",
        STRIPE_SECRET_KEY=key,
        STRIPE_WEBHOOK_SECRET=f"{SECRET},whsec_of_another",
        STRIPE_API_BASE=base,
    )
    return stripe.configured(config, session, BACK)


HERE = configured()


@pytest.fixture
async def world() -> AsyncIterator[Emulated]:
    async with emulated(Accounts(stripe=StripeAccount(KEY, SECRET))) as world:
        yield world


@pytest.fixture
def shop(world: Emulated) -> Stripe:
    return configured(world.session, f"{world.base}/stripe")


def sample(name: str) -> dict[str, Any]:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def wrapped(name: str, thing: Any, **more: Any) -> bytes:
    """An object as Stripe sends it."""
    event = {"id": "evt_1", "object": "event", "created": 1_614_265_330, "type": name, "livemode": False}
    return json.dumps(event | {"data": {"object": thing}} | more).encode()


def read(name: str, thing: Any, **more: Any) -> PaymentEvent:
    return HERE.parse(wrapped(name, thing, **more)).event


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


def session(**more: Any) -> dict[str, Any]:
    ours = {"payment_id": ORDER_ID}
    paid = {"mode": "payment", "status": "complete", "payment_status": "paid", "amount_total": 1000, "currency": "usd"}
    return {"id": "cs_test_1", "object": "checkout.session", **paid, "payment_intent": "pi_1", "metadata": ours, **more}


def intent(**more: Any) -> dict[str, Any]:
    ours = {"payment_id": ORDER_ID}
    money = {"status": "succeeded", "amount": 1000, "amount_received": 1000, "currency": "usd"}
    return {"id": "pi_1", "object": "payment_intent", **money, "latest_charge": "ch_1", "metadata": ours, **more}


def charge(**more: Any) -> dict[str, Any]:
    ours = {"payment_id": ORDER_ID}
    money = {"status": "succeeded", "paid": True, "captured": True, "amount": 1000, "amount_captured": 1000}
    whole = {"id": "ch_1", "object": "charge", **money, "currency": "usd", "payment_intent": "pi_1", "metadata": ours}
    return whole | more


def refund_of(**more: Any) -> dict[str, Any]:
    whole = {"id": "re_1", "object": "refund", "status": "succeeded", "amount": 400, "currency": "usd"}
    return whole | {"payment_intent": "pi_1", "charge": "ch_1", "metadata": {}} | more


def dispute(**more: Any) -> dict[str, Any]:
    whole = {"id": "dp_1", "object": "dispute", "status": "needs_response", "amount": 1000, "currency": "usd"}
    return whole | {"payment_intent": "pi_1", "charge": "ch_1"} | more


# What the collected samples mean, as the event that their kind is told by.

NAMES = {
    "charge": "charge.succeeded",
    "checkout.session": "checkout.session.completed",
    "dispute": "charge.dispute.funds_withdrawn",
    "event": "",
    "invoice": "invoice.paid",
    "payment_intent": "payment_intent.succeeded",
    "refund": "refund.updated",
    "subscription": "customer.subscription.updated",
}
EXPECTED = {
    "djstripe.payment_intent_pi_destination_charge": ("paid", usd("1902.00")),
    "djstripe.dispute_dp_fakefakefakefake01": ("refunded", usd("10.00")),
    "djstripe.dispute_dp_fakefakefakefake02": ("refunded", usd("10.00")),
    "djstripe.dispute_dp_funds_reinstated_full": ("refunded", usd("10.00")),
    "openapi_fixture.refund": ("refunded", usd("1.00")),
}
# Paid by every sign, but for an invoice of a subscription.
OF_INVOICES = {
    "djstripe.charge_ch_fakefakefakefakefake0001",
    "djstripe.payment_intent_pi_fakefakefakefakefake0001",
}
ALL = sorted(path.stem for path in SAMPLES.glob("*.json"))


def test_the_samples_are_there() -> None:
    assert len(ALL) == 23
    assert set(EXPECTED) | OF_INVOICES <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_a_sample_has_its_consequence_and_no_other(name: str) -> None:
    """Case 6: most of them have none, whatever their event is called."""
    thing = sample(name)
    told = NAMES.get(thing["object"], f"{thing['object']}.updated")
    body = wrapped(told, thing) if told else json.dumps(thing).encode()
    report = HERE.parse(body)
    change, money = EXPECTED.get(name, ("nothing", None))
    assert (report.event.change, report.event.money) == (change, money)
    assert report.body == body
    assert not (name in OF_INVOICES and report.event.reason != NOT_SOLD)


@pytest.mark.parametrize("told", sorted(READERS))
@pytest.mark.parametrize("name", ALL)
def test_under_no_name_does_a_sample_credit_but_those_that_are_paid(name: str, told: str) -> None:
    event = read(told, sample(name))
    if event.change == "paid":
        assert EXPECTED.get(name, ("",))[0] == "paid"


def test_a_dispute_that_was_won() -> None:
    event = read("charge.dispute.funds_reinstated", sample("djstripe.dispute_dp_funds_reinstated_full"))
    assert (event.change, event.refund_kind, event.money) == ("returned", "dispute", usd("10.00"))
    assert event.effect_key == "stripe:dispute:dp_1JAyTwJSZQVUcJYgPqasUEn1"
    assert event.references == (("stripe", "pi_1JAyTwJSZQVUcJYgBbsz0NuH"), ("stripe", "ch_fakefakefakefakefake0001"))


# Names that say more than their objects.


@pytest.mark.parametrize("status", ["requires_payment_method", "processing", "canceled", "requires_capture", None, 7])
def test_an_intent_that_did_not_succeed_credits_nothing(status: object) -> None:
    """Case 6: vendors' own samples put such an object into payment_intent.succeeded."""
    assert read("payment_intent.succeeded", intent(status=status, amount_received=0)).change == "nothing"


def test_a_refund_that_did_succeed_is_one_also_under_the_name_of_a_failure() -> None:
    """Case 6: so does a sample of refund.failed."""
    assert read("refund.failed", refund_of(status="succeeded")).change == "refunded"


@pytest.mark.parametrize("status", ["warning_needs_response", "warning_under_review", "warning_closed", "prevented"])
def test_an_inquiry_moves_no_money(status: str) -> None:
    """Case 43."""
    assert read("charge.dispute.funds_withdrawn", dispute(status=status)).change == "nothing"


@pytest.mark.parametrize(
    "more", [{"status": "pending"}, {"status": "failed"}, {"paid": False}, {"captured": False}, {"paid": "true"}]
)
def test_a_charge_that_is_not_taken_credits_nothing(more: dict[str, object]) -> None:
    """Case 6."""
    assert read("charge.succeeded", charge(**more)).change == "nothing"


def test_a_session_that_is_completed_and_not_paid_waits() -> None:
    """Case 6: a delayed method is paid days later, or not at all."""
    unpaid = session(payment_status="unpaid")
    assert read("checkout.session.completed", unpaid).change == "nothing"
    assert read("checkout.session.async_payment_succeeded", unpaid).change == "nothing"
    assert read("checkout.session.async_payment_succeeded", session()).change == "paid"
    assert read("checkout.session.async_payment_failed", unpaid).change == "canceled"


@pytest.mark.parametrize("name", ["checkout.session.expired", "checkout.session.async_payment_failed"])
def test_no_name_takes_back_what_is_paid(name: str) -> None:
    """Case 8."""
    assert read(name, session()).change == "nothing"


def test_a_session_expires() -> None:
    event = read("checkout.session.expired", session(status="expired", payment_status="unpaid", payment_intent=None))
    assert (event.change, str(event.order_id)) == ("expired", ORDER_ID)
    assert event.references == (("stripe", "cs_test_1"),)


@pytest.mark.parametrize(
    ("name", "thing"),
    [
        ("checkout.session.completed", session(payment_status="no_payment_required", amount_total=0)),
        ("checkout.session.completed", session(amount_total=0)),
        ("payment_intent.succeeded", intent(amount_received=0)),
        ("charge.succeeded", charge(amount_captured=0)),
    ],
)
def test_what_is_paid_with_nothing_is_for_people_to_look_at(name: str, thing: dict[str, Any]) -> None:
    event = read(name, thing)
    assert (event.change, event.effect_key, str(event.order_id)) == ("review", None, ORDER_ID)


@pytest.mark.parametrize(
    "name",
    [
        "charge.refunded",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "payment_intent.payment_failed",
        "payment_intent.created",
        "plan.created",
        "something.new",
    ],
)
@pytest.mark.parametrize("thing", [session(), intent(), charge(), refund_of(), dispute(), {}])
def test_what_is_told_otherwise_has_no_consequence(name: str, thing: dict[str, Any]) -> None:
    assert read(name, thing).change == "nothing"


@pytest.mark.parametrize("name", ["invoice.paid", "invoice.payment_failed", "customer.subscription.deleted"])
def test_subscriptions_are_kept_for_later(name: str) -> None:
    for thing in (sample("djstripe.invoice_in_fakefakefakefakefake0001"), sample("openapi_fixture.subscription")):
        event = read(name, thing)
        assert (event.change, event.reason) == ("nothing", NOT_SOLD)


@pytest.mark.parametrize("mode", ["subscription", "setup", None])
def test_a_session_of_another_mode_is_none_of_ours(mode: str | None) -> None:
    for name in ("checkout.session.completed", "checkout.session.expired"):
        assert read(name, session(mode=mode)).change == "nothing"


# The same money by several names, and in several shapes.


def test_three_events_tell_of_one_payment() -> None:
    """Case 2: one key for the money; the amount, the order and the intent are the same, too."""
    events = [
        read("checkout.session.completed", session()),
        read("payment_intent.succeeded", intent()),
        read("charge.succeeded", charge()),
    ]
    for event in events:
        assert (event.change, event.effect_key, event.money) == ("paid", "stripe:payment:pi_1", usd("10.00"))
        assert str(event.order_id) == ORDER_ID
        assert ("stripe", "pi_1") in event.references
    assert {one for event in events for _, one in event.references} == {"cs_test_1", "pi_1", "ch_1"}


def test_without_an_intent_the_session_is_the_money() -> None:
    event = read("checkout.session.completed", session(payment_intent=None))
    assert event.effect_key == "stripe:payment:cs_test_1"


SHAPES = {
    "before 2022-11-15": intent(latest_charge=None, charges={"object": "list", "data": [charge()]}),
    "since then": intent(),
    "expanded": intent(latest_charge=charge()),
    "without its charge": intent(latest_charge=None),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_both_shapes_of_an_intent_are_read(shape: str) -> None:
    event = read("payment_intent.succeeded", SHAPES[shape])
    assert (event.change, event.effect_key) == ("paid", "stripe:payment:pi_1")
    assert (("stripe", "ch_1") in event.references) == (shape != "without its charge")


@pytest.mark.parametrize("field", ["invoice", "subscription"])
def test_both_shapes_of_an_invoice_are_of_no_consequence(field: str) -> None:
    """Since 2025-03-31 an invoice says in `parent` what it is for, and its intent no longer says that it is of one."""
    parent = {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}}
    old = {"subscription": "sub_1", "payment_intent": "pi_1", "charge": "ch_1"}
    for shape in ({"parent": parent}, old):
        assert read("invoice.paid", {"id": "in_1", "amount_paid": 1000, "currency": "usd", **shape}).change == "nothing"
    assert read("payment_intent.succeeded", intent(invoice="in_1", metadata={})).reason == NOT_SOLD
    stranger = read("payment_intent.succeeded", intent(metadata={}))
    assert (stranger.change, stranger.order_id) == ("paid", None)


def test_an_old_charge_says_nothing_of_what_was_captured() -> None:
    old = charge()
    del old["amount_captured"]
    assert read("charge.succeeded", old).money == usd("10.00")
    assert read("charge.succeeded", charge(amount_captured=700)).money == usd("7.00")


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ("succeeded", "refunded"),
        ("pending", "refund_pending"),
        ("requires_action", "refund_pending"),
        ("failed", "returned"),
        ("canceled", "returned"),
        (None, "nothing"),
        ("new", "nothing"),
    ],
)
@pytest.mark.parametrize("name", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"])
def test_a_refund_is_what_its_status_says(name: str, status: str | None, change: str) -> None:
    """Case 39."""
    request_id = str(uuid4())
    event = read(name, refund_of(status=status, metadata={"refund_id": request_id, "payment_id": ORDER_ID}))
    assert event.change == change
    if change != "nothing":
        assert (event.refund_id, event.effect_key, event.money) == ("re_1", "stripe:refund:re_1", usd("4.00"))
        assert (str(event.request_id), str(event.order_id)) == (request_id, ORDER_ID)
        assert event.references == (("stripe", "pi_1"), ("stripe", "ch_1"))


def test_a_refund_of_a_charge_without_an_intent() -> None:
    event = read("refund.created", refund_of(payment_intent=None))
    assert (event.references, event.request_id, event.order_id) == ((("stripe", "ch_1"),), None, None)


def after(events: tuple[PaymentEvent, ...]) -> dict[str, str]:
    """Where a payment and its refund end when events are applied in this order; waiting ones again at the end."""
    payment, status = an_order("stripe", status="pending"), ""
    for event in (*events, *events):
        if event.change in ("paid", "expired"):
            step = payment_step(event, payment)
            payment = msgspec.structs.replace(payment, status=getattr(step, "status", "")) if moved(step) else payment
        else:
            known = msgspec.structs.replace(a_refund(payment), status=status) if status else None
            step = refund_step(event, payment, known)
            status = step.status if moved(step) else status
    return {"payment": payment.status, "refund": status}


def moved(step: object) -> bool:
    return type(step).__name__ == "Move"


def test_events_of_the_same_second_in_any_order_end_the_same() -> None:
    """Case 5: no event wins by coming last, as the states only grow; `created`, in whole seconds, is not looked at."""
    events = (
        read("checkout.session.completed", session()),
        read("charge.succeeded", charge()),
        read("checkout.session.expired", session(status="expired", payment_status="unpaid")),
        read("refund.updated", refund_of()),
        read("refund.failed", refund_of(status="failed")),
    )
    ends = [after(order) for order in itertools.permutations(events)]
    assert ends == [{"payment": "succeeded", "refund": "failed"}] * 120


# Whose money it is.


@pytest.mark.parametrize(
    ("key", "live"),
    [("sk_live_1", True), ("rk_live_1", True), ("sk_test_1", False), ("rk_test_1", False), ("sk_sandbox", False)],
)
def test_the_key_says_whether_money_is_real(key: str, live: bool) -> None:
    assert configured(key=key).live is live


@pytest.mark.parametrize("live", [True, False])
def test_money_of_the_other_mode_is_for_review(live: bool) -> None:
    """Case 21: a test event with a live key, and the other way round."""
    shop = configured(key="sk_live_1" if live else "sk_test_1")
    for name, thing in (("payment_intent.succeeded", intent()), ("refund.created", refund_of())):
        assert shop.parse(wrapped(name, thing, livemode=live)).event.change in ("paid", "refunded")
        event = shop.parse(wrapped(name, thing, livemode=not live)).event
        assert event.change == "review"
        assert "live" in event.reason
    assert shop.parse(wrapped("plan.created", {}, livemode=not live)).event.change == "nothing"


def test_money_of_a_connected_account_is_for_review() -> None:
    """Case 21."""
    event = read("payment_intent.succeeded", intent(), account="acct_1")
    assert (event.change, event.reason) == ("review", "of a connected account")
    assert read("payment_intent.succeeded", intent(), account=None).change == "paid"


@pytest.mark.parametrize(
    "metadata", [None, [], "", {}, {"payment_id": 7}, {"payment_id": ORDER_ID.upper()}, {"payment_id": f" {ORDER_ID}"}]
)
def test_what_is_no_order_of_ours_names_none(metadata: object) -> None:
    """Case 35, case 36."""
    event = read("payment_intent.succeeded", intent(metadata=metadata))
    assert (event.change, event.order_id) == ("paid", None)


# What is odd in an event.


@pytest.mark.parametrize(
    "more",
    [
        {"amount_received": 1000.0},
        {"amount_received": "1000"},
        {"amount_received": True},
        {"amount_received": -1000},
        {"amount_received": 10**15},
        {"amount_received": None},
        {"currency": "usdt"},
        {"currency": "uѕd"},
        {"currency": "bhd"},
        {"currency": None},
        {"id": None},
        {"id": "pi_\u0000"},
        {"id": "pi_" + "x" * 999},
        {"latest_charge": 7},
        {"latest_charge": {"id": "\ud800"}},
    ],
)
def test_an_authentic_event_around_something_odd_is_for_review(more: dict[str, object]) -> None:
    """Case 30, case 32 to case 35: Stripe would send it again for days were it refused; and it credits nothing."""
    event = read("payment_intent.succeeded", intent(**more))
    assert (event.change, event.effect_key) == ("review", None)
    assert event.reason.isprintable()


def test_yen_have_no_minor_unit() -> None:
    event = read("payment_intent.succeeded", intent(currency="jpy", amount_received=1500))
    assert event.money == Money(Decimal("1500.00"), "JPY")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"amount=1",
        wrapped("plan.created", None),
        wrapped("plan.created", []),
        wrapped("plan.created", {}, livemode="false"),
        wrapped("plan.created", {}, livemode=None),
        wrapped("plan.created", {}, id=None),
        wrapped("plan.created", {}, id="evt_\u0000"),
        wrapped("", {}),
        wrapped("plan.created", {}, type=None),
        wrapped("plan.created", {}, data=None),
    ],
)
def test_what_is_no_event_is_invalid(body: bytes) -> None:
    """Case 26, case 35."""
    with pytest.raises(Invalid):
        HERE.parse(body)


WHOLE = [session(), intent(), charge(), refund_of(), dispute(), *map(sample, ALL)]


@settings(max_examples=1500, deadline=None)
@given(data=some.data(), name=some.sampled_from(sorted(READERS)), thing=some.sampled_from(WHOLE))
def test_no_change_of_an_event_raises_anything_but_invalid(data: Any, name: str, thing: Any) -> None:
    """And every text that comes out of it can be stored."""
    body = json.dumps(data.draw(mutated(json.loads(wrapped(name, thing))))).encode()
    try:
        report = HERE.parse(body)
    except Invalid:
        return
    texts = (report.event.delivery_key, report.event.name, report.event.reason, *sum(report.event.references, ()))
    assert all(text.isprintable() for text in texts)
    assert (report.event.effect_key is not None) or report.event.change not in ("paid", "refunded", "returned")


@settings(max_examples=300, deadline=None)
@given(noise=some.binary(max_size=200), cut=some.integers(0, 400))
def test_no_bytes_raise_anything_but_invalid(noise: bytes, cut: int) -> None:
    for body in (noise, wrapped("charge.succeeded", charge())[:cut] + noise):
        try:
            HERE.parse(body)
        except Invalid:
            continue


# The account over HTTP.


async def ordered(shop: Stripe, **fields: Any) -> Payment:
    payment = an_order("stripe", **fields)
    created = await shop.create(payment, title="900 ₽", language="ru")
    return msgspec.structs.replace(payment, status="pending", provider_payment_id=created.provider_payment_id)


async def paid(world: Emulated, shop: Stripe, **fields: Any) -> Payment:
    payment = await ordered(shop, **fields)
    world.processors.stripe.pay(payment.provider_payment_id or "")
    return msgspec.structs.replace(payment, status="succeeded")


def same(report: Report, shop: Stripe) -> bool:
    """What is stored reads as the same."""
    return shop.parse(report.body) == report


async def test_a_session_is_made_as_stripe_wants_it(world: Emulated, shop: Stripe) -> None:
    payment = an_order("stripe")
    created = await shop.create(payment, title="900 ₽", language="ru")
    (call,) = world.processors.calls.of("stripe POST /v1/checkout/sessions")
    made = world.processors.stripe.sessions[created.provider_payment_id or ""]
    assert call.key == str(payment.payment_id)
    assert created.pay_url.endswith(f"/pay/stripe/{created.provider_payment_id}")
    assert (made["amount_total"], made["currency"], made["mode"]) == (1000, "usd", "payment")
    assert made["metadata"] == {"payment_id": str(payment.payment_id)}
    assert made["client_reference_id"] == str(payment.payment_id)
    assert (made["success_url"], made["cancel_url"]) == (BACK, BACK)
    assert made["expires_at"] == int(payment.expires_at.timestamp())
    assert b"locale=ru" in call.body
    assert b"adaptive_pricing%5Benabled%5D=false" in call.body


@pytest.mark.parametrize(("asked_h", "granted_h"), [(-1, 1), (0.1, 1), (2, 2), (24, 24), (100, 24)])
async def test_a_session_lives_as_long_as_stripe_allows(shop: Stripe, asked_h: float, granted_h: float) -> None:
    """Counted from the order, so that the same is asked for when it is asked again."""
    now = datetime.now(UTC) - timedelta(minutes=5)
    payment = an_order("stripe", created_at=now, expires_at=now + timedelta(hours=asked_h))
    assert shop._session_of(payment, "")["expires_at"] == int((now + timedelta(hours=granted_h)).timestamp())
    assert (await shop.create(payment, title="Top-up", language="en")).pay_url


async def test_asked_twice_it_is_one_session(world: Emulated, shop: Stripe) -> None:
    """Also where the first answer was lost."""
    payment = an_order("stripe")
    world.processors.faults.drop("stripe POST /v1/checkout/sessions", after=True)
    with pytest.raises(Unclear):
        await shop.create(payment, title="Top-up", language="en")
    first = await shop.create(payment, title="Top-up", language="en")
    assert await shop.create(payment, title="Top-up", language="en") == first
    assert len(world.processors.stripe.sessions) == 1


async def test_what_was_paid_is_told_three_times_as_one_payment(world: Emulated, shop: Stripe) -> None:
    """Case 2, over HTTP."""
    payment = await paid(world, shop)
    events = world.told(shop)
    assert [event.change for event in events] == ["paid"] * 3
    assert len({event.effect_key for event in events}) == 1
    assert {event.order_id for event in events} == {payment.payment_id}
    assert {event.money for event in events} == {payment.money}
    assert len({event.delivery_key for event in events}) == 3
    assert all(event.delivery_key.startswith("evt_") for event in events)
    assert events[0].references[0] == ("stripe", payment.provider_payment_id)


async def test_its_callbacks_are_authentic_and_their_copies_are_not(world: Emulated, shop: Stripe) -> None:
    """Case 18, case 20, over HTTP: the second secret is known as well, and one changed byte is too much."""
    await paid(world, shop)
    now = datetime.now(UTC)
    for callback in world.processors.held:
        shop.verify(callback.headers(), callback.body, now)
        with pytest.raises(Forged):
            shop.verify(callback.headers(), callback.body.replace(b"1000", b"9000"), now)
        with pytest.raises(Forged):
            shop.verify(callback.headers(), callback.body, now + timedelta(minutes=10))


async def test_a_payment_is_looked_up(world: Emulated, shop: Stripe) -> None:
    payment = await ordered(shop)
    assert await shop.look_up(payment) == []
    world.processors.stripe.pay(payment.provider_payment_id or "")
    (report,) = await shop.look_up(payment)
    told = world.told(shop, "checkout.session.completed")[0]
    assert same(report, shop)
    assert report.event == msgspec.structs.replace(told, delivery_key=report.event.delivery_key)
    assert report.event.delivery_key == f"checkout.session:{payment.provider_payment_id}:complete:paid"
    assert await shop.confirm(report) is report


async def test_an_expired_session_is_looked_up(world: Emulated, shop: Stripe) -> None:
    payment = await ordered(shop)
    world.processors.stripe.cancel(payment.provider_payment_id or "")
    (report,) = await shop.look_up(payment)
    assert (report.event.change, report.event.order_id) == ("expired", payment.payment_id)


async def test_without_its_id_nothing_is_looked_up(world: Emulated, shop: Stripe) -> None:
    assert await shop.look_up(an_order("stripe")) == []
    with pytest.raises(Refused) as caught:
        await shop.look_up(an_order("stripe", provider_payment_id="cs_test_unknown"))
    assert caught.value.permanent


async def test_money_is_given_back(world: Emulated, shop: Stripe) -> None:
    payment = await paid(world, shop)
    refund = a_refund(payment)
    report = await shop.refund(refund, payment)
    assert same(report, shop)
    assert (report.event.change, report.event.money) == ("refunded", usd("4.00"))
    assert (report.event.request_id, report.event.order_id) == (refund.refund_id, payment.payment_id)
    told = world.told(shop, "refund.created")[0]
    assert (told.effect_key, told.references) == (report.event.effect_key, report.event.references)
    assert [one.event for one in await shop.look_up(payment)] == [report.event]


@pytest.mark.parametrize("days_later", [False, True])
async def test_asked_twice_money_is_given_back_once(world: Emulated, shop: Stripe, days_later: bool) -> None:
    """Case 42: also after Stripe has forgotten the key, and where the answer was lost."""
    payment = await paid(world, shop)
    refund = a_refund(payment)
    world.processors.faults.fail("stripe POST /v1/refunds", after=True)
    with pytest.raises(Unclear):
        await shop.refund(refund, payment)
    if days_later:
        world.processors.stripe._repeats._kept.clear()
    first = await shop.refund(refund, payment)
    assert await shop.refund(refund, payment) == first
    assert len(world.processors.stripe.refunds) == 1


async def test_what_others_gave_back_is_not_ours(world: Emulated, shop: Stripe) -> None:
    payment = await paid(world, shop)
    await shop.refund(a_refund(payment, "10.00"), payment)
    with pytest.raises(Refused) as caught:
        await shop.refund(a_refund(payment, "10.00"), payment)
    assert (caught.value.permanent, caught.value.reason) == (True, "charge_already_refunded")


async def test_where_only_the_intent_is_known_money_is_given_back_too(world: Emulated, shop: Stripe) -> None:
    payment = await paid(world, shop)
    (intent_id,) = world.processors.stripe.intents
    known = msgspec.structs.replace(payment, provider_payment_id=intent_id)
    assert (await shop.refund(a_refund(known), known)).event.change == "refunded"


async def test_what_was_not_paid_is_not_given_back(world: Emulated, shop: Stripe) -> None:
    payment = await ordered(shop)
    unknown = an_order("stripe", status="succeeded")
    for act in (
        shop.refund(a_refund(payment), payment),
        shop.refund(a_refund(unknown), unknown),
        shop.capture(payment),
    ):
        with pytest.raises(Upstream) as caught:
            await act
        assert caught.value.permanent


async def test_what_nobody_told_is_listed(world: Emulated, shop: Stripe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, and as the callbacks would have told it, key and all."""
    monkeypatch.setattr(stripe, "PAGE", 2)
    payment = await paid(world, shop)
    await shop.refund(a_refund(payment), payment)
    money = world.processors.stripe.dispute(world.told(shop, "charge.succeeded")[0].references[0][1])
    world.processors.stripe.withdraw(money["id"])
    listed = [report async for report in shop.listed(NOW - timedelta(days=999))]
    told = [event for event in world.told(shop) if event.name in READERS]
    assert all(same(report, shop) for report in listed)
    assert [report.event for report in reversed(listed)] == told
    assert len(told) == 6
    assert [one async for one in shop.listed(datetime.now(UTC) + timedelta(days=1))] == []


async def test_a_dispute_is_told_from_its_beginning_to_its_end(world: Emulated, shop: Stripe) -> None:
    """Case 43: only the moves of money count."""
    payment = await paid(world, shop)
    (intent_id,) = world.processors.stripe.intents
    made = world.processors.stripe.dispute(intent_id)
    world.processors.stripe.withdraw(made["id"])
    world.processors.stripe.reinstate(made["id"])
    world.processors.stripe.close(made["id"], "won")
    events = [event for event in world.told(shop) if "dispute" in event.name]
    assert [event.change for event in events] == ["nothing", "refunded", "returned", "nothing"]
    for event in events[1:3]:
        assert (event.refund_kind, event.refund_id, event.money) == ("dispute", made["id"], payment.money)


async def test_a_refund_that_fails_later(world: Emulated, shop: Stripe) -> None:
    """Case 39."""
    payment = await paid(world, shop)
    report = await shop.refund(a_refund(payment), payment)
    world.processors.stripe.fail_refund(report.event.refund_id or "")
    (failed,) = world.told(shop, "refund.failed")
    assert (failed.change, failed.refund_id) == ("returned", report.event.refund_id)
    (again,) = await shop.look_up(payment)
    assert again.event.change == "returned"


@pytest.mark.parametrize("answer", [{}, {"id": None, "url": "x"}, {"id": "cs_1", "url": 7}])
async def test_an_answer_that_cannot_be_read_can_pass(answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    shop = configured()

    async def call(*_: object, **__: object) -> dict[str, Any]:
        return answer

    monkeypatch.setattr(type(shop._api), "call", call)
    payment = an_order("stripe", provider_payment_id="cs_1", status="pending")
    for act in (shop.create(payment, title="", language="en"), shop.look_up(payment)):
        with pytest.raises(Unclear):
            await act
    with pytest.raises(Unclear):
        assert [one async for one in shop.listed(NOW)]


async def test_a_wrong_key_is_a_permanent_no(world: Emulated) -> None:
    shop = configured(world.session, f"{world.base}/stripe", key="sk_test_wrong")
    with pytest.raises(Refused) as caught:
        await ordered(shop)
    assert (caught.value.status, caught.value.permanent) == (401, True)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("given_settings", "reason"),
    [
        ({}, "STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET not set"),
        ({"STRIPE_SECRET_KEY": KEY}, "STRIPE_WEBHOOK_SECRET not set"),
        ({"STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRET": SECRET}, None),
    ],
)
def test_what_it_needs(given_settings: dict[str, str], reason: str | None) -> None:
    unset = {"STRIPE_SECRET_KEY": "", "STRIPE_WEBHOOK_SECRET": ""}
    assert stripe.requires(config_for("postgresql://nowhere/none", **unset | given_settings)) == reason


def test_operators_are_told_to_which_events_an_endpoint_listens() -> None:
    section = OPERATIONS.partition("**Stripe**")[2].partition("**Polar**")[0]
    listed = "".join(line for line in section.splitlines() if line.startswith("- "))
    assert sorted(re.findall(r"`([^`]+)`", listed)) == sorted(READERS)


def test_polled_objects_are_as_live_as_they_say() -> None:
    body = stripe_events.written("refund.updated", "refund:re_1:succeeded", refund_of(), live=True)
    assert configured(key="sk_live_1").parse(body).event.change == "refunded"
    assert HERE.parse(body).event.change == "review"
