"""POST /admin/users/{id}/adjust, and what an Idempotency-Key does for every write."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from service.kernel.clock import Clock
from service.kernel.database import Database
from service.ops.writing import idempotency
from service.ops.writing.idempotency import Answer, Write
from tests.cast import FRIEND, PAYER, STRANGER
from tests.payments.money import Noon, balance_of, entries_of, rooms_for
from tests.payments.operators.desk import Desk, code


class Crash(Exception):
    """The process ended here."""


@pytest.fixture(autouse=True)
async def known(raw: Any) -> None:
    await raw.execute("INSERT INTO users (user_id) VALUES ($1), ($2)", PAYER.user_id, FRIEND.user_id)


async def test_a_balance_is_moved_and_booked(desk: Desk, raw: Any) -> None:
    status, told = await desk.adjust(PAYER.user_id, "150.00", "a present")
    assert status == 200
    assert told["entry"]["amount_rub"] == "150.00"
    assert told["entry"]["reason"] == "a present"
    assert told["balance"] == {"user_id": PAYER.user_id, "balance_rub": "150.00", "held_rub": "0.00"}
    status, told = await desk.adjust(PAYER.user_id, "-20.00")
    assert (status, told["balance"]["balance_rub"]) == (200, "130.00")
    assert await entries_of(raw) == [("adjustment", Decimal("150.00")), ("adjustment", Decimal("-20.00"))]


async def test_it_never_leads_below_zero(desk: Desk, raw: Any) -> None:
    await desk.adjust(PAYER.user_id, "10.00")
    assert code(await desk.adjust(PAYER.user_id, "-10.01")) == (409, "insufficient_balance")
    assert code(await desk.adjust(FRIEND.user_id, "-0.01")) == (409, "insufficient_balance")
    assert await balance_of(raw) == Decimal("10.00")


@pytest.mark.parametrize(
    "amount",
    [150, 150.0, True, None, "150", "150.0", "150.000", "0.00", "-0.00", "+5.00", " 5.00", "5.00\n", "1e3", "1_0.00",
     "٥.00", "01.00", "NaN", "Infinity", "", "1234567890123.00"],
)  # fmt: skip
async def test_an_amount_is_an_exact_text(desk: Desk, raw: Any, amount: Any) -> None:
    """Case 30: no number, no exponent, no sign or space or digit of another script."""
    assert code(await desk.adjust(PAYER.user_id, amount)) == (400, "invalid")
    assert await entries_of(raw) == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{", b'{"amount_rub":"1.00"}', b'{"amount_rub":"1.00","reason":""}',
        b'{"amount_rub":"1.00","reason":"  "}', b'{"amount_rub":"1.00","reason":"a\\u0000b"}',
        b'{"amount_rub":"1.00","reason":5}', b'{"amount_rub":"1.00","reason":"a","more":1}',
        b'{"amount_rub":"1.00","amount_rub":"9.00","reason":"a"}', b'{"amount_rub":"1.00","reason":"\xff"}',
        b'{"amount_rub":"1.00","reason":"' + b"a" * 501 + b'"}',
    ],
)  # fmt: skip
async def test_a_body_is_all_or_nothing(desk: Desk, raw: Any, body: bytes) -> None:
    """Case 27: a key that stands twice is refused, as is a word too much."""
    assert code(await desk.post(f"/admin/users/{PAYER.user_id}/adjust", body)) == (400, "invalid")
    assert await entries_of(raw) == []


async def test_nobody_is_made_by_it(desk: Desk) -> None:
    assert code(await desk.adjust(STRANGER.user_id, "5.00")) == (404, "not_found")
    for none in (2**63, "x", "-1", "٥"):
        assert code(await desk.adjust(none, "5.00")) == (404, "not_found")  # type: ignore[arg-type]


async def test_it_is_the_operators_alone(desk: Desk) -> None:
    async with desk.served.http.post(f"{desk.served.base}/admin/users/{PAYER.user_id}/adjust", json={}) as response:
        assert response.status == 401


@pytest.mark.parametrize("key", [None, "k" * 256, "ключ", "a\tb"])
async def test_a_key_is_needed(desk: Desk, raw: Any, key: str | None) -> None:
    assert code(await desk.adjust(PAYER.user_id, "5.00", key=key)) == (400, "invalid")
    assert await entries_of(raw) == []


async def test_a_repeat_is_given_the_same_answer(desk: Desk, raw: Any) -> None:
    first = await desk.adjust(PAYER.user_id, "5.00", key="k" * 255)
    await desk.adjust(PAYER.user_id, "7.00")
    assert await desk.adjust(PAYER.user_id, "5.00", key="k" * 255) == first
    assert await balance_of(raw) == Decimal("12.00")


async def test_a_key_is_for_one_request(desk: Desk, raw: Any) -> None:
    """Case 46: the same key with other parameters is refused; for another person it is another key."""
    await desk.adjust(PAYER.user_id, "5.00", key="one")
    assert code(await desk.adjust(PAYER.user_id, "6.00", key="one")) == (422, "idempotency_mismatch")
    assert code(await desk.adjust(PAYER.user_id, "5.00", "why", key="one")) == (422, "idempotency_mismatch")
    assert (await desk.adjust(FRIEND.user_id, "5.00", key="one"))[0] == 200
    assert await balance_of(raw) == Decimal("5.00")


async def test_at_the_same_time_one_of_them_is_done(desk: Desk, raw: Any) -> None:
    """Case 46: of twenty at once one is executed; the others are told of the conflict, or its answer."""
    answers = await asyncio.gather(*(desk.adjust(PAYER.user_id, "5.00", key="one") for _ in range(20)))
    done = [body for status, body in answers if status == 200]
    assert all(body == done[0] for body in done)
    assert {status for status, _ in answers} <= {200, 409}
    assert await entries_of(raw) == [("adjustment", Decimal("5.00"))]


async def test_whoever_comes_meanwhile_does_not_wait(desk: Desk, raw: Any) -> None:
    """Case 46: the first one holds its key until its transaction ends."""
    async with raw.transaction():
        scope, key = f"adjust:{PAYER.user_id}", "one"
        await raw.execute("SELECT pg_advisory_xact_lock(hashtextextended($1 || ' ' || $2, 0))", scope, key)
        assert code(await desk.adjust(PAYER.user_id, "5.00", key=key)) == (409, "conflict")
    assert (await desk.adjust(PAYER.user_id, "5.00", key=key))[0] == 200


async def test_what_failed_does_not_use_the_key_up(desk: Desk) -> None:
    """Case 46."""
    assert code(await desk.adjust(PAYER.user_id, "-5.00", key="one")) == (409, "insufficient_balance")
    await desk.adjust(PAYER.user_id, "9.00")
    assert (await desk.adjust(PAYER.user_id, "-5.00", key="one"))[0] == 200


async def test_a_key_that_is_forgotten_adjusts_nothing_again(desk: Desk, raw: Any) -> None:
    await desk.adjust(PAYER.user_id, "5.00", key="one")
    await raw.execute("DELETE FROM idempotency_keys")
    assert code(await desk.adjust(PAYER.user_id, "5.00", key="one")) == (409, "conflict")
    assert await balance_of(raw) == Decimal("5.00")


async def test_without_the_table_of_keys_writes_are_off(desk: Desk, raw: Any) -> None:
    await raw.execute("ALTER TABLE idempotency_keys RENAME TO gone")
    status, told = await desk.adjust(PAYER.user_id, "5.00")
    assert (status, told["error"]["code"]) == (503, "feature_off")
    assert "idempotency_keys table missing" in told["error"]["message"]
    assert (await desk.get("/admin/payments"))[0] == 200


async def test_without_the_ledger_it_moves_the_balance_all_the_same(desk: Desk, raw: Any) -> None:
    await raw.execute("ALTER TABLE payment_transactions RENAME TO gone")
    await desk.post("/admin/features/refresh", {})
    assert (await desk.adjust(PAYER.user_id, "5.00"))[0] == 200
    assert await raw.fetchval("SELECT unbooked_rub FROM balances") == Decimal("5.00")
    await raw.execute("ALTER TABLE gone RENAME TO payment_transactions")


async def test_old_keys_are_forgotten_and_those_at_work_are_kept(db: Database, raw: Any) -> None:
    clock = Noon()
    rooms = rooms_for(db, clock, IDEMPOTENCY_TTL="3600").with_({})
    now = rooms.of(Clock).now()
    rows = [
        ("old", now - timedelta(hours=2), None),
        ("new", now - timedelta(minutes=30), None),
        ("at work", now - timedelta(hours=2), now + timedelta(seconds=60)),
        ("crashed", now - timedelta(hours=2), now - timedelta(seconds=60)),
    ]
    query = (
        "INSERT INTO idempotency_keys (scope, key, request_hash, created_at, locked_until) VALUES ('s', $1, '', $2, $3)"
    )
    await raw.executemany(query, rows)
    assert await idempotency.forget_keys(rooms) == {"forgotten": 2}
    kept = await raw.fetch("SELECT key FROM idempotency_keys ORDER BY key")
    assert [row["key"] for row in kept] == ["at work", "new"]


async def test_steps_go_on_where_a_crash_ended_them(db: Database) -> None:
    """Case 46: begun and not answered, the key is locked for a while; then whoever repeats it goes on."""
    clock = Noon()
    rooms, write, begun = rooms_for(db, clock), Write("scope", "key", b"digest"), []

    async def begin(_conn: Any) -> None:
        begun.append("begun")

    async def crash(_: None) -> Answer:
        raise Crash

    async def end(_: None) -> Answer:
        return Answer(200, b"done")

    with pytest.raises(Crash):
        await idempotency.in_steps(rooms, write, begin, crash)
    clock.forward(seconds=89)
    with pytest.raises(idempotency.KeyBusy):
        await idempotency.in_steps(rooms, write, begin, end)
    clock.forward(seconds=2)
    assert await idempotency.in_steps(rooms, write, begin, end) == Answer(200, b"done")
    assert await idempotency.in_steps(rooms, write, begin, crash) == Answer(200, b"done")
    assert begun == ["begun", "begun"]


async def test_steps_that_fail_leave_the_key_free(db: Database) -> None:
    rooms, write = rooms_for(db), Write("scope", "key", b"digest")

    async def begin(_conn: Any) -> None: ...

    async def fail(_: None) -> Answer:
        raise idempotency.Conflict

    async def not_yet(_: None) -> Answer:
        return Answer(202, b"later", is_final=False)

    async def end(_: None) -> Answer:
        return Answer(200, b"done")

    with pytest.raises(idempotency.Conflict):
        await idempotency.in_steps(rooms, write, begin, fail)
    assert (await idempotency.in_steps(rooms, write, begin, not_yet)).status == 202
    assert (await idempotency.in_steps(rooms, write, begin, end)).status == 200
