"""Case numbers are those of the failure cases that payment callbacks are held to."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
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
from service.payments.event import Money, Payment, PaymentEvent, Report
from service.payments.providers import polar
from service.payments.providers.api import Refused, Unclear
from service.payments.providers.polar import NOT_SOLD, Polar
from service.sandbox.processors import Accounts, PolarAccount
from tests.cast import PAYER
from tests.payments.providers.emulated import BACK, NOBODY, Emulated, a_refund, an_order, emulated
from tests.payments.providers.oddities import mutated
from tests.serving import config_for

SAMPLES = Path(__file__).parents[2] / "data/payments/polar"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PRODUCT = "0b8c8b6f-5a38-4a5c-9d3c-5f4f4f6f9a01"
ACCOUNT = PolarAccount("polar_oat_token", SECRET, tax_percent=20, products=frozenset({PRODUCT}))
ORDER_ID = "0b7c8f0e-6a53-4a6e-9a53-8a54cf1d2f01"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def configured(session: Any = None, base: str = NOBODY, **more: str) -> Polar:
    account = {"POLAR_ACCESS_TOKEN": ACCOUNT.access_token, "POLAR_WEBHOOK_SECRET": SECRET, "POLAR_PRODUCT_ID": PRODUCT}
    config = config_for("postgresql://nowhere/none", **account | {"POLAR_API_BASE": base} | more)
    return polar.configured(config, session, BACK)


HERE = configured()


@pytest.fixture(params=[False, True], ids=["the raw key", "the decoded key"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[Emulated]:
    """Endpoints sign with either, and the secret does not tell which."""
    async with emulated(Accounts(polar=replace(ACCOUNT, standard_key=request.param))) as world:
        yield world


@pytest.fixture
def shop(world: Emulated) -> Polar:
    return configured(world.session, f"{world.base}/polar")


def sample(name: str) -> dict[str, Any]:
    return json.loads((SAMPLES / f"zapier.{name}.json").read_text())


def wrapped(name: str, thing: Any, **more: Any) -> bytes:
    """An object as Polar sends it."""
    return json.dumps({"type": name, "timestamp": "2026-11-20T12:00:00Z", "data": thing} | more).encode()


def read(name: str, thing: Any, **more: Any) -> PaymentEvent:
    return HERE.parse(wrapped(name, thing, **more)).event


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


def order(**more: Any) -> dict[str, Any]:
    amounts = {"subtotal_amount": 1000, "net_amount": 1000, "tax_amount": 200, "total_amount": 1200}
    state = {"status": "paid", "paid": True, "refunded_amount": 0, "currency": "usd", "billing_reason": "purchase"}
    ids = {"id": "or_1", "checkout_id": "co_1", "subscription_id": None, "metadata": {"payment_id": ORDER_ID}}
    return ids | amounts | state | more


def refund_of(**more: Any) -> dict[str, Any]:
    state = {"status": "succeeded", "amount": 400, "tax_amount": 80, "currency": "usd"}
    return {"id": "rf_1", "order_id": "or_1", "subscription_id": None, "metadata": {}, **state, **more}


def checkout(**more: Any) -> dict[str, Any]:
    return {"id": "co_1", "status": "open", "subscription_id": None, "metadata": {"payment_id": ORDER_ID}, **more}


# The vendor's samples: placeholders, and an order of a subscription.

TOLD = {
    "benefit": "benefit.updated",
    "checkout": "checkout.updated",
    "customer": "customer.updated",
    "customer_state": "customer.state_changed",
    "order": "order.paid",
    "product": "product.updated",
    "subscription": "subscription.active",
}


def test_the_samples_are_there() -> None:
    assert sorted(f"zapier.{name}" for name in TOLD) == sorted(path.stem for path in SAMPLES.glob("*.json"))


@pytest.mark.parametrize("name", TOLD)
def test_no_sample_has_a_consequence(name: str) -> None:
    """Case 6: the order among them is paid, for a subscription."""
    body = wrapped(TOLD[name], sample(name))
    report = HERE.parse(body)
    assert (report.event.change, report.event.effect_key, report.body) == ("nothing", None, body)
    assert (report.event.reason == NOT_SOLD) == (name in ("order", "subscription", "checkout"))


@pytest.mark.parametrize(
    "told", ["order.paid", "order.refunded", "refund.created", "checkout.expired", "something.new"]
)
@pytest.mark.parametrize("name", TOLD)
def test_under_no_name_does_a_sample_have_one(name: str, told: str) -> None:
    assert read(told, sample(name)).change == "nothing"


def test_the_sample_order_without_its_subscription_is_paid() -> None:
    """Net of its tax, which is not the payer's credit."""
    event = read("order.paid", sample("order") | {"subscription_id": None, "billing_reason": "purchase"})
    assert (event.change, event.money) == ("paid", usd("90.00"))


# Orders.


@pytest.mark.parametrize("name", ["order.created", "order.updated", "order.paid", "order.refunded"])
@pytest.mark.parametrize("status", ["paid", "partially_refunded", "refunded"])
def test_a_paid_order_is_one_payment_under_every_name(name: str, status: str) -> None:
    """Case 2, case 6: also when we first hear of it after some of it was given back."""
    event = read(name, order(status=status, refunded_amount=0 if status == "paid" else 400))
    assert (event.change, event.effect_key, event.money) == ("paid", "polar:payment:or_1", usd("10.00"))
    assert event.references == (("polar", "co_1"), ("polar", "or_1"))
    assert str(event.order_id) == ORDER_ID
    assert event.user_id is None


@pytest.mark.parametrize(
    "more",
    [
        {"status": "pending"},
        {"status": "draft"},
        {"status": "void"},
        {"status": None},
        {"paid": False},
        {"paid": None},
        {"paid": "true"},
    ],
)
def test_an_order_that_is_not_paid_credits_nothing(more: dict[str, Any]) -> None:
    """Case 6: order.paid is a name."""
    assert read("order.paid", order(**more)).change == "nothing"


def test_an_order_of_nothing_is_for_people_to_look_at() -> None:
    assert read("order.paid", order(net_amount=0)).change == "review"


def test_an_order_without_a_checkout_is_known_by_its_own_id() -> None:
    assert read("order.paid", order(checkout_id=None)).references == (("polar", "or_1"),)


@pytest.mark.parametrize(
    ("name", "thing"),
    [
        ("order.paid", order(billing_reason="subscription_cycle")),
        ("order.paid", order(subscription_id="su_1")),
        ("refund.created", refund_of(subscription_id="su_1")),
        ("checkout.expired", checkout(status="expired", subscription_id="su_1")),
        ("subscription.created", {"id": "su_1"}),
        ("subscription.revoked", {}),
    ],
)
def test_subscriptions_are_kept_for_later(name: str, thing: dict[str, Any]) -> None:
    """Case 48: a renewal is told as a cycle and as an order; for now neither counts."""
    event = read(name, thing)
    assert (event.change, event.reason) == ("nothing", NOT_SOLD)


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ("succeeded", "refunded"),
        ("pending", "refund_pending"),
        ("failed", "returned"),
        ("canceled", "returned"),
        ("new", "nothing"),
        (None, "nothing"),
    ],
)
@pytest.mark.parametrize("name", ["refund.created", "refund.updated"])
def test_a_refund_is_what_its_status_says(name: str, status: str | None, change: str) -> None:
    """Case 39."""
    request_id = str(uuid4())
    event = read(name, refund_of(status=status, metadata={"refund_id": request_id, "payment_id": ORDER_ID}))
    assert event.change == change
    if change != "nothing":
        assert (event.refund_id, event.effect_key, event.money) == ("rf_1", "polar:refund:rf_1", usd("4.00"))
        assert (str(event.request_id), event.references) == (request_id, (("polar", "or_1"),))


@pytest.mark.parametrize(
    ("status", "change"),
    [
        ("open", "nothing"),
        ("confirmed", "nothing"),
        ("succeeded", "nothing"),
        ("expired", "expired"),
        ("failed", "canceled"),
    ],
)
def test_a_checkout_only_ends_without_money(status: str, change: str) -> None:
    event = read("checkout.updated", checkout(status=status))
    assert event.change == change
    if change != "nothing":
        assert (str(event.order_id), event.references) == (ORDER_ID, (("polar", "co_1"),))


# What is odd.


@pytest.mark.parametrize(
    "more",
    [
        {"net_amount": 1000.0},
        {"net_amount": "1000"},
        {"net_amount": True},
        {"net_amount": -1},
        {"net_amount": 10**15},
        {"net_amount": None},
        {"currency": "<string>"},
        {"currency": None},
        {"id": None},
        {"id": "x" * 999},
        {"id": "or_\u0000"},
        {"checkout_id": 7},
    ],
)
def test_an_authentic_event_around_something_odd_is_for_review(more: dict[str, Any]) -> None:
    """Case 30, case 32 to case 35: Polar switches an endpoint off that refuses ten times; and it credits nothing."""
    event = read("order.paid", order(**more))
    assert (event.change, event.effect_key) == ("review", None)
    assert event.reason.isprintable()


@pytest.mark.parametrize(
    "metadata", [None, [], {"payment_id": 7}, {"payment_id": ORDER_ID.upper()}, {"payment_id": "1 "}]
)
def test_what_is_no_order_of_ours_names_none(metadata: object) -> None:
    """Case 35, case 36."""
    event = read("order.paid", order(metadata=metadata))
    assert (event.change, event.order_id) == ("paid", None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        wrapped("order.paid", None),
        wrapped("order.paid", []),
        wrapped("", {}),
        wrapped("x" * 99, {}),
        wrapped("order.paid", {}, type=None),
        wrapped("order.paid", {}, type="order.paid\u0000"),
    ],
)
def test_what_is_no_event_is_invalid(body: bytes) -> None:
    """Case 26, case 35."""
    with pytest.raises(Invalid):
        HERE.parse(body)


def test_a_state_is_told_once_and_another_state_again() -> None:
    """Nothing in a body names its delivery; what we ask for has the key that the callback had."""
    keys = [
        read("order.paid", order()).delivery_key,
        read("order.paid", order(status="refunded", refunded_amount=1000)).delivery_key,
        read("order.refunded", order(status="refunded", refunded_amount=1000)).delivery_key,
        read("refund.updated", refund_of(status="pending")).delivery_key,
        read("refund.updated", refund_of()).delivery_key,
    ]
    assert keys[0] == "order.paid:or_1:paid:0"
    assert keys[3] == "refund.updated:rf_1:pending"
    assert len(set(keys)) == 5
    assert read("order.paid", order(modified_at="2026-11-20T12:00:01Z")).delivery_key == keys[0]
    without_id = [read("customer_seat.assigned", {"seat": seat}).delivery_key for seat in (1, 1, 2)]
    assert without_id[0] == without_id[1] != without_id[2]


WHOLE = [order(), refund_of(), checkout(status="expired"), *map(sample, TOLD)]
NAMES = ["order.paid", "order.refunded", "refund.updated", "checkout.expired", "subscription.active", "benefit.created"]


@settings(max_examples=1500, deadline=None)
@given(data=some.data(), name=some.sampled_from(NAMES), thing=some.sampled_from(WHOLE))
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
@given(noise=some.binary(max_size=200), cut=some.integers(0, 300))
def test_no_bytes_raise_anything_but_invalid(noise: bytes, cut: int) -> None:
    for body in (noise, wrapped("order.paid", order())[:cut] + noise):
        try:
            HERE.parse(body)
        except Invalid:
            continue


# The organization over HTTP.


async def ordered(shop: Polar) -> Payment:
    payment = an_order("polar")
    created = await shop.create(payment, title="900 ₽", language="ru")
    return msgspec.structs.replace(payment, status="pending", provider_payment_id=created.provider_payment_id)


async def paid(world: Emulated, shop: Polar) -> Payment:
    payment = await ordered(shop)
    world.processors.polar.pay(payment.provider_payment_id or "")
    return msgspec.structs.replace(payment, status="succeeded")


def same(report: Report, shop: Polar) -> bool:
    """What is stored reads as the same."""
    return shop.parse(report.body) == report


async def test_a_checkout_is_made_at_our_price(world: Emulated, shop: Polar) -> None:
    """Before tax, which comes on top; and nobody can enter a discount, which would come off."""
    payment = an_order("polar")
    created = await shop.create(payment, title="900 ₽", language="ru")
    made = world.processors.polar.checkouts[created.provider_payment_id or ""]
    assert created.pay_url.endswith(f"/pay/polar/{created.provider_payment_id}")
    assert (made["net_amount"], made["tax_amount"], made["currency"], made["product_id"]) == (1000, 200, "usd", PRODUCT)
    assert made["metadata"] == {"payment_id": str(payment.payment_id)}
    assert (made["external_customer_id"], made["success_url"]) == (str(PAYER.user_id), BACK)
    (call,) = world.processors.calls.of("polar POST /v1/checkouts")
    asked = json.loads(call.body)
    assert asked["allow_discount_codes"] is False
    assert asked["prices"][PRODUCT][0]["tax_behavior"] == "exclusive"


async def test_what_was_paid_is_told_as_one_payment(world: Emulated, shop: Polar) -> None:
    """Case 2, over HTTP."""
    payment = await paid(world, shop)
    events = world.told(shop)
    assert [event.change for event in events] == ["nothing", "paid", "paid"]
    assert len({event.effect_key for event in events[1:]}) == 1
    for event in events[1:]:
        assert (event.order_id, event.money) == (payment.payment_id, payment.money)
        assert event.references[0] == ("polar", payment.provider_payment_id)


async def test_its_callbacks_are_authentic_and_their_copies_are_not(world: Emulated, shop: Polar) -> None:
    """Case 16, case 18, case 19, case 20, over HTTP, with both of Polar's keys."""
    await paid(world, shop)
    now = datetime.now(UTC)
    for callback in world.processors.held:
        shop.verify(callback.headers(), callback.body, now)
        for body, moment in ((callback.body + b" ", now), (callback.body, now + timedelta(minutes=10))):
            with pytest.raises(Forged):
                shop.verify(callback.headers(), body, moment)
        with pytest.raises(Forged):
            configured(POLAR_WEBHOOK_SECRET="whsec_" + "A" * 32).verify(callback.headers(), callback.body, now)


async def test_a_payment_is_looked_up(world: Emulated, shop: Polar) -> None:
    """With the key of the callback, so that whichever comes second is a repetition."""
    payment = await ordered(shop)
    assert await shop.look_up(payment) == []
    world.processors.polar.pay(payment.provider_payment_id or "")
    (report,) = await shop.look_up(payment)
    assert same(report, shop)
    assert [report.event] == world.told(shop, "order.paid")
    assert await shop.confirm(report) is report


async def test_an_expired_checkout_is_looked_up(world: Emulated, shop: Polar) -> None:
    payment = await ordered(shop)
    world.processors.polar.cancel(payment.provider_payment_id or "")
    (report,) = await shop.look_up(payment)
    assert (report.event.change, report.event.order_id) == ("expired", payment.payment_id)
    assert [report.event] == world.told(shop, "checkout.expired")


async def test_without_its_id_nothing_is_looked_up(shop: Polar) -> None:
    assert await shop.look_up(an_order("polar")) == []
    with pytest.raises(Refused) as caught:
        await shop.look_up(an_order("polar", provider_payment_id=str(uuid4())))
    assert caught.value.permanent


async def test_money_is_given_back(world: Emulated, shop: Polar) -> None:
    """Polar answers that it is under way, and tells later that it is done."""
    payment = await paid(world, shop)
    refund = a_refund(payment)
    report = await shop.refund(refund, payment)
    assert same(report, shop)
    assert (report.event.change, report.event.money) == ("refund_pending", usd("4.00"))
    assert (report.event.request_id, report.event.order_id) == (refund.refund_id, payment.payment_id)
    (told,) = world.told(shop, "refund.updated")
    assert (told.change, told.effect_key) == ("refunded", report.event.effect_key)
    assert [one.event for one in await shop.look_up(payment)] == [told]
    (whole,) = world.told(shop, "order.refunded")
    assert (whole.change, whole.effect_key) == ("paid", world.told(shop, "order.paid")[0].effect_key)


async def test_asked_twice_money_is_given_back_once(world: Emulated, shop: Polar) -> None:
    """Case 42: though Polar knows no idempotency keys; and where the answer was lost."""
    payment = await paid(world, shop)
    refund = a_refund(payment)
    world.processors.faults.fail("polar POST /v1/refunds", after=True)
    with pytest.raises(Unclear):
        await shop.refund(refund, payment)
    first = await shop.refund(refund, payment)
    assert await shop.refund(refund, payment) == first
    assert first.event.change == "refunded"
    assert len(world.processors.polar.refunds) == 1


async def test_what_others_gave_back_is_not_ours(world: Emulated, shop: Polar) -> None:
    payment = await paid(world, shop)
    await shop.refund(a_refund(payment, "10.00"), payment)
    with pytest.raises(Refused) as caught:
        await shop.refund(a_refund(payment, "10.00"), payment)
    assert (caught.value.permanent, caught.value.reason) == (True, "RefundedAlready")


async def test_what_was_not_paid_is_not_given_back(world: Emulated, shop: Polar) -> None:
    """Nor is what somebody else paid."""
    await paid(world, shop)
    payment = await ordered(shop)
    unknown = an_order("polar", status="succeeded")
    for act in (
        shop.refund(a_refund(payment), payment),
        shop.refund(a_refund(unknown), unknown),
        shop.capture(payment),
    ):
        with pytest.raises(Upstream) as caught:
            await act
        assert caught.value.permanent


async def test_what_nobody_told_is_listed(world: Emulated, shop: Polar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders, then refunds, page by page, and as the callbacks would have told them."""
    monkeypatch.setattr(polar, "PAGE", "1")
    payments = [await paid(world, shop) for _ in range(3)]
    refunds = [await shop.refund(a_refund(payment), payment) for payment in payments[:2]]
    listed = [report async for report in shop.listed(LONG_AGO)]
    assert all(same(report, shop) for report in listed)
    assert [report.event.change for report in listed] == ["paid"] * 3 + ["refunded"] * 2
    assert [report.event.order_id for report in listed[:3]] == [one.payment_id for one in reversed(payments)]
    assert {one.event.effect_key for one in listed[3:]} == {one.event.effect_key for one in refunds}
    assert [one async for one in shop.listed(datetime.now(UTC) + timedelta(days=1))] == []


@pytest.mark.parametrize(
    "answer", [{}, {"id": None, "url": "x"}, {"items": [{"id": 7, "checkout_id": "co_1"}], "pagination": {}}]
)
async def test_an_answer_that_cannot_be_read_can_pass(answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    shop = configured()

    async def call(*_: object, **__: object) -> dict[str, Any]:
        return answer

    monkeypatch.setattr(type(shop._api), "call", call)
    payment = an_order("polar", provider_payment_id="co_1", status="succeeded")
    for act in (shop.create(payment, title="", language="en"), shop.refund(a_refund(payment), payment)):
        with pytest.raises(Unclear):
            await act
    with pytest.raises(Unclear):
        assert [one async for one in shop.listed(LONG_AGO)]


async def test_nobody_else_s_order_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the list is of."""
    shop = configured()

    async def call(*_: object, **__: object) -> dict[str, Any]:
        return {"items": [order(checkout_id="co_2")], "pagination": {"max_page": 1}}

    monkeypatch.setattr(type(shop._api), "call", call)
    payment = an_order("polar", provider_payment_id="co_1", status="succeeded")
    with pytest.raises(Upstream) as caught:
        await shop.refund(a_refund(payment), payment)
    assert caught.value.permanent


@pytest.mark.parametrize("created_at", [None, "yesterday", 7, ""])
async def test_a_list_without_times_can_pass(created_at: object, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = configured()

    async def call(*_: object, **__: object) -> dict[str, Any]:
        return {"items": [order(created_at=created_at)], "pagination": {"max_page": 1}}

    monkeypatch.setattr(type(shop._api), "call", call)
    with pytest.raises(Unclear):
        assert [one async for one in shop.listed(LONG_AGO)]


async def test_a_wrong_token_is_a_permanent_no(world: Emulated) -> None:
    shop = configured(world.session, f"{world.base}/polar", POLAR_ACCESS_TOKEN="polar_oat_wrong")
    with pytest.raises(Refused) as caught:
        await ordered(shop)
    assert (caught.value.status, caught.value.permanent) == (401, True)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("base", "live"),
    [("https://api.polar.sh", True), ("https://sandbox-api.polar.sh", False), (f"{NOBODY}/sandbox/polar", False)],
)
def test_only_polar_s_own_host_has_real_money(base: str, live: bool) -> None:
    """Case 21: what tells test money from real is the host and its keys; another organization's secret is Forged."""
    assert configured(base=base).live is live


def test_what_it_needs() -> None:
    unset = {"POLAR_ACCESS_TOKEN": "", "POLAR_WEBHOOK_SECRET": "", "POLAR_PRODUCT_ID": ""}
    given_settings = {"POLAR_ACCESS_TOKEN": "x", "POLAR_WEBHOOK_SECRET": "x"}
    for settings_now, reason in (
        (unset, "POLAR_ACCESS_TOKEN, POLAR_WEBHOOK_SECRET, POLAR_PRODUCT_ID not set"),
        (unset | given_settings, "POLAR_PRODUCT_ID not set"),
        (unset | given_settings | {"POLAR_PRODUCT_ID": PRODUCT}, None),
    ):
        assert polar.requires(config_for("postgresql://nowhere/none", **settings_now)) == reason
