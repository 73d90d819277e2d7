"""YooKassa's API, and its refusals."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from service.sandbox.processors import NotPayable, YooKassaAccount
from tests.sandbox.processors.shop import ACCOUNTS, BACK, PAYMENT, Shop

RECORDED = {"id", "status", "amount", "income_amount", "description", "recipient", "payment_method", "captured_at"}
RECORDED |= {"created_at", "test", "refunded_amount", "paid", "refundable", "metadata", "authorization_details"}
RUB = {"currency": "RUB"}


async def held(shop: Shop) -> str:
    """A payment that waits for its capture."""
    payment = await shop.yookassa("POST", "/payments", {**PAYMENT, "capture": False})
    return str(shop.processors.yookassa.pay(payment["id"])["id"])


async def paid(shop: Shop) -> str:
    payment = await shop.yookassa("POST", "/payments", PAYMENT)
    return str(shop.processors.yookassa.pay(payment["id"])["id"])


async def test_a_payment_is_created_paid_and_told(shop: Shop) -> None:
    created = await shop.yookassa("POST", "/payments", PAYMENT)
    payment_id = created["id"]
    assert created.status == 200
    assert re.fullmatch(r"[0-9a-f]{8}-000f-5000-8000-[0-9a-f]{12}", payment_id)
    assert created["confirmation"]["confirmation_url"] == f"{shop.sandbox}/pay/yookassa/{payment_id}"
    assert (created["status"], created["paid"], created["test"]) == ("pending", False, True)
    assert created["recipient"]["account_id"] == "506751"
    assert (await shop.yookassa("GET", f"/payments/{payment_id}")).body == created.body

    shop.processors.yookassa.pay(payment_id)
    fetched = await shop.yookassa("GET", f"/payments/{payment_id}")
    assert set(fetched.body) == RECORDED
    assert (fetched["status"], fetched["paid"], fetched["refundable"]) == ("succeeded", True, True)
    assert fetched["amount"] == {"value": "150.00", **RUB}
    assert fetched["income_amount"] == {"value": "144.75", **RUB}
    assert await shop.events() == ["payment.succeeded"]
    told = orjson.loads(shop.got[0].body)
    assert told == {"type": "notification", "event": "payment.succeeded", "object": fetched.body}
    assert shop.got[0].path == "/payments/yookassa"
    with pytest.raises(NotPayable):
        shop.processors.yookassa.pay(payment_id)


async def test_an_id_begins_with_the_time(shop: Shop) -> None:
    """As in the recorded 3086206f-000f-..., of 2025-10-18T21:54:55Z."""
    shop.clock.now = 1_760_824_495
    assert (await shop.yookassa("POST", "/payments", PAYMENT))["id"].startswith("3086206f-")


async def test_a_held_payment_is_captured_in_part(shop: Shop) -> None:
    payment_id = await held(shop)
    waiting = await shop.yookassa("GET", f"/payments/{payment_id}")
    assert (waiting["status"], waiting["paid"]) == ("waiting_for_capture", True)
    assert "expires_at" in waiting.body
    too_much = await shop.yookassa("POST", f"/payments/{payment_id}/capture", {"amount": {"value": "150.01", **RUB}})
    assert (too_much.status, too_much["parameter"]) == (400, "amount")
    captured = await shop.yookassa("POST", f"/payments/{payment_id}/capture", {"amount": {"value": "100.00", **RUB}})
    assert (captured["status"], captured["amount"]["value"]) == ("succeeded", "100.00")
    again = await shop.yookassa("POST", f"/payments/{payment_id}/capture")
    assert (again.status, again["code"]) == (400, "invalid_request")
    assert await shop.events() == ["payment.waiting_for_capture", "payment.succeeded"]


async def test_an_empty_body_captures_all(shop: Shop) -> None:
    captured = await shop.yookassa("POST", f"/payments/{await held(shop)}/capture")
    assert captured["amount"]["value"] == "150.00"


async def test_a_held_payment_is_given_up(shop: Shop) -> None:
    payment_id = await held(shop)
    canceled = await shop.yookassa("POST", f"/payments/{payment_id}/cancel", {})
    assert (canceled["status"], canceled["paid"]) == ("canceled", False)
    assert canceled["cancellation_details"] == {"party": "merchant", "reason": "canceled_by_merchant"}
    assert (await shop.yookassa("POST", f"/payments/{payment_id}/cancel", {})).status == 400


async def test_a_payment_is_left_or_expires(shop: Shop) -> None:
    one, two = [(await shop.yookassa("POST", "/payments", PAYMENT))["id"] for _ in range(2)]
    assert shop.processors.yookassa.cancel(one)["cancellation_details"]["reason"] == "payment_canceled"
    assert shop.processors.yookassa.expire(two)["cancellation_details"]["reason"] == "expired_on_confirmation"
    assert await shop.events() == ["payment.canceled", "payment.canceled"]


async def test_refunds_sum_up_to_the_payment_and_no_further(shop: Shop) -> None:
    payment_id = await paid(shop)

    async def refund(value: str) -> Any:
        asked = {"payment_id": payment_id, "amount": {"value": value, **RUB}, "metadata": {"refund_id": "r"}}
        return await shop.yookassa("POST", "/refunds", asked)

    first = await refund("100.00")
    assert (first["status"], first["payment_id"], first["metadata"]) == ("succeeded", payment_id, {"refund_id": "r"})
    assert (await shop.yookassa("GET", f"/refunds/{first['id']}")).body == first.body
    assert ((await refund("50.01")).status, (await refund("50.00")).status) == (400, 200)
    assert (await refund("0.01")).status == 400
    payment = await shop.yookassa("GET", f"/payments/{payment_id}")
    assert (payment["refunded_amount"]["value"], payment["refundable"]) == ("150.00", False)
    assert await shop.events() == ["payment.succeeded", "refund.succeeded", "refund.succeeded"]
    assert orjson.loads(shop.processors.callbacks[1].body)["object"] == first.body
    listed = await shop.yookassa("GET", f"/refunds?payment_id={payment_id}")
    assert [one["amount"]["value"] for one in listed["items"]] == ["50.00", "100.00"]


@pytest.mark.parametrize("state", ["pending", "canceled", "waiting_for_capture"])
async def test_only_what_was_paid_is_given_back(shop: Shop, state: str) -> None:
    payment_id = await held(shop)
    if state != "waiting_for_capture":
        payment_id = (await shop.yookassa("POST", "/payments", PAYMENT))["id"]
    if state == "canceled":
        shop.processors.yookassa.cancel(payment_id)
    asked = {"payment_id": payment_id, "amount": PAYMENT["amount"]}
    assert (await shop.yookassa("POST", "/refunds", asked)).status == 400


async def test_lists_come_in_pages(shop: Shop) -> None:
    ids = []
    for _ in range(12):
        shop.clock.now += 1
        ids.append((await shop.yookassa("POST", "/payments", PAYMENT))["id"])
    shop.processors.yookassa.pay(ids[3])
    first = await shop.yookassa("GET", "/payments")
    assert [one["id"] for one in first["items"]] == ids[:1:-1]
    second = await shop.yookassa("GET", f"/payments?cursor={first['next_cursor']}")
    assert [one["id"] for one in second["items"]] == [ids[1], ids[0]]
    assert "next_cursor" not in second.body
    succeeded = await shop.yookassa("GET", "/payments?status=succeeded")
    assert [one["id"] for one in succeeded["items"]] == [ids[3]]
    since = shop.processors.yookassa.payments[ids[10]]["created_at"]
    late = await shop.yookassa("GET", f"/payments?created_at.gte={since}&limit=1")
    assert [one["id"] for one in late["items"]] == [ids[11]]
    rest = await shop.yookassa("GET", f"/payments?created_at.gte={since}&limit=1&cursor={late['next_cursor']}")
    assert [one["id"] for one in rest["items"]] == [ids[10]]
    for wrong in ("limit=0", "limit=101", "limit=x", "cursor=unknown", "created_at.gte=yesterday"):
        assert (await shop.yookassa("GET", f"/payments?{wrong}")).status == 400


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        *[
            ({"amount": {"value": value, **RUB}}, "amount.value")
            for value in (150, 150.0, "150", "150.0", "1e2", "-1.00")
        ],
        *[
            ({"amount": {"value": value, **RUB}}, "amount.value")
            for value in ("0.00", "150.00\n", "015.00", "150,00", None)
        ],
        ({"amount": {"value": "1.00", "currency": "XTR"}}, "amount.currency"),
        ({"amount": {"value": "1.00", "currency": "rub"}}, "amount.currency"),
        ({"amount": {"value": "1.00", "currency": []}}, "amount.currency"),
        ({"amount": "150.00"}, "amount"),
        ({"description": "x" * 129}, "description"),
        ({"metadata": {str(key): "" for key in range(17)}}, "metadata"),
        ({"metadata": {"key": 1}}, "metadata.key"),
        ({"metadata": {"key": "x" * 513}}, "metadata.key"),
        ({"metadata": {"k" * 33: ""}}, f"metadata.{'k' * 32}"),
        ({"confirmation": {"type": "redirect", "return_url": "x" * 2049}}, "confirmation.return_url"),
        ({"confirmation": {"type": "redirect"}}, "confirmation.return_url"),
        ({"confirmation": None}, "confirmation.type"),
        ({"capture": "yes"}, "capture"),
    ],
)
async def test_a_wrong_field_is_named(shop: Shop, change: dict[str, Any], parameter: str) -> None:
    refusal = await shop.yookassa("POST", "/payments", {**PAYMENT, **change})
    assert (refusal.status, refusal["type"], refusal["code"]) == (400, "error", "invalid_request")
    assert refusal["parameter"] == parameter
    assert shop.processors.yookassa.payments == {}


async def test_limits_themselves_are_kept(shop: Shop) -> None:
    metadata = {str(key): "x" * 512 for key in range(16)}
    url = BACK + "?" + "x" * (2048 - len(BACK) - 1)
    most = {"description": "я" * 128, "metadata": metadata, "confirmation": {"type": "redirect", "return_url": url}}
    assert (await shop.yookassa("POST", "/payments", {**PAYMENT, **most})).status == 200


async def test_capture_is_not_the_default(shop: Shop) -> None:
    asked = {name: value for name, value in PAYMENT.items() if name != "capture"}
    created = await shop.yookassa("POST", "/payments", asked)
    assert shop.processors.yookassa.pay(created["id"])["status"] == "waiting_for_capture"


@pytest.mark.parametrize("key", ["", "k" * 65, "with space"])
async def test_an_idempotence_key_is_needed(shop: Shop, key: str) -> None:
    refusal = await shop.yookassa("POST", "/payments", PAYMENT, headers={"Idempotence-Key": key})
    assert (refusal.status, refusal["parameter"]) == (400, "Idempotence-Key")


async def test_a_key_answers_as_before_for_a_day(shop: Shop) -> None:
    first = await shop.yookassa("POST", "/payments", PAYMENT, key="k")
    shop.processors.yookassa.pay(first["id"])
    shop.clock.now += 86_399
    assert (await shop.yookassa("POST", "/payments", PAYMENT, key="k")).body == first.body
    other = await shop.yookassa("POST", "/payments", {**PAYMENT, "description": "Other"}, key="k")
    assert (other.status, other["code"], other["parameter"]) == (400, "invalid_request", "Idempotence-Key")
    shop.clock.now += 1
    assert (await shop.yookassa("POST", "/payments", PAYMENT, key="k"))["id"] != first["id"]


async def test_a_refusal_does_not_use_the_key_up(shop: Shop) -> None:
    assert (await shop.yookassa("POST", "/payments", {}, key="k")).status == 400
    assert (await shop.yookassa("POST", "/payments", PAYMENT, key="k")).status == 200


@pytest.mark.parametrize(
    "auth", [None, YooKassaAccount("506751", "test_other"), YooKassaAccount("1", ACCOUNTS.yookassa.secret_key)]
)
async def test_strangers_are_refused(shop: Shop, auth: YooKassaAccount | None) -> None:
    refusal = await shop.yookassa("POST", "/payments", PAYMENT, auth=auth)
    assert (refusal.status, refusal["type"], refusal["code"]) == (401, "error", "invalid_credentials")


async def test_other_bodies_and_paths_are_refused(shop: Shop) -> None:
    form = await shop.yookassa("POST", "/payments", data=b"a=b", headers={"Content-Type": "text/plain"})
    assert form.status == 415
    for broken in (b"{", b"[]", b"\xff"):
        sent = {"data": broken, "headers": {"Content-Type": "application/json"}}
        assert (await shop.yookassa("POST", "/payments", **sent)).status == 400
    for path in ("/payments/unknown", "/refunds/unknown", "/nothing"):
        missing = await shop.yookassa("GET", path)
        assert (missing.status, missing["code"]) == (404, "not_found")
    asked = {"payment_id": "unknown", "amount": PAYMENT["amount"]}
    assert (await shop.yookassa("POST", "/refunds", asked)).status == 400
