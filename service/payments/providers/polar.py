"""Polar: the merchant of record for one product whose price we name. It knows Polar's API and webhooks, and no table.

A checkout of Polar becomes an order once it is paid; the order is the money, and what refunds are about. Tax comes on
top and is not the payer's credit: we ask for, count and give back net amounts. https://polar.sh/docs/api-reference
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import aiohttp
from yarl import URL

from service.config import Config
from service.errors import Invalid, Upstream
from service.payments.event import Change, Money, Payment, PaymentEvent, Refund, Report
from service.payments.providers import signature, strict
from service.payments.providers.api import Api, understood
from service.payments.providers.provider import Created
from service.payments.providers.strict import Object
from service.text import Language, Text

NAME = "polar"
API_VERSION = "2026-10"  # pinned: answers keep their shape, whatever the organization's own version is
LIVE_HOST = "api.polar.sh"  # Polar's sandbox is another host, with other keys; nothing in a message tells them apart
NOT_SOLD = "subscriptions are not sold yet"
CHECKOUTS, CHECKOUT = "/v1/checkouts/", "/v1/checkouts/{}"  # a list without its slash is a redirect, which we refuse
ORDERS, REFUNDS = "/v1/orders/", "/v1/refunds/"
PAGE = "100"  # objects; the most that a list gives at once
NAME_MAX = 64  # characters of an event's name, and of an id: what a delivery key is made of
URL_MAX = 2048
PAID = frozenset({"paid", "partially_refunded", "refunded"})
REFUND_CHANGES: dict[str, Change] = {
    "pending": "refund_pending",
    "succeeded": "refunded",
    "failed": "returned",
    "canceled": "returned",
}
CHECKOUT_CHANGES: dict[str, Change] = {"expired": "expired", "failed": "canceled"}

Say = Callable[..., PaymentEvent]  # an event of which the key and the name are known


class Polar:
    """One organization and its one product, by its token, with the secret of its webhook endpoint."""

    name = NAME
    title = Text(en="Card (Polar)", ru="Карта (Polar)")
    currencies = frozenset({"USD"})  # a price has to be in the organization's own currency
    asks_back = False

    def __init__(self, api: Api, product_id: str, *, secret: str, live: bool, return_url: str) -> None:
        """return_url: where a person comes back to, having paid or not."""
        self.live = live
        self._api, self._product_id, self._return_url = api, product_id, return_url
        self._keys = signature.polar_keys(secret)

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Raises Forged."""
        signature.check_standard(headers, body, self._keys, now)

    def parse(self, body: bytes) -> Report:
        """Raises Invalid where it is no event. One around something odd is Polar's all the same, and for review."""
        said = strict.read(body)
        name = strict.text(said, "type", longest=NAME_MAX)
        thing = strict.mapping(said, "data")
        say = partial(PaymentEvent, provider=NAME, delivery_key=_delivery_key(name, thing, body), name=name)
        try:
            return Report(_read(name, say, thing), body)
        except Invalid as odd:
            return Report(say(change="review", reason=odd.message), body)

    async def confirm(self, report: Report) -> Report:
        """The signature was Polar's word."""
        return report

    async def create(self, payment: Payment, *, title: str, language: Language) -> Created:
        """A checkout at our price, before tax, without discounts.

        Polar knows no idempotency keys: asked twice it makes two, of which the payer gets to see only the last.
        """
        code = payment.currency.lower()
        amount = strict.minor_units(payment.money)
        price = {"amount_type": "fixed", "price_amount": amount, "price_currency": code, "tax_behavior": "exclusive"}
        asked = {
            "products": [self._product_id],
            "prices": {self._product_id: [price]},
            "currency": code,
            "allow_discount_codes": False,
            "external_customer_id": str(payment.user_id),
            "metadata": {"payment_id": str(payment.payment_id)},
            "success_url": self._return_url,
            "return_url": self._return_url,
        }
        checkout = await self._api.call("POST", CHECKOUTS, json=asked)
        with understood("Polar's checkout"):
            return Created(strict.text(checkout, "id", longest=NAME_MAX), strict.text(checkout, "url", longest=URL_MAX))

    async def look_up(self, payment: Payment) -> list[Report]:
        """The checkout or its order; once it is paid, its refunds instead. Without an id nothing can be asked."""
        if payment.provider_payment_id is None:
            return []
        if payment.status == "succeeded":
            order_id = await self._order_id(payment)
            return [self._told("refund.updated", one) async for one in self._all(REFUNDS, order_id=order_id)]
        checkout = await self._api.call("GET", CHECKOUT, payment.provider_payment_id)
        status = checkout.get("status")
        if status == "succeeded":
            reports = [self._told("order.paid", one) async for one in self._orders(payment)]
        else:
            reports = [self._told("checkout.expired" if status == "expired" else "checkout.updated", checkout)]
        return [report for report in reports if report.event.change != "nothing"]

    async def capture(self, payment: Payment) -> Report:
        """Polar puts no money aside. Raises Upstream."""
        raise Upstream(f"{NAME}: nothing waits for a capture", permanent=True)

    async def refund(self, refund: Refund, payment: Payment) -> Report:
        """Looks first whether it is given already: Polar knows no idempotency keys."""
        order_id = await self._order_id(payment)
        async for given in self._all(REFUNDS, order_id=order_id):
            if strict.at(given, "metadata", "refund_id") == str(refund.refund_id):
                return self._told("refund.updated", given)
        asked = {
            "order_id": order_id,
            "amount": strict.minor_units(Money(refund.amount, payment.currency)),
            "reason": "customer_request",
            "metadata": {"refund_id": str(refund.refund_id), "payment_id": str(payment.payment_id)},
        }
        return self._told("refund.updated", await self._api.call("POST", REFUNDS, json=asked))

    async def listed(self, since: datetime) -> AsyncIterator[Report]:
        """Orders, then refunds, made since then; each newest first."""
        async for order in self._all_since(ORDERS, since):
            yield self._told("order.paid", order)
        async for refund in self._all_since(REFUNDS, since):
            yield self._told("refund.updated", refund)

    async def _order_id(self, payment: Payment) -> str:
        async for order in self._orders(payment):
            with understood("Polar's order"):
                return strict.text(order, "id", longest=NAME_MAX)
        raise Upstream(f"{NAME}: the checkout was not paid", permanent=True)

    async def _orders(self, payment: Payment) -> AsyncIterator[Object]:
        """Those of the payment's checkout, which is looked at: without its filter a list has everybody's."""
        known = payment.provider_payment_id
        if known is None:
            raise Upstream(f"{NAME}: it never said that it knows this payment", permanent=True)
        async for order in self._all(ORDERS, checkout_id=known):
            if order.get("checkout_id") == known:
                yield order

    def _told(self, name: str, thing: Object) -> Report:
        """An object of the API as the event that would have told it, so that it can be stored and read again."""
        with understood("Polar's answer"):
            return self.parse(strict.written({"type": name, "data": thing}))

    async def _all_since(self, path: str, since: datetime) -> AsyncIterator[Object]:
        async for thing in self._all(path):
            with understood("Polar's list"):
                created_at = _moment(thing)
            if created_at < since:
                return
            yield thing

    async def _all(self, path: str, **filters: str) -> AsyncIterator[Object]:
        """Every object of a list, newest first. https://polar.sh/docs/api-reference/introduction#pagination"""
        number, last = 1, 1
        while number <= last:
            form = [*filters.items(), ("sorting", "-created_at"), ("limit", PAGE), ("page", str(number))]
            page = await self._api.call("GET", path, form=form)
            with understood("Polar's list"):
                things = [strict.mapping(page, "items", place) for place in range(len(strict.listing(page, "items")))]
                last = strict.whole(page, "pagination", "max_page")
            for thing in things:
                yield thing
            number += 1


def requires(config: Config) -> str | None:
    """Which settings are missing, or None."""
    given = {
        "POLAR_ACCESS_TOKEN": config.polar_access_token,
        "POLAR_WEBHOOK_SECRET": config.polar_webhook_secret,
        "POLAR_PRODUCT_ID": config.polar_product_id,
    }
    unset = [name for name, value in given.items() if not value]
    return f"{', '.join(unset)} not set" if unset else None


def configured(config: Config, session: aiohttp.ClientSession, return_url: str) -> Polar:
    """The organization of the settings, which `requires` does not miss."""
    headers = {"Authorization": f"Bearer {config.polar_access_token}", "Polar-Version": API_VERSION}
    api = Api(provider=NAME, session=session, base=config.polar_api_base, headers=headers)
    live = URL(config.polar_api_base).host == LIVE_HOST
    product_id, secret = config.polar_product_id or "", config.polar_webhook_secret or ""
    return Polar(api, product_id, secret=secret, live=live, return_url=return_url)


def _delivery_key(name: str, thing: Object, body: bytes) -> str:
    """The state that is told: the id of a delivery is in a header, and what we ask for comes without one.

    So a state counts as told once, however we come to know it. What has no id is known by its bytes.
    """
    thing_id = strict.loose_text(thing, "id") or ""
    if not 0 < len(thing_id) <= NAME_MAX:
        return f"{name}:{hashlib.sha256(body).hexdigest()}"
    status = (strict.loose_text(thing, "status") or "")[:NAME_MAX]
    refunded = thing.get("refunded_amount")
    return f"{name}:{thing_id}:{status}" + (f":{refunded}" if type(refunded) is int else "")


def _read(name: str, say: Say, thing: Object) -> PaymentEvent:
    kind = name.partition(".")[0]
    reader = {"order": _order, "refund": _refund, "checkout": _checkout}.get(kind)
    if kind == "subscription" or (reader and _is_of_a_subscription(thing)):
        return say(change="nothing", reason=NOT_SOLD)
    return reader(say, thing) if reader else say(change="nothing")


def _is_of_a_subscription(thing: Object) -> bool:
    reason = strict.loose_text(thing, "billing_reason") or ""
    return thing.get("subscription_id") is not None or reason.startswith("subscription")


def _order(say: Say, order: Object) -> PaymentEvent:
    """Paid, whatever the event is called; also when some of it, or all, was given back since."""
    status = strict.loose_text(order, "status")
    if status not in PAID or order.get("paid") is not True:
        return say(change="nothing", reason=f"the order is {status}")
    money = _money(order, "net_amount")
    order_id = strict.text(order, "id", longest=NAME_MAX)
    return say(
        change="paid" if money.amount else "review",
        references=tuple((NAME, one) for one in (strict.optional_text(order, "checkout_id"), order_id) if one),
        order_id=_ours(order, "payment_id"),
        money=money,
        effect_key=f"{NAME}:payment:{order_id}",
        reason="" if money.amount else "paid, and nothing was charged",
    )


def _refund(say: Say, refund: Object) -> PaymentEvent:
    """A refund tells of itself from its beginning to its end; of a failed one the money is with us again."""
    status = strict.loose_text(refund, "status")
    change = REFUND_CHANGES.get(status or "")
    if change is None:
        return say(change="nothing", reason=f"the refund is {status}")
    refund_id = strict.text(refund, "id", longest=NAME_MAX)
    return say(
        change=change,
        references=((NAME, strict.text(refund, "order_id")),),
        order_id=_ours(refund, "payment_id"),
        money=_money(refund, "amount"),
        effect_key=f"{NAME}:refund:{refund_id}",
        refund_id=refund_id,
        request_id=_ours(refund, "refund_id"),
    )


def _checkout(say: Say, checkout: Object) -> PaymentEvent:
    """One that succeeded is told by its order."""
    status = strict.loose_text(checkout, "status")
    change = CHECKOUT_CHANGES.get(status or "")
    if change is None:
        return say(change="nothing", reason=f"the checkout is {status}")
    references = ((NAME, strict.text(checkout, "id", longest=NAME_MAX)),)
    return say(change=change, references=references, order_id=_ours(checkout, "payment_id"))


def _ours(thing: Object, key: str) -> UUID | None:
    return strict.uuid_of(strict.at(thing, "metadata", key))


def _money(thing: Object, amount: str) -> Money:
    return strict.minor(strict.whole(thing, amount), strict.currency(thing, "currency"))


def _moment(thing: Object) -> datetime:
    """When it was made. Raises Invalid."""
    try:
        moment = datetime.fromisoformat(strict.text(thing, "created_at"))
    except ValueError:
        raise Invalid("created_at is no time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
