"""Polar's API, and its refusals."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
import standardwebhooks

from service.sandbox.processors import Accounts, NotPayable, PolarAccount
from tests.sandbox.processors.shop import ACCOUNTS, CHECKOUT, PRODUCT, Shop, opened

BOUGHT = ["checkout.updated", "order.created", "order.paid"]
REFUNDED = ["refund.created", "refund.updated", "order.refunded"]
SVIX = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # of the specification's test vector


async def bought(shop: Shop) -> dict[str, Any]:
    checkout = await shop.polar("POST", "/v1/checkouts", CHECKOUT)
    return shop.processors.polar.pay(checkout["id"])


def refund_of(order: dict[str, Any], amount: int) -> dict[str, Any]:
    return {"order_id": order["id"], "amount": amount, "reason": "customer_request", "metadata": {"refund_id": "r"}}


async def test_a_checkout_is_created_paid_and_told(shop: Shop) -> None:
    created = await shop.polar("POST", "/v1/checkouts/", CHECKOUT)
    assert created.status == 201
    assert created["url"] == f"{shop.sandbox}/pay/polar/{created['id']}"
    assert (created["status"], created["total_amount"], created["currency"]) == ("open", 1000, "usd")
    assert (created["product_id"], created["external_customer_id"]) == (PRODUCT, "700000001")
    assert uuid.UUID(created["id"]).version == 4

    order = shop.processors.polar.pay(created["id"])
    assert await shop.events() == BOUGHT
    checkout = await shop.polar("GET", f"/v1/checkouts/{created['id']}")
    assert checkout["status"] == "succeeded"
    fetched = await shop.polar("GET", f"/v1/orders/{order['id']}")
    assert (fetched["status"], fetched["paid"], fetched["net_amount"]) == ("paid", True, 1000)
    assert (fetched["checkout_id"], fetched["metadata"]) == (created["id"], {"payment_id": "one"})
    assert (fetched["customer"]["external_id"], fetched["billing_reason"]) == ("700000001", "purchase")
    told = [callback.json for callback in shop.processors.callbacks]
    assert [set(one) for one in told] == [{"type", "timestamp", "data"}] * 3
    assert [one["data"] for one in told] == [checkout.body, fetched.body, fetched.body]
    with pytest.raises(NotPayable):
        shop.processors.polar.pay(created["id"])


async def test_callbacks_are_signed_with_the_raw_secret(shop: Shop) -> None:
    shop.clock.now = time.time()
    await bought(shop)
    await shop.processors.settled()
    library = standardwebhooks.Webhook(ACCOUNTS.polar.webhook_secret.encode())
    for got in shop.got:
        assert library.verify(got.body, got.headers) == json.loads(got.body)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            library.verify(got.body + b" ", got.headers)
    assert len({got.headers["webhook-id"] for got in shop.got}) == 3


async def test_callbacks_are_signed_the_standard_way_where_the_endpoint_is_new() -> None:
    async with opened(Accounts(polar=PolarAccount(webhook_secret=SVIX, standard_key=True))) as shop:
        shop.clock.now = time.time()
        headers = shop.processors.polar.signed(b'{"type": "order.paid"}')
        assert standardwebhooks.Webhook(SVIX).verify(b'{"type": "order.paid"}', headers) == {"type": "order.paid"}
        vector = shop.processors.polar.signed(b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek", at=1614265330)
        assert vector["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_refunds_sum_up_to_the_order_and_no_further(shop: Shop) -> None:
    order = await bought(shop)
    first = await shop.polar("POST", "/v1/refunds", refund_of(order, 400))
    assert (first.status, first["status"], first["metadata"]) == (200, "pending", {"refund_id": "r"})
    assert await shop.events() == BOUGHT + REFUNDED
    created, updated, told = [callback.json["data"] for callback in shop.processors.callbacks[3:]]
    assert (created["status"], updated["status"]) == ("pending", "succeeded")
    assert (told["status"], told["refunded_amount"], told["id"]) == ("partially_refunded", 400, order["id"])
    too_much = await shop.polar("POST", "/v1/refunds", refund_of(order, 601))
    assert (too_much.status, too_much["error"]) == (400, "RefundAmountTooHigh")
    second = await shop.polar("POST", "/v1/refunds", refund_of(order, 600))
    again = await shop.polar("POST", "/v1/refunds", refund_of(order, 1))
    assert (again.status, again["error"]) == (403, "RefundedAlready")
    assert (await shop.polar("GET", f"/v1/orders/{order['id']}"))["status"] == "refunded"
    listed = await shop.polar("GET", f"/v1/refunds?order_id={order['id']}")
    assert [one["id"] for one in listed["items"]] == [second["id"], first["id"]]
    found = await shop.polar("GET", f"/v1/refunds?id={first['id']}")
    assert [(one["id"], one["status"]) for one in found["items"]] == [(first["id"], "succeeded")]


async def test_tax_is_on_top_and_goes_back_with_the_rest() -> None:
    async with opened(Accounts(polar=PolarAccount(ACCOUNTS.polar.access_token, tax_percent=20))) as shop:
        order = await bought(shop)
        assert (order["net_amount"], order["tax_amount"], order["total_amount"]) == (1000, 200, 1200)
        first = await shop.polar("POST", "/v1/refunds", refund_of(order, 333))
        rest = await shop.polar("POST", "/v1/refunds", refund_of(order, 667))
        assert (first["tax_amount"], rest["tax_amount"]) == (66, 134)


async def test_a_product_must_exist_where_they_are_listed() -> None:
    account = PolarAccount(ACCOUNTS.polar.access_token, products=frozenset({PRODUCT}))
    async with opened(Accounts(polar=account)) as shop:
        assert (await shop.polar("POST", "/v1/checkouts", CHECKOUT)).status == 201
        other = {"products": [str(uuid.uuid4())], "amount": 500}
        assert (await shop.polar("POST", "/v1/checkouts", other)).status == 422


async def test_a_checkout_expires(shop: Shop) -> None:
    one, two = [(await shop.polar("POST", "/v1/checkouts", CHECKOUT))["id"] for _ in range(2)]
    assert shop.processors.polar.cancel(one)["status"] == "expired"
    shop.clock.now += 24 * 3600
    with pytest.raises(NotPayable):
        shop.processors.polar.pay(two)
    assert await shop.events() == ["checkout.expired"] * 2


async def test_lists_come_in_pages(shop: Shop) -> None:
    orders = []
    for _ in range(12):
        shop.clock.now += 1
        orders.append((await bought(shop))["id"])
    first = await shop.polar("GET", "/v1/orders")
    assert [one["id"] for one in first["items"]] == orders[:1:-1]
    assert first["pagination"] == {"total_count": 12, "max_page": 2}
    second = await shop.polar("GET", "/v1/orders/?page=2")
    assert [one["id"] for one in second["items"]] == [orders[1], orders[0]]
    checkout_id = shop.processors.polar.orders[orders[5]]["checkout_id"]
    for asked in (f"checkout_id={checkout_id}", f"created_after={_time(shop, orders[4])}&limit=1&page=7"):
        found = await shop.polar("GET", f"/v1/orders?{asked}")
        assert [one["id"] for one in found["items"]] == [orders[5]]
    between = f"created_after={_time(shop, orders[4])}&created_before={_time(shop, orders[7])}"
    for asked, count in (
        (between, 2),
        ("metadata[payment_id]=one", 12),
        ("metadata[payment_id]=two", 0),
        ("status=refunded", 0),
    ):
        assert (await shop.polar("GET", f"/v1/orders?{asked}"))["pagination"]["total_count"] == count
    payers = await shop.polar("GET", "/v1/orders?external_customer_id=700000001&external_customer_id=1")
    assert payers["pagination"]["total_count"] == 12
    assert (await shop.polar("GET", "/v1/checkouts?status=succeeded"))["pagination"]["total_count"] == 12
    for wrong in ("page=0", "limit=0", "limit=x", "created_after=yesterday"):
        assert (await shop.polar("GET", f"/v1/orders?{wrong}")).status == 422


def _time(shop: Shop, order_id: str) -> str:
    return str(shop.processors.polar.orders[order_id]["created_at"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"products": []}, "products"),
        ({"products": "one"}, "products"),
        ({"products": ["one"]}, "products"),
        ({"products": [PRODUCT, PRODUCT]}, "products"),
        ({"prices": {PRODUCT: [{"amount_type": "fixed", "price_amount": 10.0}]}}, "price_amount"),
        ({"prices": {PRODUCT: [{"amount_type": "fixed", "price_amount": 49}]}}, "price_amount"),
        ({"prices": {PRODUCT: [{"amount_type": "fixed", "price_amount": 50, "price_currency": "rub"}]}}, "currency"),
        ({"currency": ["usd"], "prices": None, "amount": 500}, "currency"),
        ({"prices": None}, "amount"),
        ({"prices": None, "amount": "500"}, "amount"),
        ({"prices": None, "amount": True}, "amount"),
        ({"metadata": {"key": None}}, "key"),
        ({"metadata": {"key": ""}}, "key"),
        ({"metadata": {"key": "x" * 501}}, "key"),
        ({"metadata": {str(key): 1 for key in range(51)}}, "metadata"),
        ({"success_url": "javascript:alert(1)"}, "success_url"),
        ({"external_customer_id": 700000001}, "external_customer_id"),
    ],
)
async def test_a_wrong_field_is_named(shop: Shop, change: dict[str, Any], field: str) -> None:
    refusal = await shop.polar("POST", "/v1/checkouts", {**CHECKOUT, **change})
    assert (refusal.status, refusal["error"]) == (422, "RequestValidationError")
    assert refusal["detail"][0]["loc"][-1] == field
    assert shop.processors.polar.checkouts == {}


async def test_what_the_payer_chooses_to_pay(shop: Shop) -> None:
    asked = {"product_id": PRODUCT, "amount": 700, "customer_external_id": "7"}
    created = await shop.polar("POST", "/v1/checkouts", asked)
    assert (created["amount"], created["external_customer_id"]) == (700, "7")


@pytest.mark.parametrize(
    "change", [{"amount": 0}, {"amount": 1.5}, {"reason": "why not"}, {"reason": []}, {"order_id": "x"}]
)
async def test_a_wrong_refund_is_refused(shop: Shop, change: dict[str, Any]) -> None:
    order = await bought(shop)
    assert (await shop.polar("POST", "/v1/refunds", {**refund_of(order, 1), **change})).status == 422
    assert shop.processors.polar.refunds == {}


async def test_there_are_no_idempotency_keys(shop: Shop) -> None:
    headers = {"Idempotency-Key": "k"}
    ids = {(await shop.polar("POST", "/v1/checkouts", CHECKOUT, headers=headers))["id"] for _ in range(2)}
    assert len(ids) == 2


async def test_strangers_other_bodies_and_paths_are_refused(shop: Shop) -> None:
    for given in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic x"}):
        assert (await shop.call("GET", "/polar/v1/orders", headers=given)).status == 401
    for sent in ({"data": b"{"}, {"data": b"[]"}, {"data": {"a": "b"}}):
        assert (await shop.polar("POST", "/v1/checkouts", **sent)).status == 422
    for path in ("/v1/checkouts/x", "/v1/orders/x", "/v1/nothing"):
        assert (await shop.polar("GET", path)).status == 404
    order = {"id": str(uuid.uuid4())}
    assert (await shop.polar("POST", "/v1/refunds", refund_of(order, 1))).status == 422
