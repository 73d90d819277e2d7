"""YooKassa against its emulator, over real HTTP, and against everything a body may say.

Case numbers are those of the failure cases that payment callbacks are held to.
"""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from service.config import load
from service.errors import Invalid, Upstream
from service.payments.event import Money, Payment, PaymentEvent, Refund, Report
from service.payments.providers import yookassa as room
from service.payments.providers.api import Api, Refused, Unclear
from service.payments.providers.yookassa import YooKassa
from tests.sandbox.processors.shop import ACCOUNTS, BACK, PAYMENT, Shop, opened

SAMPLES = {
    path.stem: path.read_bytes() for path in (Path(__file__).parents[2] / "data/payments/yookassa").glob("*.json")
}
SUCCEEDED = json.loads(SAMPLES["recorded_sandbox.payment.succeeded"])["object"]
RECORDED_SHOP = SUCCEEDED["recipient"]["account_id"]
UNKNOWN_ID = "22222222-000f-5000-8000-222222222222"
NOW = datetime(2026, 9, 21, tzinfo=UTC)  # about when the emulator's clock stands
PAYER = 700_000_001

Json = dict[str, Any]


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with opened() as shop:
        yield shop


def settings(**more: str) -> dict[str, str]:
    account = ACCOUNTS.yookassa
    return {"YOOKASSA_SHOP_ID": account.shop_id, "YOOKASSA_SECRET_KEY": account.secret_key, **more}


def provider(shop: Shop, **more: str) -> YooKassa:
    base = f"{shop.sandbox}/yookassa/v3"
    return room.configured(load(settings(YOOKASSA_API_BASE=base, **more)), shop.http, BACK)


@pytest.fixture
def yookassa(shop: Shop) -> YooKassa:
    return provider(shop)


def offline(shop_id: str = RECORDED_SHOP, *, live: bool = False) -> YooKassa:
    """One that only reads: there is nobody to call."""
    api = Api(provider="yookassa", session=None, base="http://nowhere.invalid")
    return YooKassa(api, shop_id, live=live, return_url=BACK, receipts=None)


def order(amount: str = "150.00", **more: Any) -> Payment:
    row: Json = {
        "payment_id": uuid4(),
        "user_id": PAYER,
        "provider": "yookassa",
        "provider_payment_id": None,
        "status": "creating",
        "amount": Decimal(amount),
        "currency": "RUB",
        "credit_rub": Decimal(amount),
        "refunded_amount": Decimal(0),
        "refunded_rub": Decimal(0),
        "pack_id": "small",
        "pay_url": None,
        "test": True,
        "created_at": NOW,
        "expires_at": NOW + timedelta(hours=1),
        "settled_at": None,
        "told_at": None,
    }
    return Payment(**row | more)


def part(payment: Payment, amount: str) -> Refund:
    return Refund(
        refund_id=uuid4(),
        payment_id=payment.payment_id,
        provider="yookassa",
        provider_refund_id=None,
        kind="refund",
        status="requested",
        amount=Decimal(amount),
        amount_rub=Decimal(amount),
        reservation_id=None,
        reason="asked for",
        created_at=NOW,
    )


def body_of(thing: Any, event: Any = "payment.succeeded", **more: Any) -> bytes:
    return json.dumps({"type": "notification", "event": event, "object": thing, **more}).encode()


def changed(thing: Json, path: str, value: Any) -> Json:
    """A copy with another value at the dotted path; ... takes it away."""
    made = copy.deepcopy(thing)
    *way, last = path.split(".")
    place = made
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return made


def read(thing: Json, event: str = "payment.succeeded") -> PaymentEvent:
    return offline().parse(body_of(thing, event)).event


async def created(yookassa: YooKassa, payment: Payment) -> Payment:
    made = await yookassa.create(payment, title="Top-up", language="en")
    return msgspec.structs.replace(payment, provider_payment_id=made.provider_payment_id, status="pending")


async def paid(shop: Shop, yookassa: YooKassa, amount: str = "150.00") -> Payment:
    payment = await created(yookassa, order(amount))
    shop.processors.yookassa.pay(payment.provider_payment_id)
    return msgspec.structs.replace(payment, status="succeeded", settled_at=NOW)


# What a body says.

EXPECTED = {
    "docs.payment.waiting_for_capture": ("review", "payment.waiting_for_capture"),  # says no recipient
    "recorded_sandbox.payment.canceled": ("canceled", "payment.canceled"),
    "recorded_sandbox.payment.succeeded": ("paid", "payment.succeeded"),
    "sdk_python.deal.closed": ("nothing", "deal.closed"),
    "sdk_python.payment.waiting_for_capture": ("review", "payment.waiting_for_capture"),
    "sdk_python.payout.succeeded": ("nothing", "payout.succeeded"),
    "sdk_python.refund.succeeded": ("review", "refund.pending"),
}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_what_every_sample_means(name: str) -> None:
    """Case 6: refund.succeeded is around a refund that is pending, and its amount is a float (case 30)."""
    if name not in EXPECTED:
        with pytest.raises(Invalid):  # no notification, but what the API is told and answers
            offline().parse(SAMPLES[name])
        return
    event = offline().parse(SAMPLES[name]).event
    assert (event.change, event.name) == EXPECTED[name]
    assert event.delivery_key == f"{event.name}:{json.loads(SAMPLES[name])['object']['id']}"


def test_a_payment_is_read_whole() -> None:
    thing = changed(SUCCEEDED, "metadata", {"payment_id": UNKNOWN_ID, "user_id": str(PAYER)})
    report = offline().parse(body_of(thing))
    assert report == Report(
        PaymentEvent(
            provider="yookassa",
            delivery_key=f"payment.succeeded:{thing['id']}",
            name="payment.succeeded",
            change="paid",
            references=(("yookassa", thing["id"]),),
            order_id=UUID(UNKNOWN_ID),
            user_id=PAYER,
            money=Money(Decimal("1.00"), "RUB"),  # and not the 0.96 of income_amount
            effect_key=f"yookassa:payment:{thing['id']}",
        ),
        body_of(thing),
    )


@pytest.mark.parametrize("status", ["pending", "waiting_for_capture", "succeeded", "canceled"])
@pytest.mark.parametrize("event", ["payment.succeeded", "payment.canceled", "payment.anything"])
def test_the_state_counts_and_not_the_name(status: str, event: str) -> None:
    """Cases 5 and 6."""
    changes = {"pending": "nothing", "waiting_for_capture": "authorized", "succeeded": "paid", "canceled": "canceled"}
    found = read(changed(SUCCEEDED, "status", status), event)
    assert (found.change, found.name) == (changes[status], f"payment.{status}")


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("paid", False, "succeeded, and not paid"),
        ("paid", "true", "paid: true or false is expected, not 'true'"),
        ("paid", 1, "paid: true or false is expected, not 1"),
        ("paid", ..., "paid: true or false is expected, not None"),
        ("test", False, "real money, and the shop is a test shop"),
        ("test", None, "test: true or false is expected, not None"),
        ("recipient.account_id", "100500", "paid to another shop"),
        ("recipient.account_id", f"0{RECORDED_SHOP}", "paid to another shop"),
        ("recipient", ..., "recipient.account_id: text of 1 to 255 printable characters is expected, not None"),
        ("status", "refunded", "its status is none that is known"),
        ("status", None, "its status is none that is known"),
        ("status", ["succeeded"], "its status is none that is known"),
    ],
)
def test_what_contradicts_is_for_review(path: str, value: Any, reason: str) -> None:
    """Case 21: another shop, test money; and whatever else is not as it must be."""
    event = read(changed(SUCCEEDED, path, value))
    assert (event.change, event.reason) == ("review", reason)


def test_test_money_is_none_at_a_live_shop() -> None:
    """Case 21."""
    event = offline(live=True).parse(body_of(SUCCEEDED)).event
    assert (event.change, event.reason) == ("review", "test money, and the shop is live")


AMOUNTS = [
    True, 1, 1.0, 250.0, None, "1", "1.0", "1.000", "1e2", "-1.00", "+1.00", " 1.00", "1.00\n", "1_0.00", "１.00",
    "١.00", "1000000000000.00", "Infinity", "NaN", {}, [], ...,
]  # fmt: skip


@pytest.mark.parametrize("value", AMOUNTS, ids=repr)
def test_an_amount_that_is_none_is_for_review(value: Any) -> None:
    """Cases 30 and 32."""
    event = read(changed(SUCCEEDED, "amount.value", value))
    assert (event.change, event.money) == ("review", None)


@pytest.mark.parametrize("value", ["RUВ", "РУБ", "RU", "", None, 643, ...], ids=ascii)
def test_a_currency_that_is_none_is_for_review(value: Any) -> None:
    """Case 34: RUВ with a Cyrillic letter."""
    assert read(changed(SUCCEEDED, "amount.currency", value)).change == "review"


def test_a_currency_may_be_in_small_letters() -> None:
    """Case 34."""
    assert read(changed(SUCCEEDED, "amount.currency", "rub")).money == Money(Decimal("1.00"), "RUB")


@pytest.mark.parametrize(
    "body",
    [
        b"event=payment.succeeded&object=1",
        b"\xef\xbb\xbf" + body_of(SUCCEEDED),
        body_of(SUCCEEDED).decode().encode("utf-16"),
        body_of(SUCCEEDED).replace(b'"paid": true', b'"paid": false, "paid": true'),
        body_of(SUCCEEDED).replace(b'"1.00"', b"NaN"),
        body_of(SUCCEEDED).replace(b'"1.00"', b"1" * 5000),
        body_of(SUCCEEDED).replace(b'"1.00"', b"[" * 200_000),
    ],
    ids=["24 form", "26 BOM", "26 UTF-16", "27 twice", "28 NaN", "29 digits", "29 depth"],
)
def test_a_body_that_is_no_strict_json_is_invalid(body: bytes) -> None:
    """Cases 24, 26, 27, 28 and 29."""
    with pytest.raises(Invalid):
        offline().parse(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'"payment.succeeded"',
        b"{}",
        body_of(None),
        body_of([SUCCEEDED]),
        body_of("succeeded"),
        body_of(SUCCEEDED, None),
        body_of(SUCCEEDED, "payment"),
        body_of(SUCCEEDED, "payment.succeeded\n"),
        body_of(SUCCEEDED, "Payment.Succeeded"),
        body_of(SUCCEEDED, type="event"),
        *(
            body_of(changed(SUCCEEDED, "id", value))
            for value in (..., None, 5, "", "x" * 10_000, "../refunds", SUCCEEDED["id"].upper(), SUCCEEDED["id"] + "\n")
        ),
        body_of({"id": "x" * 10_000}, "payout.succeeded"),
        body_of({"id": "a/b"}, "payout.succeeded"),
    ],
)
def test_a_body_of_another_shape_is_invalid(body: bytes) -> None:
    """Case 35: lists, texts, nulls and endless ids where something else belongs."""
    with pytest.raises(Invalid):
        offline().parse(body)


@pytest.mark.parametrize(
    "metadata", [..., None, [], "x", {}, {"payment_id": None}, {"payment_id": 5}, {"payment_id": {}}]
)
def test_metadata_may_be_anything(metadata: Any) -> None:
    """Case 35: metadata missing, or its values no strings."""
    event = read(changed(SUCCEEDED, "metadata", metadata))
    assert (event.change, event.order_id, event.user_id) == ("paid", None, None)


@pytest.mark.parametrize("text", ["a\u0000b", "\ud800", "a\nb", "x" * 10_000], ids=["NUL", "surrogate", "line", "long"])
@pytest.mark.parametrize("path", ["status", "metadata.user_id", "recipient.account_id", "amount.value", "description"])
def test_nothing_that_cannot_be_stored_is_read(path: str, text: str) -> None:
    """Case 33: NUL and half of a surrogate; the body itself is kept as bytes."""
    event = read(changed(SUCCEEDED, path, text))
    texts = (event.delivery_key, event.name, event.reason, event.effect_key, *event.references[0])
    assert all(one.isprintable() and len(one) <= 255 for one in texts)
    one_of_the_key = offline().parse(body_of({"id": "po-1", "description": text}, "payout.succeeded"))
    assert one_of_the_key.body.isascii()


@pytest.mark.parametrize("user_id", ["123 ", "0123", str(2**63), "-1", "1.0", "", 123])
def test_a_user_id_is_read_strictly(user_id: Any) -> None:
    """Case 36."""
    event = read(changed(SUCCEEDED, "metadata", {"user_id": user_id}))
    assert (event.change, event.user_id) == ("paid", None)


@pytest.mark.parametrize(
    ("status", "change"), [("pending", "refund_pending"), ("succeeded", "refunded"), ("canceled", "returned")]
)
def test_a_refund_is_read_whole(status: str, change: str) -> None:
    refund = {
        "id": UNKNOWN_ID,
        "payment_id": SUCCEEDED["id"],
        "status": status,
        "amount": {"value": "0.40", "currency": "RUB"},
        "metadata": {"refund_id": "5cbc8b7c-4b0b-4f43-a4d5-8c8c8a0b6a11", "payment_id": UNKNOWN_ID},
    }
    assert read(refund, "refund.succeeded") == PaymentEvent(
        provider="yookassa",
        delivery_key=f"refund.{status}:{UNKNOWN_ID}",
        name=f"refund.{status}",
        change=change,
        references=(("yookassa", SUCCEEDED["id"]),),
        order_id=UUID(UNKNOWN_ID),
        money=Money(Decimal("0.40"), "RUB"),
        effect_key=f"yookassa:refund:{UNKNOWN_ID}",
        refund_id=UNKNOWN_ID,
        request_id=UUID("5cbc8b7c-4b0b-4f43-a4d5-8c8c8a0b6a11"),
    )


def test_an_event_of_something_else_is_kept_as_its_name_and_id() -> None:
    """Nobody vouches for the rest, and it could be long."""
    report = offline().parse(SAMPLES["sdk_python.payout.succeeded"])
    assert (report.event.change, report.event.money) == ("nothing", None)
    assert json.loads(report.body)["object"] == {"id": "po-2855a19a-0003-5000-a000-0efa9e7f4264"}
    assert offline().parse(report.body) == report


def test_there_is_nothing_to_verify() -> None:
    assert offline().verify({}, b"", NOW) is None


# Any body at all.

JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text(max_size=8)
    | some.sampled_from(
        ["succeeded", "1.00", "150.00", "RUB", SUCCEEDED["id"], "payment.succeeded", "refund.succeeded"]
    ),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in it."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


@some.composite
def mutated(draw: some.DrawFn) -> bytes:
    """A sample with a few of its values replaced or gone."""
    value = json.loads(SAMPLES[draw(some.sampled_from(sorted(EXPECTED)))])
    for _ in range(draw(some.integers(1, 3))):
        container, key = draw(some.sampled_from(list(places(value)) or [({"": 0}, "")]))
        if draw(some.booleans()):
            container[key] = draw(JSON)
        else:
            del container[key]
    return json.dumps(value).encode()


@given(some.binary(max_size=300) | mutated() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_read_or_invalid(body: bytes) -> None:
    try:
        report = offline().parse(body)
    except Invalid:
        return
    event = report.event
    assert all(text.isprintable() for text in (event.delivery_key, event.name, event.reason))
    assert offline().parse(report.body) == report
    if event.change == "paid":
        thing = json.loads(body)["object"]
        assert (thing["status"], thing["paid"], thing["test"]) == ("succeeded", True, True)
        assert thing["recipient"]["account_id"] == RECORDED_SHOP
        assert f"{event.money.amount:.2f}" == thing["amount"]["value"]
    if event.change in ("paid", "refunded", "returned"):
        assert event.money is not None
        assert event.effect_key is not None


# What the API says.


async def test_a_callback_is_confirmed_and_means_the_same_on_every_way(shop: Shop, yookassa: YooKassa) -> None:
    payment = await paid(shop, yookassa)
    await shop.processors.settled()
    hint = yookassa.parse(shop.got[0].body)
    confirmed = await yookassa.confirm(hint)
    assert confirmed.event == hint.event
    assert confirmed.event.change == "paid"
    assert (confirmed.event.order_id, confirmed.event.user_id) == (payment.payment_id, PAYER)
    assert confirmed.event.money == payment.money
    assert yookassa.parse(confirmed.body) == confirmed
    assert await yookassa.confirm(confirmed) == confirmed
    assert await yookassa.look_up(msgspec.structs.replace(payment, status="pending")) == [confirmed]
    assert [report async for report in yookassa.listed(NOW - timedelta(days=1))] == [confirmed]


async def test_a_forged_payment_is_unknown(yookassa: YooKassa) -> None:
    """Case 17: the id looks real, and the API knows none."""
    hint = yookassa.parse(body_of(changed(SUCCEEDED, "id", UNKNOWN_ID), padding="x" * 1000))
    confirmed = await yookassa.confirm(hint)
    assert (confirmed.event.change, confirmed.event.reason) == ("nothing", "YooKassa does not know it")
    assert confirmed.event.delivery_key != hint.event.delivery_key, "the real one may still come"
    assert b"xxx" not in confirmed.body
    assert yookassa.parse(confirmed.body) == confirmed
    assert await yookassa.confirm(confirmed) == confirmed


async def test_a_forged_refund_is_unknown(yookassa: YooKassa) -> None:
    """Case 17."""
    hint = yookassa.parse(SAMPLES["sdk_python.refund.succeeded"])
    assert (await yookassa.confirm(hint)).event.change == "nothing"


async def test_a_forged_success_of_a_pending_payment_is_nothing(shop: Shop, yookassa: YooKassa) -> None:
    """Case 17: the id is real, and nothing is paid."""
    payment = await created(yookassa, order())
    forged = changed(SUCCEEDED, "id", payment.provider_payment_id)
    forged["recipient"]["account_id"] = ACCOUNTS.yookassa.shop_id
    hint = yookassa.parse(body_of(forged))
    assert hint.event.change == "paid"
    confirmed = await yookassa.confirm(hint)
    assert (confirmed.event.change, confirmed.event.name) == ("nothing", "payment.pending")
    assert confirmed.event.delivery_key != hint.event.delivery_key


async def test_a_forged_amount_is_the_real_one(shop: Shop, yookassa: YooKassa) -> None:
    """Case 17: everything but the id is taken from the API."""
    payment = await paid(shop, yookassa)
    forged = changed(SUCCEEDED, "id", payment.provider_payment_id) | {"amount": {"value": "9999.00", "currency": "RUB"}}
    confirmed = await yookassa.confirm(yookassa.parse(body_of(forged)))
    assert confirmed.event.money == payment.money
    assert b"9999" not in confirmed.body


@pytest.mark.parametrize("status", [429, 500, 503, 401, 403])
async def test_nothing_is_decided_while_the_api_is_down(shop: Shop, yookassa: YooKassa, status: int) -> None:
    """Case 13: a 401 is no answer about the payment either."""
    payment = await paid(shop, yookassa)
    hint = yookassa.parse(body_of(changed(SUCCEEDED, "id", payment.provider_payment_id)))
    shop.processors.faults.fail("yookassa GET /payments/{id}", status=status)
    with pytest.raises(Upstream):
        await yookassa.confirm(hint)
    assert (await yookassa.confirm(hint)).event.change == "paid"


async def test_a_lost_answer_decides_nothing(shop: Shop, yookassa: YooKassa) -> None:
    """Case 13."""
    shop.processors.faults.drop("yookassa GET /payments/{id}", times=2)  # aiohttp itself tries a GET twice
    with pytest.raises(Upstream) as caught:
        await yookassa.confirm(yookassa.parse(body_of(SUCCEEDED)))
    assert caught.value.retryable


async def test_an_answer_about_another_payment_is_none(shop: Shop, yookassa: YooKassa) -> None:
    shop.processors.yookassa.payments[UNKNOWN_ID] = SUCCEEDED
    with pytest.raises(Unclear):
        await yookassa.confirm(yookassa.parse(body_of(changed(SUCCEEDED, "id", UNKNOWN_ID))))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("amount.value", 1.0),
        ("test", False),
        ("recipient.account_id", RECORDED_SHOP),
        ("status", "odd"),
        ("paid", None),
    ],
)
async def test_an_odd_answer_is_for_review(shop: Shop, yookassa: YooKassa, path: str, value: Any) -> None:
    """Cases 21 and 30, on the API's own word."""
    ours = changed(SUCCEEDED, "recipient.account_id", ACCOUNTS.yookassa.shop_id)
    shop.processors.yookassa.payments[ours["id"]] = changed(ours, path, value)
    confirmed = await yookassa.confirm(yookassa.parse(body_of(ours)))
    assert confirmed.event.change == "review"
    assert yookassa.parse(confirmed.body) == confirmed


async def test_what_is_no_money_is_not_asked_about(shop: Shop, yookassa: YooKassa) -> None:
    report = yookassa.parse(SAMPLES["sdk_python.deal.closed"])
    assert await yookassa.confirm(report) == report
    assert not list(shop.processors.calls)


# What we ask for.


async def test_a_payment_is_made(shop: Shop, yookassa: YooKassa) -> None:
    payment = order()
    made = await yookassa.create(payment, title="Пополнение " * 20, language="ru")
    assert made.pay_url == f"{shop.sandbox}/pay/yookassa/{made.provider_payment_id}"
    (call,) = shop.processors.calls.of("yookassa POST /payments")
    assert call.key == str(payment.payment_id)
    assert json.loads(call.body) == {
        "amount": {"value": "150.00", "currency": "RUB"},
        "capture": True,
        "confirmation": {"type": "redirect", "return_url": BACK},
        "description": ("Пополнение " * 20)[:128],
        "metadata": {"payment_id": str(payment.payment_id), "user_id": str(PAYER)},
    }


@pytest.mark.parametrize("fault", ["fail", "drop"])
async def test_a_payment_is_made_once(shop: Shop, yookassa: YooKassa, fault: str) -> None:
    """Its answer was lost, and the same key brings it back."""
    payment = order()
    getattr(shop.processors.faults, fault)("yookassa POST /payments", after=True)
    with pytest.raises(Unclear):
        await yookassa.create(payment, title="Top-up", language="en")
    made = await yookassa.create(payment, title="Top-up", language="en")
    assert list(shop.processors.yookassa.payments) == [made.provider_payment_id]


async def test_a_refusal_is_one(shop: Shop, yookassa: YooKassa) -> None:
    with pytest.raises(Refused) as caught:
        await yookassa.create(order(currency="XTR"), title="Top-up", language="en")
    assert (caught.value.permanent, caught.value.reason) == (True, "invalid_request")


async def test_a_payment_that_needs_no_page_has_none(shop: Shop) -> None:
    """A repeat that is answered with what became of it meanwhile."""

    class Answering(Api):
        async def call(self, *asked: Any, **more: Any) -> Json:
            return SUCCEEDED

    api = Answering(provider="yookassa", session=shop.http, base="")
    yookassa = YooKassa(api, RECORDED_SHOP, live=False, return_url=BACK, receipts=None)
    made = await yookassa.create(order(), title="Top-up", language="en")
    assert (made.provider_payment_id, made.pay_url) == (SUCCEEDED["id"], "")


async def test_receipts_are_asked_for_where_they_go_somewhere(shop: Shop) -> None:
    yookassa = provider(shop, YOOKASSA_RECEIPT_EMAIL="receipts@example.org", YOOKASSA_VAT_CODE="4")
    payment = await paid(shop, yookassa)
    await yookassa.refund(part(payment, "50.00"), payment)
    asked = [json.loads(call.body) for call in shop.processors.calls if call.method.startswith("yookassa POST")]
    assert [call["receipt"]["items"][0]["amount"]["value"] for call in asked] == ["150.00", "50.00"]
    for call in asked:
        assert call["receipt"]["customer"] == {"email": "receipts@example.org"}
        (item,) = call["receipt"]["items"]
        assert item == {
            "description": "Пополнение баланса",
            "quantity": 1,
            "amount": call["amount"],
            "vat_code": 4,
            "payment_subject": "service",
            "payment_mode": "full_prepayment",
        }


async def test_a_payment_that_is_still_open_says_nothing(shop: Shop, yookassa: YooKassa) -> None:
    payment = order()
    assert await yookassa.look_up(payment) == []
    assert not list(shop.processors.calls), "without an id there is nothing to ask"
    assert await yookassa.look_up(await created(yookassa, payment)) == []


@pytest.mark.parametrize(("how", "change", "reason"), [
    ("cancel", "canceled", "payment_canceled"),
    ("expire", "canceled", "expired_on_confirmation"),
])  # fmt: skip
async def test_a_payment_that_is_over(shop: Shop, yookassa: YooKassa, how: str, change: str, reason: str) -> None:
    payment = await created(yookassa, order())
    getattr(shop.processors.yookassa, how)(payment.provider_payment_id)
    (report,) = await yookassa.look_up(payment)
    assert (report.event.change, report.event.reason) == (change, reason)


@pytest.mark.parametrize("lost", [False, True])
async def test_two_stages(shop: Shop, yookassa: YooKassa, lost: bool) -> None:
    """We never ask for them; a payment that was made by other hands may have them."""
    made = await shop.yookassa("POST", "/payments", PAYMENT | {"capture": False})
    payment = order(provider_payment_id=made["id"], status="waiting_for_capture")
    shop.processors.yookassa.pay(made["id"])
    (report,) = await yookassa.look_up(payment)
    assert (report.event.change, report.event.name) == ("authorized", "payment.waiting_for_capture")
    if lost:
        shop.processors.faults.fail("yookassa POST /payments/{id}/capture", after=True)
        with pytest.raises(Unclear):
            await yookassa.capture(payment)
    captured = await yookassa.capture(payment)
    assert captured.event.change == "paid"
    assert captured.event.money == payment.money
    assert [captured] == await yookassa.look_up(payment)


async def test_a_refund_is_given_once(shop: Shop, yookassa: YooKassa) -> None:
    """Case 42: asked for twice, also when YooKassa has forgotten the key."""
    payment = await paid(shop, yookassa)
    refund = part(payment, "50.00")
    first = await yookassa.refund(refund, payment)
    assert first.event.change == "refunded"
    assert (first.event.request_id, first.event.order_id) == (refund.refund_id, payment.payment_id)
    assert first.event.money == Money(Decimal("50.00"), "RUB")
    shop.clock.now += 25 * 3600
    assert await yookassa.refund(refund, payment) == first
    assert len(shop.processors.yookassa.refunds) == 1
    other = await yookassa.refund(part(payment, "50.00"), payment)
    assert other.event.refund_id != first.event.refund_id
    assert {report.event.refund_id for report in await yookassa.look_up(payment)} == {
        first.event.refund_id,
        other.event.refund_id,
    }


async def test_a_refund_whose_answer_was_lost_is_found(shop: Shop, yookassa: YooKassa) -> None:
    """Case 42."""
    payment = await paid(shop, yookassa)
    refund = part(payment, "150.00")
    shop.processors.faults.fail("yookassa POST /refunds", after=True)
    with pytest.raises(Unclear):
        await yookassa.refund(refund, payment)
    report = await yookassa.refund(refund, payment)
    assert report.event.delivery_key == f"refund.succeeded:{report.event.refund_id}"
    assert await yookassa.look_up(payment) == [report]
    assert len(shop.processors.yookassa.refunds) == 1


async def test_more_than_was_paid_is_not_given_back(shop: Shop, yookassa: YooKassa) -> None:
    """Case 39: the processor refuses, and says that it did nothing."""
    payment = await paid(shop, yookassa)
    with pytest.raises(Refused) as caught:
        await yookassa.refund(part(payment, "150.01"), payment)
    assert caught.value.permanent
    assert not shop.processors.yookassa.refunds


async def test_nothing_is_given_back_of_a_payment_that_has_no_id(yookassa: YooKassa) -> None:
    with pytest.raises(Upstream) as caught:
        await yookassa.refund(part(order(), "1.00"), order())
    assert caught.value.permanent


async def test_a_refund_is_confirmed(shop: Shop, yookassa: YooKassa) -> None:
    payment = await paid(shop, yookassa)
    report = await yookassa.refund(part(payment, "50.00"), payment)
    await shop.processors.settled()
    assert await yookassa.confirm(yookassa.parse(shop.got[-1].body)) == report
    shop.processors.yookassa.refunds[report.event.refund_id]["status"] = "canceled"
    assert (await yookassa.confirm(report)).event.change == "returned"


async def test_everything_since_then_is_listed(shop: Shop, yookassa: YooKassa) -> None:
    """Over several pages; what is older, and what is not taken, is left out."""
    payment = await paid(shop, yookassa)
    known = shop.processors.yookassa.payments
    sample = known[payment.provider_payment_id]
    for number in range(230):
        payment_id = f"{number:08x}-000f-5000-8000-000000000000"
        when = "2026-09-22T00:00:00.000Z" if number % 2 else "2026-09-01T00:00:00.000Z"
        known[payment_id] = sample | {"id": payment_id, "captured_at": when}
    await created(yookassa, order())
    refunded = await yookassa.refund(part(payment, "1.00"), payment)
    reports = [report async for report in yookassa.listed(NOW - timedelta(days=2))]
    assert [report.event.change for report in reports] == ["paid"] * 116 + ["refunded"]
    assert reports[-1] == refunded
    assert len({report.event.delivery_key for report in reports}) == 117
    assert len(shop.processors.calls.of("yookassa GET /payments")) == 2


async def test_a_list_that_is_none_is_unclear(shop: Shop) -> None:
    class Answering(Api):
        async def call(self, *asked: Any, **more: Any) -> Json:
            return {"items": [5]}

    yookassa = YooKassa(
        Answering(provider="yookassa", session=shop.http, base=""), "1", live=True, return_url=BACK, receipts=None
    )
    with pytest.raises(Unclear):
        _ = [report async for report in yookassa.listed(NOW)]


# The settings.


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "YOOKASSA_SHOP_ID, YOOKASSA_SECRET_KEY not set"),
        ({"YOOKASSA_SHOP_ID": "1"}, "YOOKASSA_SECRET_KEY not set"),
        ({"YOOKASSA_SECRET_KEY": "x"}, "YOOKASSA_SHOP_ID not set"),
        (settings(), None),
    ],
)
def test_what_is_missing_is_named(given: dict[str, str], reason: str | None) -> None:
    assert room.requires(load(given)) == reason


@pytest.mark.parametrize(("key", "live"), [("test_abc", False), ("live_abc", True), ("abc_test_", True)])
async def test_the_key_says_whether_it_is_live(key: str, live: bool) -> None:
    async with aiohttp.ClientSession() as session:
        yookassa = room.configured(load(settings(YOOKASSA_SECRET_KEY=key)), session, BACK)
    assert (yookassa.live, yookassa.name) == (live, "yookassa")
    assert key not in repr(yookassa)
