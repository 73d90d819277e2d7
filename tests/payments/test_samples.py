"""What processors, their libraries and their documents call a callback, through the real doors: who is credited for it.

Every file of tests/data/payments is delivered, signed as its processor signs, under every name that goes with it. For
each that is about a payment there is an order; a reference model of a few lines says which of them are paid.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from service.payments.event import Money
from service.sandbox.processors import Accounts, YooKassaAccount
from service.telegram.webhook import PATH, SECRET_HEADER
from tests.cast import PAYER
from tests.e2e.processors import Market, market
from tests.payments.money import BROKEN, balance_of, entries_of, order
from tests.serving import SECRET, Served, serving

DATA = Path(__file__).parents[1] / "data/payments"
CLIENTS = 8
COPIES = 3
SHOP = "1183493"  # whose notifications were recorded

# Under which names Stripe tells of an object.
STRIPE_NAMES = {
    "charge": ("charge.succeeded", "charge.captured", "charge.updated"),
    "checkout.session": (
        *("checkout.session.completed", "checkout.session.async_payment_succeeded"),
        "checkout.session.async_payment_failed",
    ),
    "dispute": ("charge.dispute.created", "charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"),
    "invoice": ("invoice.paid", "invoice.payment_succeeded"),
    "payment_intent": ("payment_intent.succeeded", "payment_intent.created"),
    "refund": ("refund.created", "refund.updated", "charge.refund.updated"),
    "subscription": ("customer.subscription.updated", "customer.subscription.deleted"),
}
POLAR_NAMES = {
    "benefit": ("benefit.updated",),
    "checkout": ("checkout.created", "checkout.updated"),
    "customer": ("customer.updated",),
    "customer_state": ("customer.state_changed",),
    "order": ("order.created", "order.updated", "order.paid"),
    "product": ("product.updated",),
    "subscription": ("subscription.created", "subscription.active", "subscription.revoked"),
}


class Order(NamedTuple):
    """An order with the name that a sample knows it by; `paid`: what the balance has of it in the end."""

    provider: str
    reference: str
    money: Money
    paid: bool
    why: str


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


def rub(amount: str) -> Money:
    return Money(Decimal(amount), "RUB")


# The reference model. A rouble is credited for every unit of money, so that nobody has to multiply. The disputes of the
# samples name a charge of pi_1FG742B7kbjcJ8QqGKF6qIM0, too: its money goes, and comes back.
ORDERS = (
    Order("yookassa", "3086206f-000f-5000-8000-1e653030dc24", rub("1.00"), True, "recorded: succeeded"),
    Order("yookassa", "3085f72f-000f-5000-8000-1156fcfc6c92", rub("1.00"), False, "recorded: canceled"),
    Order("yookassa", "2419a771-000f-5000-9000-1edaf29243f2", rub("100.00"), False, "the event says succeeded only"),
    Order("yookassa", "22d6d597-000f-5000-9000-145f6df21d6f", rub("2.00"), False, "only authorized, by nobody's shop"),
    Order("stripe", "pi_1FG742B7kbjcJ8QqGKF6qIM0", usd("1902.00"), True, "received"),
    Order("stripe", "pi_fakefakefakefakefake0001", usd("20.00"), False, "received for an invoice"),
    Order("stripe", "ch_1PgafuB7WZ01zgkWXYmPNZs8", usd("1.00"), False, "a charge that was not captured, and refunded"),
    Order("stripe", "pi_1PgafyB7WZ01zgkWSjxsAJo3", usd("30.00"), False, "of a session that is unpaid"),
    Order("polar", "<string>", usd("90.00"), False, "an order that begins a subscription"),
)


class Delivery(NamedTuple):
    provider: str
    body: bytes
    status: int


def read(processor: str) -> list[tuple[str, Any]]:
    return [(path.name, json.loads(path.read_text())) for path in sorted((DATA / processor).glob("*.json"))]


def of_stripe() -> list[Delivery]:
    """The objects as the events that would tell of them."""
    told = []
    for name, thing in read("stripe"):
        kind = thing["object"]
        event = {"object": "event", "livemode": False, "data": {"object": thing}}
        names = STRIPE_NAMES.get(kind, (f"{kind}.updated",))
        told += [thing] if kind == "event" else [event | {"id": f"evt_{name}_{one}", "type": one} for one in names]
    return [Delivery("stripe", json.dumps(event).encode(), 200) for event in told]


def of_polar() -> list[Delivery]:
    return [
        Delivery("polar", json.dumps({"type": told, "timestamp": "2026-11-20T12:00:00Z", "data": thing}).encode(), 200)
        for name, thing in read("polar")
        for told in POLAR_NAMES[name.split(".")[1]]
    ]


def of_yookassa() -> list[Delivery]:
    """Notifications as they are; an object as one that promises the most. What has no id is none."""
    return [
        Delivery("yookassa", json.dumps(notification_of(thing)).encode(), 200 if "id" in thing["object"] else 400)
        for thing in (notification_of(one) for _, one in read("yookassa"))
    ]


def notification_of(thing: Any) -> Any:
    whole = thing.get("type") == "notification"
    return thing if whole else {"type": "notification", "event": "payment.succeeded", "object": thing}


DELIVERIES = (*of_stripe(), *of_polar(), *of_yookassa())


@pytest.fixture
async def stands() -> AsyncIterator[Market]:
    """Their YooKassa knows the objects of the samples, and says of them what the samples say."""
    async with market(accounts=Accounts(yookassa=YooKassaAccount(SHOP))) as stands:
        for _, sample in read("yookassa"):
            thing = notification_of(sample)["object"]
            kept = stands.processors.yookassa.refunds if "payment_id" in thing else stands.processors.yookassa.payments
            kept[thing.get("id", "")] = thing
        yield stands


@pytest.fixture
async def shop(database_url: str, stands: Market) -> AsyncIterator[Served]:
    async with serving(database_url, **stands.settings, YOOKASSA_SHOP_ID=SHOP) as shop:
        yield shop


async def prepared(raw: Any, orders: Sequence[Order]) -> dict[Order, UUID]:
    """The orders of the model, each known by the name that the processor uses for it."""
    made = {}
    for one in orders:
        columns = {"amount": one.money.amount, "currency": one.money.currency, "credit_rub": one.money.amount}
        made[one] = await order(raw, provider=one.provider, test=True, **columns)
        await raw.execute("INSERT INTO payment_references VALUES ($1, $2, $3)", one.provider, one.reference, made[one])
    return made


async def deliver(shop: Served, stands: Market, deliveries: Sequence[Delivery]) -> None:
    """By eight clients, each of whom takes the next one as soon as it is done with the last."""
    left = iter(deliveries)

    async def client() -> None:
        for one in left:
            headers = getattr(stands.processors, one.provider).signed(one.body)
            url = f"{shop.base}/payments/{one.provider}"
            async with shop.http.post(url, data=one.body, headers=headers) as response:
                assert response.status == one.status, (one, await response.text())

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())


async def assert_as_the_model_says(raw: Any, made: dict[Order, UUID]) -> None:
    settled = await raw.fetch("SELECT payment_id FROM payments WHERE status = 'succeeded'")
    assert {row["payment_id"] for row in settled} == {made[one] for one in made if one.paid}
    topups = sorted(amount for kind, amount in await entries_of(raw) if kind == "topup")
    assert topups == sorted(one.money.amount for one in made if one.paid)
    assert await raw.fetch(BROKEN) == []


@contextmanager
def noted(what: str) -> Iterator[None]:
    """Say it with whatever fails."""
    try:
        yield
    except BaseException as error:
        error.add_note(what)
        raise


def three_times_each(seed: int | None) -> list[Delivery]:
    deliveries = list(itertools.chain.from_iterable([one] * COPIES for one in DELIVERIES))
    if seed is not None:
        random.Random(seed).shuffle(deliveries)
    return deliveries


@pytest.mark.parametrize("shuffle", range(4))
async def test_samples_credit_what_was_paid_and_nothing_else(
    shop: Served, stands: Market, raw: Any, shuffle: int
) -> None:
    """Case 6: names that say succeeded around what did not. Case 9: each of them comes again, and again.

    Case 48: invoices, and orders of subscriptions, credit nothing.
    """
    seed = random.randrange(2**32) if shuffle else None
    made = await prepared(raw, ORDERS)
    with noted(f"seed {seed}"):
        await deliver(shop, stands, three_times_each(seed))
        await assert_as_the_model_says(raw, made)
        await shop.operations.jobs.recover()
        await deliver(shop, stands, DELIVERIES)
        await assert_as_the_model_says(raw, made)
        assert await balance_of(raw) == sum(one.money.amount for one in ORDERS if one.paid)


async def test_every_sample_is_delivered() -> None:
    """None that somebody adds is forgotten."""
    known = {"stripe", "polar", "yookassa", "telegram", "standardwebhooks"}
    assert {path.name for path in DATA.iterdir() if path.is_dir()} == known
    bodies = b"".join(one.body for one in DELIVERIES)
    for processor in ("stripe", "polar", "yookassa"):
        for name, thing in read(processor):
            assert json.dumps(thing).encode() in bodies, name


DISPUTED = Order("stripe", "pi_1JAyTwJSZQVUcJYgBbsz0NuH", usd("10.00"), True, "as if it had been paid")


async def test_a_dispute_of_a_sample_takes_its_payment_and_gives_it_back(
    shop: Served, stands: Market, raw: Any
) -> None:
    """Case 43: withdrawn and reinstated, in whichever order, is as before; an inquiry takes nothing.

    Case 4: both may come before the payment.
    """
    intent = dict(read("stripe"))["djstripe.payment_intent_pi_fakefakefakefakefake0001.json"]
    changes = {"id": DISPUTED.reference, "invoice": None, "amount_received": 1000, "charges": None}
    paid = {"id": "evt_paid", "object": "event", "livemode": False, "type": "payment_intent.succeeded"}
    body = json.dumps(paid | {"data": {"object": intent | changes}}).encode()
    deliveries = [*DELIVERIES, Delivery("stripe", body, 200)] * 2
    random.Random(2).shuffle(deliveries)
    made = await prepared(raw, [DISPUTED])
    await deliver(shop, stands, deliveries)
    await deliver(shop, stands, deliveries)
    refunds = await raw.fetch("SELECT status FROM payment_refunds WHERE payment_id = $1", made[DISPUTED])
    assert [row["status"] for row in refunds] == ["failed"], "one dispute, whose money came back"
    await assert_as_the_model_says(raw, made)
    assert await balance_of(raw) == DISPUTED.money.amount


async def test_subscriptions_are_kept_and_have_no_effect(shop: Served, stands: Market, raw: Any) -> None:
    """Case 49: of two events the older one may come last, and a cancellation may be for the end of a period.

    Case 50: a period may be told in seconds, or as text with Z or an offset. Nothing is sold by subscription yet: each
    is stored whole, under a name of its own, and ignored.
    """
    polar = dict(read("polar"))["zapier.subscription.json"]
    stripe = dict(read("stripe"))["djstripe.subscription_sub_fakefakefakefakefake0001.json"]
    told = [
        Delivery("polar", json.dumps({"type": name, "data": polar | changes}).encode(), 200)
        for name, changes in (
            ("subscription.active", {"modified_at": "2026-11-20T12:00:00Z"}),
            ("subscription.canceled", {"modified_at": "2026-11-20T15:00:00+03:00", "cancel_at_period_end": True}),
            ("subscription.updated", {"modified_at": "2026-11-19T12:00:00Z", "status": "past_due"}),
            ("subscription.revoked", {"modified_at": None, "status": "canceled"}),
        )
    ]
    for number, period_end in enumerate((1_800_000_000, "1800000000", "2027-01-15T08:00:00Z", None)):
        event = {"id": f"evt_{number}", "object": "event", "livemode": False, "type": "customer.subscription.updated"}
        body = event | {"data": {"object": stripe | {"current_period_end": period_end}}}
        told.append(Delivery("stripe", json.dumps(body).encode(), 200))
    await deliver(shop, stands, told * 2)
    rows = await raw.fetch("SELECT status, reason, body FROM payment_events")
    assert {(row["status"], row["reason"]) for row in rows} == {("ignored", "subscriptions are not sold yet")}
    assert sorted(row["body"] for row in rows) == sorted(one.body for one in told)
    assert await raw.fetch("SELECT FROM balances") == []


def of_telegram() -> list[Any]:
    """The messages of the samples as updates of one person."""
    updates = []
    for number, (name, thing) in enumerate(read("telegram")):
        kind = "refunded_payment" if "refund" in name else "successful_payment"
        person = {"id": PAYER.user_id, "is_bot": False, "first_name": "Payer"}
        message = {"message_id": 1, "date": 1, "from": person, "chat": {"id": PAYER.user_id, "type": "private"}}
        update = (
            thing if "update_id" in thing else {"message": thing if "message_id" in thing else message | {kind: thing}}
        )
        updates.append(update | {"update_id": 9_000_000 + number})
    return updates


async def test_samples_of_telegram_credit_nobody(shop: Served, raw: Any) -> None:
    """Case 38: none of them pays an order of ours: kept for operators or declined, and acknowledged in the end."""
    updates = of_telegram()
    assert len(updates) == 8
    for _ in range(COPIES):
        for update in updates:
            headers = {SECRET_HEADER: SECRET}
            statuses = []
            while 200 not in statuses:
                async with shop.http.post(shop.base + PATH, json=update, headers=headers) as response:
                    statuses.append(response.status)
                assert len(statuses) < 10, update
    assert await raw.fetch("SELECT FROM balances") == []
    assert await raw.fetch("SELECT FROM payment_transactions") == []
