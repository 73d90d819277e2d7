"""YooKassa: cards, SBP and wallets in roubles. https://yookassa.ru/developers/api

It knows YooKassa's objects, and when one of them is money of ours; it knows nothing of balances. A notification of
YooKassa is not signed: it is a hint that something happened, and only what the API says of the object counts.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec

from service.config import Config
from service.errors import Invalid, Upstream
from service.payments.event import KOPEK, Change, Money, Payment, PaymentEvent, Refund, Report
from service.payments.providers import strict
from service.payments.providers.api import Api, Refused, Unclear, understood
from service.payments.providers.provider import Created
from service.payments.providers.strict import Object
from service.text import Language, Text

NAME = "yookassa"
PAGE = "100"  # objects; the most that a list gives at once
DESCRIPTION_MAX = 128  # characters
RECEIPT_ITEM = "Пополнение баланса"  # what a receipt names, for the payer and the tax office

_EVENT = r"[a-z_]{1,32}\.[a-z_]{1,32}"
_ID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OTHER_ID = r"[A-Za-z0-9_-]{1,64}"  # of payouts, deals, payment methods

# What the state of an object means, by kind. https://yookassa.ru/developers/payment-acceptance/getting-started
_PAYMENT: dict[str, Change] = {"pending": "nothing", "waiting_for_capture": "authorized", "succeeded": "paid"}
_REFUND: dict[str, Change] = {"pending": "refund_pending", "succeeded": "refunded", "canceled": "returned"}
_CHANGES = {"payment": {**_PAYMENT, "canceled": "canceled"}, "refund": _REFUND}
_NAMES = {f"{kind}.{status}" for kind, changes in _CHANGES.items() for status in changes}
UNKNOWN = "unknown"  # our word for what the API does not know; no state of YooKassa's


class Receipts(msgspec.Struct, frozen=True):
    """Where receipts go, and their VAT: 1 is none. https://yookassa.ru/developers/payment-acceptance/receipts"""

    email: str
    vat_code: int


class YooKassa:
    """One shop. A key that begins with test_ is a test shop's: its money is none, and counts only for such a shop."""

    name = NAME
    title = Text(en="Card, SBP (YooKassa)", ru="Карта, СБП (ЮKassa)")
    currencies = frozenset({"RUB"})
    asks_back = True

    def __init__(self, api: Api, shop_id: str, *, live: bool, return_url: str, receipts: Receipts | None) -> None:
        """return_url: where a person comes back to, having paid."""
        self.live = live
        self._api, self._shop_id, self._return_url, self._receipts = api, shop_id, return_url, receipts

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Nothing: there is no signature, no header to check, and behind a proxy no address. `confirm` decides.

        https://yookassa.ru/developers/using-api/webhooks#ip
        """

    def parse(self, body: bytes) -> Report:
        """What the object in the body would mean, were it true: of a callback this is a hint, for `confirm`.

        Only the event's name and the object's id must be as they ought to; what else is wrong makes it `review`.
        """
        name, kind, thing = _read(body)
        if kind is None:
            return _of_no_consequence(name, strict.text(thing, "id"))
        return Report(self._event(kind, thing), body)

    async def confirm(self, report: Report) -> Report:
        """What the API says of the object now; that it knows none of this id is of no consequence."""
        _, kind, hinted = _read(report.body)
        if kind is None:
            return report
        thing_id = strict.text(hinted, "id", pattern=_ID)
        try:
            return await self._fetched(kind, thing_id)
        except Refused as refusal:
            if not refusal.not_found:
                raise
        return _of_no_consequence(f"{kind}.{UNKNOWN}", thing_id)

    async def create(self, payment: Payment, *, title: str, language: Language) -> Created:
        """The same payment for the same key within 24 hours, as long as the title is the same, too.

        Where there is nothing to be paid any more, pay_url is empty.
        """
        asked = {
            "amount": _amount(payment.money),
            "capture": True,
            "confirmation": {"type": "redirect", "return_url": self._return_url},
            "description": title[:DESCRIPTION_MAX],
            "metadata": {"payment_id": str(payment.payment_id), "user_id": str(payment.user_id)},
            **self._receipt(payment.money),
        }
        answer = await self._post("/payments", json=asked, key=str(payment.payment_id))
        with understood("YooKassa's answer"):
            return Created(
                strict.text(answer, "id", pattern=_ID),
                strict.optional_text(answer, "confirmation", "confirmation_url", longest=2048) or "",
            )

    async def look_up(self, payment: Payment) -> list[Report]:
        """The payment; once it is paid, its refunds instead. Of one without an id nothing can be asked."""
        if payment.provider_payment_id is None:
            return []
        if payment.status == "succeeded":
            return [self._told("refund", one) async for one in self._refunds(payment.provider_payment_id)]
        report = await self._fetched("payment", payment.provider_payment_id)
        return [] if report.event.change == "nothing" else [report]

    async def capture(self, payment: Payment) -> Report:
        """Everything that was authorized."""
        path, key = "/payments/{}/capture", f"{payment.payment_id}.capture"
        return self._told("payment", await self._post(path, _id(payment), json={}, key=key))

    async def refund(self, refund: Refund, payment: Payment) -> Report:
        """Looks first whether it is given already: YooKassa forgets a key after 24 hours."""
        async for given in self._refunds(_id(payment)):
            if strict.loose_text(given, "metadata", "refund_id") == str(refund.refund_id):
                return self._told("refund", given)
        money = Money(refund.amount, payment.currency)
        ours = {"refund_id": str(refund.refund_id), "payment_id": str(payment.payment_id)}
        asked = {"payment_id": _id(payment), "amount": _amount(money), "metadata": ours, **self._receipt(money)}
        return self._told("refund", await self._post("/refunds", json=asked, key=str(refund.refund_id)))

    async def listed(self, since: datetime) -> AsyncIterator[Report]:
        """Payments that were taken, then refunds that were made; each newest first."""
        moment = since.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        async for payment in self._all("/payments", ("status", "succeeded"), ("captured_at.gte", moment)):
            yield self._told("payment", payment)
        async for refund in self._all("/refunds", ("created_at.gte", moment)):
            yield self._told("refund", refund)

    def _event(self, kind: str, thing: Object) -> PaymentEvent:
        """What the object means. The id is known to be one; every other field may be anything."""
        thing_id = strict.text(thing, "id", pattern=_ID)
        name = _name(kind, thing)
        event = PaymentEvent(
            provider=NAME,
            delivery_key=f"{name}:{thing_id}",
            name=name,
            change=_CHANGES[kind].get(name.partition(".")[2], "review"),
            reason="" if name in _NAMES else "its status is none that is known",
            references=((NAME, thing_id),) if kind == "payment" else (),
            order_id=strict.uuid_of(strict.at(thing, "metadata", "payment_id")),
            effect_key=f"{NAME}:{kind}:{thing_id}",
        )
        if event.change in ("nothing", "review"):
            return event
        try:
            return self._payment(event, thing) if kind == "payment" else _refund(event, thing)
        except Invalid as error:
            return msgspec.structs.replace(event, change="review", reason=error.message)

    def _payment(self, event: PaymentEvent, thing: Object) -> PaymentEvent:
        contradiction = self._contradiction(event, thing)
        return msgspec.structs.replace(
            event,
            change="review" if contradiction else event.change,
            reason=contradiction or strict.loose_text(thing, "cancellation_details", "reason") or "",
            user_id=strict.user_id_of(strict.at(thing, "metadata", "user_id")),
            money=_money(thing),
        )

    def _contradiction(self, event: PaymentEvent, thing: Object) -> str:
        """Why a payment is none of this shop's, or ""."""
        if strict.text(thing, "recipient", "account_id") != self._shop_id:
            return "paid to another shop"
        if strict.boolean(thing, "test") == self.live:
            return "test money, and the shop is live" if self.live else "real money, and the shop is a test shop"
        return "succeeded, and not paid" if event.change == "paid" and not strict.boolean(thing, "paid") else ""

    async def _fetched(self, kind: str, thing_id: str) -> Report:
        thing = await self._api.call("GET", f"/{kind}s/{{}}", thing_id)
        if thing.get("id") != thing_id:
            raise Unclear("YooKassa answered with another object than was asked for")
        return self._told(kind, thing)

    def _told(self, kind: str, thing: Object) -> Report:
        """An object of the API as the notification that would have told it, so that it can be stored and read again."""
        with understood("YooKassa's answer"):
            return self.parse(_wrapped(_name(kind, thing), thing))

    def _refunds(self, payment_id: str) -> AsyncIterator[Object]:
        return self._all("/refunds", ("payment_id", payment_id))

    async def _all(self, path: str, *filters: tuple[str, str]) -> AsyncIterator[Object]:
        """Every object of a list. https://yookassa.ru/developers/using-api/lists"""
        cursor: str | None = ""
        while cursor is not None:
            page = await self._api.call(
                "GET", path, form=[*filters, ("limit", PAGE), *([("cursor", cursor)] if cursor else [])]
            )
            with understood("YooKassa's answer"):
                count = len(strict.listing(page, "items"))
                things = [strict.mapping(page, "items", place) for place in range(count)]
                cursor = strict.optional_text(page, "next_cursor")
            for thing in things:
                yield thing

    async def _post(self, path: str, *ids: str, json: Object, key: str) -> Object:
        return await self._api.call("POST", path, *ids, json=json, headers={"Idempotence-Key": key})

    def _receipt(self, money: Money) -> dict[str, Any]:
        """A receipt of one item, where the shop sends them through YooKassa (54-FZ)."""
        if self._receipts is None:
            return {}
        item = {
            "description": RECEIPT_ITEM,
            "quantity": 1,
            "amount": _amount(money),
            "vat_code": self._receipts.vat_code,
            "payment_subject": "service",
            "payment_mode": "full_prepayment",  # a balance is spent later
        }
        return {"receipt": {"customer": {"email": self._receipts.email}, "items": [item]}}


def requires(config: Config) -> str | None:
    """Which settings are missing, or None."""
    given = {"YOOKASSA_SHOP_ID": config.yookassa_shop_id, "YOOKASSA_SECRET_KEY": config.yookassa_secret_key}
    unset = [name for name, value in given.items() if not value]
    return f"{', '.join(unset)} not set" if unset else None


def configured(config: Config, session: aiohttp.ClientSession, return_url: str) -> YooKassa:
    """The shop of the settings, which `requires` does not miss."""
    shop_id, key = config.yookassa_shop_id or "", config.yookassa_secret_key or ""
    pair = b64encode(f"{shop_id}:{key}".encode()).decode()
    api = Api(provider=NAME, session=session, base=config.yookassa_api_base, headers={"Authorization": f"Basic {pair}"})
    email = config.yookassa_receipt_email
    receipts = Receipts(email, config.yookassa_vat_code) if email else None
    return YooKassa(api, shop_id, live=not key.startswith("test_"), return_url=return_url, receipts=receipts)


def _read(body: bytes) -> tuple[str, str | None, Object]:
    """The name of a notification, the kind of its object where that is money, and the object. Raises Invalid."""
    said = strict.read(body)
    strict.text(said, "type", pattern="notification")
    name = strict.text(said, "event", pattern=_EVENT)
    thing = strict.mapping(said, "object")
    kind, _, what = name.partition(".")
    is_money = kind in _CHANGES and what != UNKNOWN
    strict.text(thing, "id", pattern=_ID if is_money else _OTHER_ID)
    return name, kind if is_money else None, thing


def _of_no_consequence(name: str, thing_id: str) -> Report:
    """Kept as its name and id: nobody vouches for the rest of it."""
    reason = "YooKassa does not know it" if name.endswith(f".{UNKNOWN}") else ""
    event = PaymentEvent(provider=NAME, delivery_key=f"{name}:{thing_id}", name=name, change="nothing", reason=reason)
    return Report(event, _wrapped(name, {"id": thing_id}))


def _name(kind: str, thing: Object) -> str:
    """The event that led to this state, payment.succeeded; never taken from what a hint says it is called."""
    name = f"{kind}.{strict.loose_text(thing, 'status')}"
    return name if name in _NAMES else f"{kind}.unreadable"


def _wrapped(name: str, thing: Object) -> bytes:
    return strict.written({"type": "notification", "event": name, "object": thing})


def _refund(event: PaymentEvent, thing: Object) -> PaymentEvent:
    return msgspec.structs.replace(
        event,
        references=((NAME, strict.text(thing, "payment_id", pattern=_ID)),),
        money=_money(thing),
        refund_id=strict.text(thing, "id"),
        request_id=strict.uuid_of(strict.at(thing, "metadata", "refund_id")),
    )


def _money(thing: Object) -> Money:
    """Of `amount` only: income_amount is what the shop gets, and no business of the payer's."""
    return Money(strict.decimal_text(thing, "amount", "value"), strict.currency(thing, "amount", "currency"))


def _amount(money: Money) -> Object:
    return {"value": str(money.amount.quantize(KOPEK)), "currency": money.currency}


def _id(payment: Payment) -> str:
    if payment.provider_payment_id is None:
        raise Upstream("YooKassa never said that it knows this payment", permanent=True)
    return payment.provider_payment_id
