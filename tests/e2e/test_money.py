"""Two processes on one database: money that is told of more than once, in any order, or while tables are missing."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.payments.event import Payment
from service.sandbox.processors import Callback
from tests.cast import FRIEND, PAYER, STRANGER, Person
from tests.e2e.conftest import Start
from tests.e2e.process import PRODUCTION, ROOT, SERVICE, Process
from tests.e2e.processors import Market, Till, market, till
from tests.migrating import run_psql
from tests.payments.money import balance_of, entries_of
from tests.serving import PROCESSORS
from tests.waiting import until

EVENT = {"yookassa": "payment.succeeded", "stripe": "checkout.session.completed", "polar": "order.paid"}
STRIPES = ("checkout.session.completed", "payment_intent.succeeded", "charge.succeeded")
# The probing interval is a second; recovery of what waits is poked as soon as a feature is on.
BACK_WITHIN_S = 20.0


@pytest.fixture
async def stands() -> AsyncIterator[Market]:
    """The processors, whose callbacks only gather."""
    async with market() as stands:
        stands.processors.hold()
        yield stands


@pytest.fixture
async def bot(database_url: str, stands: Market) -> AsyncIterator[Till]:
    async with till(database_url, stands) as bot:
        yield bot


@pytest.fixture
async def pair(start: Start, database_url: str, stands: Market) -> list[Process]:
    """Two processes; callbacks go to each in turn."""
    told = PROCESSORS | stands.settings
    processes = await asyncio.gather(*(start(database_url, SERVICE, **told) for _ in range(2)))
    stands.webhooks += [process.base for process in processes]
    return list(processes)


def told_of(stands: Market, payment: Payment, *events: str) -> list[Callback]:
    """The callbacks about this payment, in the order of these names."""
    return [one for one in stands.held(*events) if one.about == payment.provider_payment_id]


async def delivered(stands: Market, callbacks: list[Callback]) -> Counter[int]:
    """All at once; how often each status was answered."""
    return Counter(await asyncio.gather(*(stands.processors.deliver(one) for one in callbacks)))


async def verified(database_url: str) -> None:
    """`python -m service ledger verify` finds nothing."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "ledger", "verify"),
        cwd=ROOT,
        env={**PRODUCTION, "DATABASE_URL": database_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()


async def by_sql(database_url: str, what: str | Path) -> None:
    """A statement, or a file, as an operator would."""
    arguments = ("-f", what) if isinstance(what, Path) else ("-c", what)
    done = await asyncio.to_thread(run_psql, database_url, "-v", "ON_ERROR_STOP=1", "-q", *arguments)
    assert done.returncode == 0, done.stderr


async def is_off(process: Process, feature: str) -> bool:
    return (await process.feature(feature))["state"] == "off"


async def test_the_same_money_is_one_credit_however_often_it_is_told(
    pair: list[Process], stands: Market, bot: Till, raw: Any, database_url: str
) -> None:
    """Case 1: a hundred copies over two processes; each of them is acknowledged.

    Case 2: three events of one payment, in each of the six orders, and all at once.
    Case 7: before the session is known by its intent, the metadata lead to our row.
    """
    for provider, who in zip(EVENT, (PAYER, FRIEND, STRANGER), strict=True):
        payment = await bot.order(provider, who.user_id)
        stands.pay(payment)
        (told,) = told_of(stands, payment, EVENT[provider])
        assert await delivered(stands, [told] * 100) == {200: 100}
        assert await entries_of(raw, who.user_id) == [("topup", payment.credit_rub)]
    due = await balance_of(raw)
    for order in (*itertools.permutations(STRIPES), None, None, None, None):
        payment = await bot.order("stripe")
        stands.pay(payment)
        callbacks = told_of(stands, payment, *(order or STRIPES))
        assert len(callbacks) == 3
        if order is None:
            assert await delivered(stands, callbacks * 5) == {200: 15}
        for one in callbacks:
            assert await stands.processors.deliver(one) == 200
        due += payment.credit_rub
        assert await balance_of(raw) == due, order
    await verified(database_url)


async def test_a_refund_that_overtakes_its_payment_has_its_effect_after_it(
    pair: list[Process], stands: Market, bot: Till, raw: Any, database_url: str
) -> None:
    """Case 4: first the refund, then the payment; both while somebody holds the payment; both at once."""
    for way in ("before", "held", "at once", "at once", "at once"):
        payment = await bot.order("yookassa")
        stands.pay(payment)
        await give_back(stands, payment)
        callbacks = told_of(stands, payment, "refund.succeeded", EVENT["yookassa"])
        assert len(callbacks) == 2
        if way == "before":
            assert [await stands.processors.deliver(one) for one in callbacks] == [200, 200]
        elif way == "held":
            assert await while_held(stands, raw, payment, callbacks) == {200: 2}
        else:
            assert await delivered(stands, callbacks * 3) == {200: 6}
        await until(lambda payment=payment: is_given_back(raw, payment), BACK_WITHIN_S)
    await polars_refund_comes_before_anything_that_names_its_order(stands, bot, raw)
    assert await balance_of(raw) == 0
    assert Counter(kind for kind, _ in await entries_of(raw)) == {"topup": 6, "chargeback": 6}
    await verified(database_url)


async def polars_refund_comes_before_anything_that_names_its_order(stands: Market, bot: Till, raw: Any) -> None:
    """There is no row of ours at which it could wait; recovery brings the two together."""
    payment = await bot.order("polar")
    stands.pay(payment)
    (order,) = stands.processors.polar.orders.values()
    headers = {"Authorization": f"Bearer {PROCESSORS['POLAR_ACCESS_TOKEN']}"}
    asked = {"order_id": order["id"], "amount": 700, "reason": "customer_request"}
    post = aiohttp.request("POST", f"{stands.base}/polar/v1/refunds/", json=asked, headers=headers)
    async with post as response:
        assert response.status < 300, await response.text()
    refunds = [one for one in stands.processors.held if one.event.startswith("refund.")]
    assert await delivered(stands, refunds) == {200: len(refunds)}
    assert await delivered(stands, told_of(stands, payment, "order.paid")) == {200: 1}
    await until(lambda: is_given_back(raw, payment), BACK_WITHIN_S)


async def give_back(stands: Market, payment: Payment) -> None:
    """All of it, at YooKassa's own pages."""
    async with aiohttp.ClientSession() as http:
        login = aiohttp.encode_basic_auth(PROCESSORS["YOOKASSA_SHOP_ID"], PROCESSORS["YOOKASSA_SECRET_KEY"])
        headers = {"Authorization": login, "Idempotence-Key": f"refund-{payment.payment_id}"}
        amount = {"value": str(payment.amount), "currency": payment.currency}
        asked = {"payment_id": payment.provider_payment_id, "amount": amount}
        async with http.post(f"{stands.base}/yookassa/v3/refunds", json=asked, headers=headers) as response:
            assert response.status == 200, await response.text()


async def while_held(stands: Market, raw: Any, payment: Payment, callbacks: list[Callback]) -> Counter[int]:
    """Both begin while somebody has the payment locked, so that they meet at it."""
    async with raw.transaction():
        await raw.execute("SELECT FROM payments WHERE payment_id = $1 FOR UPDATE", payment.payment_id)
        delivering = asyncio.create_task(delivered(stands, callbacks))
        blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        await until(lambda: raw.fetchval(blocked))
    return await delivering


async def is_given_back(raw: Any, payment: Payment) -> bool:
    row = await raw.fetchrow("SELECT * FROM payments WHERE payment_id = $1", payment.payment_id)
    return bool(row["status"] == "succeeded" and row["refunded_rub"] == row["credit_rub"])


async def test_without_balances_callbacks_are_kept_and_applied_on_their_return(
    pair: list[Process], stands: Market, bot: Till, raw: Any, database_url: str
) -> None:
    """Dropped under callbacks: 200, stored; back: applied once, well within a minute."""
    for gone, back in (
        ("DROP TABLE balances", ROOT / "bootstrap.sql"),
        ("ALTER TABLE balances RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO balances"),
    ):
        due = {who: await balance_of(raw, who.user_id) for who in (PAYER, FRIEND)}
        payments = [await bot.order(provider, who.user_id) for provider in EVENT for who in due]
        for payment in payments:
            stands.pay(payment)
        callbacks = [told_of(stands, one, EVENT[one.provider])[0] for one in payments]
        await raw.execute(gone)
        assert await delivered(stands, callbacks * 5) == {200: 30}
        assert await raw.fetchval("SELECT count(*) FROM payment_events WHERE status = 'waiting'") == 6
        assert await is_off(pair[0], "payments")
        await by_sql(database_url, back)
        due = {who: amount + Decimal("1230.00") for who, amount in due.items()}
        await until(lambda due=due: have(raw, due), BACK_WITHIN_S)
        assert await delivered(stands, callbacks * 2) == {200: 12}
        assert await have(raw, due)
    assert [len(await entries_of(raw, who.user_id)) for who in (PAYER, FRIEND)] == [6, 6]
    assert len(pair[0].log(level="WARNING", feature="payments")) == 2
    await verified(database_url)


async def have(raw: Any, due: dict[Person, Decimal]) -> bool:
    return all([await balance_of(raw, who.user_id) == amount for who, amount in due.items()])


async def test_without_an_inbox_callbacks_are_refused_and_come_again(
    pair: list[Process], stands: Market, bot: Till, raw: Any, database_url: str
) -> None:
    """Dropped under callbacks: 503 until there is another one, then each has its effect."""
    payments = [await bot.order(provider) for provider in EVENT]
    for payment in payments:
        stands.pay(payment)
    await raw.execute("DROP TABLE payment_events")
    assert await delivered(stands, stands.processors.held * 3) == {503: 3 * len(stands.processors.held)}
    stands.processors.release()
    await until(lambda: is_off(pair[0], "stripe"))
    await by_sql(database_url, ROOT / "bootstrap.sql")
    await stands.processors.settled(BACK_WITHIN_S)
    assert sorted(await entries_of(raw)) == sorted(("topup", one.credit_rub) for one in payments)
    await verified(database_url)


LEDGER = "payment_transactions"
RAW_LEDGER = """CREATE TABLE payment_transactions (
    id bigserial PRIMARY KEY, user_id bigint NOT NULL, amount_rub numeric NOT NULL, type text NOT NULL, reason text,
    created_at timestamptz NOT NULL DEFAULT now(), effect_key text, balance_rub numeric, payment_id uuid,
    refund_id uuid, reservation_id uuid
)"""


@pytest.mark.parametrize(
    ("gone", "back"),
    [
        (f"ALTER TABLE {LEDGER} RENAME TO elsewhere", f"ALTER TABLE elsewhere RENAME TO {LEDGER}"),
        (f"DROP TABLE {LEDGER}", ROOT / "bootstrap.sql"),
        (f"DROP TABLE {LEDGER}", RAW_LEDGER),
    ],
    ids=["renamed", "bootstrap.sql", "raw DDL"],
)
async def test_without_the_ledger_money_moves_on_and_is_booked_in_one_entry_each(
    pair: list[Process], stands: Market, bot: Till, raw: Any, gone: str, back: str | Path, database_url: str
) -> None:
    """One has money from before and gets more, one comes meanwhile, one only has some; all is booked, once."""
    before = [await bot.order("stripe", who.user_id) for who in (PAYER, STRANGER)]
    meanwhile = [await bot.order(name, who.user_id) for name in ("yookassa", "polar") for who in (PAYER, FRIEND)]
    for payment in (*before, *meanwhile):
        stands.pay(payment)
    first = [told_of(stands, one, EVENT[one.provider])[0] for one in before]
    then = [told_of(stands, one, EVENT[one.provider])[0] for one in meanwhile]
    assert await delivered(stands, first) == {200: 2}
    await raw.execute(gone)
    assert await delivered(stands, then * 3) == {200: 12}
    assert await balance_of(raw, FRIEND.user_id) == Decimal("780.00"), "what is missing is not the person's loss"
    await by_sql(database_url, back)
    await until(lambda: is_booked(raw), BACK_WITHIN_S)
    assert await delivered(stands, (first + then) * 2) == {200: 12}
    forgot = not gone.startswith("ALTER")
    booked = {PAYER: "1230.00", FRIEND: "780.00", STRANGER: "450.00"}
    for who, amount in (booked if forgot else {PAYER: "780.00", FRIEND: "780.00"}).items():
        assert ("adjustment", Decimal(amount)) in await entries_of(raw, who.user_id)
    assert await have(raw, {who: Decimal(amount) for who, amount in booked.items()})
    kinds = Counter([kind for who in booked for kind, _ in await entries_of(raw, who.user_id)])
    assert kinds == ({"adjustment": 3} if forgot else {"topup": 2, "adjustment": 2})
    await verified(database_url)


async def is_booked(raw: Any) -> bool:
    """There is nothing left to book."""
    oid = "SELECT 'payment_transactions'::regclass::oid"
    return not await raw.fetch(f"SELECT FROM balances WHERE unbooked_rub <> 0 OR booked_in <> ({oid})")
