"""What operators see of payments, and what they do about events that could not be applied."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.payments.event import PAYMENT_MOVES
from service.payments.operators import records, review
from tests.cast import FRIEND, PAYER, STRANGER
from tests.payments.money import order, paid, refunded, rooms_for, settle
from tests.payments.operators.desk import Desk, code
from tests.serving import ADMIN_TOKEN

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)


@pytest.fixture
def rooms(db: Database) -> Rooms:
    return rooms_for(db, Clock())


async def pages(desk: Desk, path: str) -> list[Any]:
    """All items of a list, two at a time."""
    items: list[Any] = []
    after = ""
    while True:
        status, page = await desk.get(f"{path}{'&' if '?' in path else '?'}limit=2{after}")
        assert status == 200
        assert len(page["items"]) <= 2
        items += page["items"]
        if page["next"] is None:
            return items
        after = f"&after={page['next']}"


async def test_payments_newest_first(desk: Desk, raw: Any) -> None:
    """Also where several were made at the same moment."""
    made = [await order(raw, created_at=MONDAY + timedelta(hours=at // 2)) for at in range(7)]
    others = [await order(raw, user_id=FRIEND.user_id, status="canceled", created_at=MONDAY) for _ in range(2)]
    listed = [UUID(one["payment_id"]) for one in await pages(desk, "/admin/payments")]
    assert sorted(listed) == sorted(made + others)
    assert [one["created_at"] for one in await pages(desk, "/admin/payments")] == sorted(
        [one["created_at"] for one in await pages(desk, "/admin/payments")], reverse=True
    )
    assert {UUID(one["payment_id"]) for one in await pages(desk, "/admin/payments?status=canceled")} == set(others)
    mine = f"/admin/payments?user_id={PAYER.user_id}"
    assert {UUID(one["payment_id"]) for one in await pages(desk, mine)} == set(made)
    assert await pages(desk, f"{mine}&status=canceled") == []


async def test_what_a_payment_looks_like(desk: Desk, raw: Any, rooms: Rooms) -> None:
    payment_id = await order(raw)
    await settle(rooms, paid(payment_id))
    await settle(rooms, refunded())
    (listed,) = (await desk.get("/admin/payments?status=succeeded"))[1]["items"]
    assert (listed["amount"], listed["credit_rub"], listed["refunded_rub"]) == ("150.00", "150.00", "50.00")
    assert datetime.fromisoformat(listed["settled_at"]).tzinfo is not None
    status, told = await desk.get(f"/admin/payments/{payment_id}")
    assert (status, told["payment"]) == (200, listed)
    assert told["references"] == [{"provider": "yookassa", "reference": "p1"}]
    assert [event["name"] for event in told["events"]] == ["refund.succeeded", "payment.succeeded"]
    assert not any("body" in event for event in told["events"])
    assert [(one["amount"], one["status"]) for one in told["refunds"]] == [("50.00", "succeeded")]
    assert [(one["type"], one["amount_rub"]) for one in told["entries"]] == [
        ("topup", "150.00"),
        ("chargeback", "-50.00"),
    ]


async def test_what_is_not_there(desk: Desk) -> None:
    for path in (f"/admin/payments/{uuid4()}", "/admin/payments/5", f"/admin/users/{STRANGER.user_id}/ledger"):
        assert code(await desk.get(path)) == (404, "not_found")
    for query in ("status=paid", "limit=0", "after=x", "user_id=x", "user_id=-1"):
        assert code(await desk.get(f"/admin/payments?{query}")) == (400, "invalid")
    for path in ("/admin/payments/review?after=x", f"/admin/users/{STRANGER.user_id}/ledger?limit=x"):
        assert (await desk.get(path))[0] in (400, 404)


async def test_a_cursor_is_of_one_list(desk: Desk, raw: Any) -> None:
    for _ in range(3):
        await order(raw)
    after = (await desk.get("/admin/payments?limit=1"))[1]["next"]
    assert code(await desk.get(f"/admin/payments/review?after={after}")) == (400, "invalid")


async def test_a_persons_ledger(desk: Desk, raw: Any, rooms: Rooms) -> None:
    await settle(rooms, paid(await order(raw)))
    for amount in ("1.00", "2.00", "3.00"):
        await desk.adjust(PAYER.user_id, amount)
    await settle(rooms, paid(await order(raw, user_id=FRIEND.user_id), "p2"))
    path = f"/admin/users/{PAYER.user_id}/ledger"
    assert [one["amount_rub"] for one in await pages(desk, path)] == ["3.00", "2.00", "1.00", "150.00"]
    balance = (await desk.get(path))[1]["balance"]
    assert balance == {"user_id": PAYER.user_id, "balance_rub": "156.00", "held_rub": "0.00"}


async def event(raw: Any, status: str, age: timedelta, body: bytes = b'{"a": 1}', reason: str = "why") -> int:
    query = """
        INSERT INTO payment_events (
            provider, delivery_key, name, body, status, reason, received_at, due_at, finished_at
        )
        VALUES ('stripe', gen_random_uuid()::text, 'an event', $1, $2, $3, now() - $4::interval,
            now() + interval '1 day', CASE WHEN $2 IN ('applied', 'ignored', 'closed') THEN now() END)
        RETURNING id
    """
    return await raw.fetchval(query, body, status, reason, age)


async def test_what_is_to_be_reviewed(desk: Desk, raw: Any) -> None:
    """Case 37, case 38: what could not be applied is told with its reason, whole."""
    old = await event(raw, "waiting", timedelta(minutes=2))
    new = await event(raw, "review", timedelta(seconds=1), b"\xff not JSON")
    await event(raw, "waiting", timedelta(seconds=1))
    for status in ("applied", "ignored", "closed"):
        await event(raw, status, timedelta(hours=1))
    items = await pages(desk, "/admin/payments/review")
    assert [(one["id"], one["status"], one["reason"], one["body"]) for one in items] == [
        (new, "review", "why", None),
        (old, "waiting", "why", '{"a": 1}'),
    ]


async def test_many_to_be_reviewed(desk: Desk, raw: Any) -> None:
    made = [await event(raw, "review", timedelta(minutes=at // 2)) for at in range(5)]
    items = await pages(desk, "/admin/payments/review")
    assert {one["id"] for one in items} == set(made)
    assert [one["received_at"] for one in items] == sorted([one["received_at"] for one in items], reverse=True)


def test_what_opens_something_is_not_shown() -> None:
    body = json.dumps({"client_secret": "pi_1_secret_2", "id": "pi_1", "more": {"access_token": "t"}}).encode()
    assert review.shown(body) == '{"client_secret": "***", "id": "pi_1", "more": {"access_token": "***"}}'


async def test_an_operator_has_one_tried_again(desk: Desk, raw: Any) -> None:
    number = await event(raw, "review", timedelta(minutes=5))
    status, told = await desk.post(f"/admin/payments/review/{number}/retry", {}, key=None)
    assert (status, told) == (200, {"id": number, "status": "waiting"})
    row = await raw.fetchrow("SELECT finished_at, due_at <= now() OR attempts > 0 AS is_due FROM payment_events")
    assert row["is_due"]


async def test_an_operator_closes_one(desk: Desk, raw: Any) -> None:
    number = await event(raw, "review", timedelta(minutes=5))
    path = f"/admin/payments/review/{number}"
    assert code(await desk.post(f"{path}/close", {})) == (400, "invalid")
    status, told = await desk.post(f"{path}/close", {"reason": "given back by hand"}, key=None)
    assert (status, told) == (200, {"id": number, "status": "closed"})
    row = await raw.fetchrow("SELECT status, reason, finished_at FROM payment_events")
    assert (row["status"], row["reason"]) == ("closed", "why; given back by hand")
    assert row["finished_at"] is not None
    assert code(await desk.post(f"{path}/close", {"reason": "again"})) == (409, "conflict")
    assert code(await desk.post(f"{path}/retry", {})) == (409, "conflict")
    assert code(await desk.post("/admin/payments/review/0/retry", {})) == (404, "not_found")
    assert code(await desk.post("/admin/payments/review/x/close", {"reason": "a"})) == (404, "not_found")


async def test_a_missing_table_is_told(desk: Desk, raw: Any) -> None:
    missing = {
        "payments": "/admin/payments",
        "payment_events": "/admin/payments/review",
        "payment_transactions": f"/admin/users/{PAYER.user_id}/ledger",
    }
    for table, path in missing.items():
        await raw.execute(f"ALTER TABLE {table} RENAME TO gone")
        await desk.post("/admin/features/refresh", {})
        status, told = await desk.get(path)
        assert (status, told["error"]["code"]) == (503, "feature_off")
        assert f"{table} table missing" in told["error"]["message"]
        await raw.execute(f"ALTER TABLE gone RENAME TO {table}")
        await desk.post("/admin/features/refresh", {})


async def test_strangers_see_nothing(desk: Desk, raw: Any) -> None:
    payment_id = await order(raw)
    paths = ["/admin/payments", f"/admin/payments/{payment_id}", "/admin/payments/review"]
    for path in (*paths, f"/admin/users/{PAYER.user_id}/ledger"):
        assert code(await desk.served.get(path)) == (401, "unauthorized")
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}x"}
        async with desk.served.http.get(desk.served.base + path, headers=headers) as response:
            assert response.status in (401, 429)


def test_every_status_can_be_asked_for() -> None:
    assert set(records.STATUSES) == set(PAYMENT_MOVES)
