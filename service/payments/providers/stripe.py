"""Stripe: pays by Checkout Sessions over plain HTTPS. It knows Stripe's API, and touches no table.

One session is one payment of ours, and its id is what we remember; the payment intent inside of it is what Stripe
refunds. Our ids go along as metadata and as idempotency keys. https://docs.stripe.com/api
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta

import aiohttp

from service.config import Config
from service.errors import Upstream
from service.payments.event import Money, Payment, Refund, Report
from service.payments.providers import signature, strict, stripe_events
from service.payments.providers.api import Api, form, understood
from service.payments.providers.provider import Created
from service.payments.providers.strict import Object
from service.payments.providers.stripe_events import COMPLETED, EXPIRED, INTENT_PREFIX, NAME, READERS, REFUND_UPDATED
from service.text import Language, Text

API_VERSION = "2026-10-28.endive"  # pinned: answers keep their shape, whatever the account's own version is
SESSIONS, SESSION, REFUNDS, EVENTS = "/v1/checkout/sessions", "/v1/checkout/sessions/{}", "/v1/refunds", "/v1/events"
# A session lives 30 minutes to 24 hours from when it is created, which may be some minutes after the order was made.
# Both bounds count from the order, so that asking again asks the same: Stripe refuses a key with other parameters.
SHORTEST, LONGEST = timedelta(hours=1), timedelta(hours=24)
NAME_MAX = 1500  # characters of a product's name
URL_MAX = 5000
PAGE = 100  # the most that a list gives at once


class Stripe:
    """One Stripe account, by its key, with the secrets of its webhook endpoint."""

    name = NAME
    title = Text(en="Card (Stripe)", ru="Карта (Stripe)")
    currencies = frozenset({"USD", "EUR", "GBP"})
    asks_back = False

    def __init__(self, api: Api, *, secrets: tuple[str, ...], live: bool, return_url: str) -> None:
        """return_url: where a person comes back to, having paid or not."""
        self.live = live
        self._api, self._secrets, self._return_url = api, secrets, return_url

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Raises Forged."""
        signature.check_stripe(headers, body, self._secrets, now)

    def parse(self, body: bytes) -> Report:
        """Raises Invalid."""
        return stripe_events.parse(body, live=self.live)

    async def confirm(self, report: Report) -> Report:
        """The signature was Stripe's word."""
        return report

    async def create(self, payment: Payment, *, title: str, language: Language) -> Created:
        """A session for the amount; the same one for the same payment, title and language within a day."""
        params = self._session_of(payment, title) | {"locale": language}
        session = await self._post(SESSIONS, params, key=str(payment.payment_id))
        with understood("Stripe's answer"):
            return Created(strict.text(session, "id"), strict.text(session, "url", longest=URL_MAX))

    async def look_up(self, payment: Payment) -> list[Report]:
        """The session; once it is paid, its refunds instead. Of a payment without an id nothing can be asked."""
        if payment.provider_payment_id is None:
            return []
        if payment.status == "succeeded":
            return [self._of_refund(one) async for one in self._refunds(await self._intent(payment))]
        session = await self._api.call("GET", SESSION, payment.provider_payment_id)
        report = self._of_session(session)
        return [] if report.event.change == "nothing" else [report]

    async def capture(self, payment: Payment) -> Report:
        """We never ask Stripe to put money aside. Raises Upstream."""
        raise Upstream(f"{NAME}: nothing waits for a capture", permanent=True)

    async def refund(self, refund: Refund, payment: Payment) -> Report:
        """Looks first whether it is given already: Stripe may forget a key after a day."""
        intent = await self._intent(payment)
        async for given in self._refunds(intent):
            if strict.at(given, "metadata", "refund_id") == str(refund.refund_id):
                return self._of_refund(given)
        asked = {
            "payment_intent": intent,
            "amount": strict.minor_units(Money(refund.amount, payment.currency)),
            "metadata": {"refund_id": str(refund.refund_id), "payment_id": str(payment.payment_id)},
        }
        return self._of_refund(await self._post(REFUNDS, asked, key=str(refund.refund_id)))

    async def listed(self, since: datetime) -> AsyncIterator[Report]:
        """The events themselves, newest first; Stripe keeps them for thirty days."""
        wanted = {"types": list(READERS), "created": {"gte": int(since.timestamp())}}
        async for event in self._all(EVENTS, wanted):
            with understood("Stripe's answer"):
                report = self.parse(strict.written(event))
            yield report

    def _session_of(self, payment: Payment, title: str) -> Object:
        """Metadata of a session does not reach its intent, nor the charge; so it is given twice."""
        ours = {"payment_id": str(payment.payment_id)}
        price = {
            "currency": payment.currency.lower(),
            "unit_amount": strict.minor_units(payment.money),
            "product_data": {"name": title[:NAME_MAX]},
        }
        expires_at = min(max(payment.expires_at, payment.created_at + SHORTEST), payment.created_at + LONGEST)
        return {
            "mode": "payment",
            "line_items": [{"price_data": price, "quantity": 1}],
            "adaptive_pricing": {"enabled": False},  # the payment, its refunds and disputes are all in our currency
            "success_url": self._return_url,
            "cancel_url": self._return_url,
            "client_reference_id": str(payment.payment_id),
            "metadata": ours,
            "payment_intent_data": {"metadata": ours},
            "expires_at": int(expires_at.timestamp()),
        }

    async def _intent(self, payment: Payment) -> str:
        """What is refunded: the payment intent of the session. It is all we know where we only heard of the intent."""
        known = payment.provider_payment_id
        if known is None:
            raise Upstream(f"{NAME}: it never said that it knows this payment", permanent=True)
        if known.startswith(INTENT_PREFIX):
            return known
        session = await self._api.call("GET", SESSION, known)
        with understood("Stripe's answer"):
            intent = stripe_events.id_at(session, "payment_intent")
        if intent is None:
            raise Upstream(f"{NAME}: the session was not paid", permanent=True)
        return intent

    def _of_session(self, session: Object) -> Report:
        """As its event would have told it."""
        with understood("Stripe's answer"):
            state = (strict.text(session, "status"), strict.text(session, "payment_status"))
            key = ":".join(("checkout.session", strict.text(session, "id"), *state))
            name = EXPIRED if state[0] == "expired" else COMPLETED
            return self._told(name, key, session)

    def _of_refund(self, refund: Object) -> Report:
        with understood("Stripe's answer"):
            key = f"refund:{strict.text(refund, 'id')}:{strict.text(refund, 'status')}"
            return self._told(REFUND_UPDATED, key, refund)

    def _told(self, name: str, key: str, thing: Object) -> Report:
        """A refund does not say whether it is live; what our key finds is as live as the key."""
        live = thing.get("livemode", self.live) is True
        return self.parse(stripe_events.written(name, key, thing, live=live))

    def _refunds(self, intent: str) -> AsyncIterator[Object]:
        return self._all(REFUNDS, {"payment_intent": intent})

    async def _all(self, path: str, wanted: Object) -> AsyncIterator[Object]:
        """Every object of a list. https://docs.stripe.com/api/pagination"""
        last: str | None = ""
        while last is not None:
            page = await self._api.call(
                "GET", path, form=form(wanted | {"limit": PAGE, "starting_after": last or None})
            )
            with understood("Stripe's answer"):
                things = [strict.mapping(page, "data", place) for place in range(len(strict.listing(page, "data")))]
                last = strict.text(things[-1], "id") if things and strict.boolean(page, "has_more") else None
            for thing in things:
                yield thing

    async def _post(self, path: str, params: Object, *, key: str) -> Object:
        return await self._api.call("POST", path, form=form(params), headers={"Idempotency-Key": key})


def requires(config: Config) -> str | None:
    """Which settings are missing, or None."""
    given = {"STRIPE_SECRET_KEY": config.stripe_secret_key, "STRIPE_WEBHOOK_SECRET": config.stripe_webhook_secret}
    unset = [name for name, value in given.items() if not value]
    return f"{', '.join(unset)} not set" if unset else None


def configured(config: Config, session: aiohttp.ClientSession, return_url: str) -> Stripe:
    """The account of the settings, which `requires` does not miss."""
    key = config.stripe_secret_key or ""
    headers = {"Authorization": f"Bearer {key}", "Stripe-Version": API_VERSION}
    api = Api(provider=NAME, session=session, base=config.stripe_api_base, headers=headers)
    live = key.startswith(("sk_live_", "rk_live_"))
    return Stripe(api, secrets=config.stripe_webhook_secret or (), live=live, return_url=return_url)
