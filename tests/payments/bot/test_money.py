"""Updates that tell of money: each charge once, whatever it is for, and none of them let go."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from tests.outage import away
from tests.payments.bot.shop import Shop, invoice_for, newest_order, paid, refunded
from tests.payments.money import balance_of, entries_of
from tests.waiting import until

LONG = "stx" + "x" * 150  # longer than the varchar(128) of other bots


async def ordered(shop: Shop, raw: Any) -> str:
    await invoice_for(shop.payer)
    return await newest_order(raw)


async def statuses(raw: Any) -> list[tuple[str, str]]:
    rows = await raw.fetch("SELECT provider, status FROM payment_events ORDER BY id")
    return [tuple(row) for row in rows]


async def test_one_charge_is_one_credit(shop: Shop, raw: Any) -> None:
    """Case 1: copies of an update, and updates about the same charge, all at once."""
    order = await ordered(shop, raw)
    updates = [paid(shop.payer, order, "c1") for _ in range(5)]
    answers = await asyncio.gather(*(shop.served.post(update) for update in updates * 4))
    assert {status for status, _ in answers} == {200}
    assert {body for _, body in answers} == {None}, "the notice is a job's"
    assert await balance_of(raw, shop.payer.id) == Decimal("300.00")
    assert await statuses(raw) == [("telegram", "applied")]


async def test_an_invoice_paid_twice_is_money_twice(shop: Shop, raw: Any) -> None:
    """Case 47: two charges for one invoice are both credited, and the payer is told of both."""
    order = await ordered(shop, raw)
    for charge in ("c1", "c2", "c1", "c2"):
        assert (await shop.served.post(paid(shop.payer, order, charge)))[0] == 200
    assert await entries_of(raw, shop.payer.id) == [("topup", Decimal("300.00"))] * 2
    names = (
        "SELECT array_agg(provider_payment_id ORDER BY provider_payment_id) FROM payments WHERE status = 'succeeded'"
    )
    assert await raw.fetchval(names) == ["c1", "c2"]
    await until(lambda: told(raw, 2))


async def told(raw: Any, count: int) -> bool:
    return bool(await raw.fetchval("SELECT count(*) = $1 FROM payments WHERE told_at IS NOT NULL", count))


async def test_only_the_charge_that_went_back_is_taken(shop: Shop, raw: Any) -> None:
    order = await ordered(shop, raw)
    for update in (paid(shop.payer, order, "c1"), paid(shop.payer, order, "c2")):
        await shop.served.post(update)
    for update in (refunded(shop.payer, order, "c2"), refunded(shop.payer, order, "c2")):
        assert (await shop.served.post(update))[0] == 200
    assert await balance_of(raw, shop.payer.id) == Decimal("300.00")
    refunds = await raw.fetch("SELECT provider_payment_id, refunded_rub FROM payments ORDER BY 1")
    assert [tuple(row) for row in refunds] == [("c1", 0), ("c2", Decimal("300.00"))]


async def test_a_refund_before_its_payment_waits(shop: Shop, raw: Any) -> None:
    """Case 4: it is applied once the payment is, by the job that the payment wakes."""
    order = await ordered(shop, raw)
    await shop.served.post(refunded(shop.payer, order, "c1"))
    assert await statuses(raw) == [("telegram", "waiting")]
    await shop.served.post(paid(shop.payer, order, "c1"))
    await until(lambda: emptied(raw))


async def emptied(raw: Any) -> bool:
    return await statuses(raw) == [("telegram", "applied")] * 2 and not await raw.fetchval(
        "SELECT sum(balance_rub) FROM balances"
    )


async def test_long_ids(shop: Shop, raw: Any) -> None:
    order = await ordered(shop, raw)
    assert (await shop.served.post(paid(shop.payer, order, LONG)))[0] == 200
    assert await raw.fetchval("SELECT provider_payment_id FROM payments") == LONG
    assert (await shop.served.post(refunded(shop.payer, order, LONG)))[0] == 200
    assert await balance_of(raw, shop.payer.id) == 0


async def test_somebody_else_paid(shop: Shop, raw: Any) -> None:
    """Case 36: whose money it is an operator decides."""
    order = await ordered(shop, raw)
    assert (await shop.served.post(paid(shop.stranger, order, "c1")))[0] == 200
    assert await statuses(raw) == [("telegram", "review")]
    assert await raw.fetchval("SELECT count(*) FROM balances") == 0


@pytest.mark.parametrize(
    ("fields", "provider", "status"),
    [
        ({"total_amount": 229}, "telegram", "review"),
        ({"total_amount": 231}, "telegram", "review"),
        ({"currency": "RUB", "total_amount": 23_000}, "telegram_cards", "waiting"),
        ({"currency": "KWD"}, "telegram_cards", "review"),
        ({"total_amount": 230.0}, "telegram", "review"),
        ({"total_amount": True}, "telegram", "review"),
        ({"total_amount": None}, "telegram", "review"),
        ({"telegram_payment_charge_id": ""}, "telegram", "review"),
        ({"telegram_payment_charge_id": "c" * 600}, "telegram", "review"),
        ({"invoice_payload": "pack=credits_100;user=42"}, "telegram", "waiting"),
        ({"invoice_payload": None}, "telegram", "waiting"),
    ],
)
async def test_money_that_does_not_fit_is_kept_and_credits_nobody(
    shop: Shop, raw: Any, fields: dict[str, Any], provider: str, status: str
) -> None:
    """Cases 30, 34, 37, 38: another amount, another currency, no order of ours."""
    order = await ordered(shop, raw)
    update = paid(shop.payer, order, "c1", **fields)
    assert (await shop.served.post(update))[0] == 200
    assert (await shop.served.post(update))[0] == 200
    assert await statuses(raw) == [(provider, status)]
    body = json.loads(await raw.fetchval("SELECT body FROM payment_events"))
    assert body["payment"] == update["message"]["successful_payment"], "whole"
    assert await raw.fetchval("SELECT count(*) FROM balances") == 0


async def test_away_it_stays_with_telegram_and_is_credited_when_it_comes_again(
    shop: Shop, raw: Any, database_url: str
) -> None:
    """Case 10."""
    order, database = await ordered(shop, raw), shop.served.operations.database
    update = paid(shop.payer, order, "c1")
    await raw.close()
    async with away(database_url):
        await until(lambda: not database.reachable)
        assert (await shop.served.post(update))[0] == 503
    await until(lambda: database.reachable)
    assert (await shop.served.post(update))[0] == 200
    async with database.acquire() as conn:
        assert await balance_of(conn, shop.payer.id) == Decimal("300.00")


@pytest.mark.parametrize(("table", "status"), [("payment_events", 503), ("payments", 200), ("balances", 200)])
async def test_without_a_table(shop: Shop, raw: Any, table: str, status: int) -> None:
    order = await ordered(shop, raw)
    update = paid(shop.payer, order, "c1")
    switchboard = shop.served.operations.switchboard
    await raw.execute(f"ALTER TABLE {table} RENAME TO gone")
    assert (await shop.served.post(update))[0] == status
    await raw.execute(f"ALTER TABLE gone RENAME TO {table}")
    await switchboard.refresh()
    assert (await shop.served.post(update))[0] == 200
    await until(lambda: credited(raw, shop.payer.id))


async def credited(raw: Any, user_id: int) -> bool:
    return await balance_of(raw, user_id) == Decimal("300.00")
