"""Payments inside Telegram: Stars, and cards at a bank that @BotFather has connected.

It knows invoices, and the two messages in which Telegram tells of money; it knows no table. Such a message is no
callback: it comes with the updates, authentic as they are, and is stored in the one form that `parse` reads again.
https://core.telegram.org/bots/payments-stars, https://core.telegram.org/bots/payments
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from functools import partial
from typing import NoReturn

from service.catalog.currency import EXPONENTS, STARS
from service.config import Config
from service.errors import Forged, Invalid, Upstream
from service.payments.event import Payment, PaymentEvent, Refund, Report
from service.payments.providers import strict
from service.payments.providers.api import understood
from service.payments.providers.provider import Created
from service.payments.providers.strict import Object
from service.telegram.client import BotApi
from service.telegram.update import Update
from service.text import Language, Text

NAME, CARDS = "telegram", "telegram_cards"
TITLE = Text(en="Telegram Stars", ru="Звёзды Telegram")
CARDS_TITLE = Text(en="Card in Telegram", ru="Карта в Telegram")
DESCRIPTION = Text(
    en="The balance of this bot grows as soon as the payment arrives.",
    ru="Баланс в этом боте пополнится, как только придёт оплата.",
)
PAID, REFUNDED = "successful_payment", "refunded_payment"
TITLE_MAX = 32  # characters, of an invoice
CHARGE_MAX = 512  # characters; ids of 150 have been seen
LINK_MAX = 2048
PAGE = 100  # transactions; the most that a list gives at once
REFUNDED_ALREADY = "CHARGE_ALREADY_REFUNDED"  # also told after a refund whose answer was lost
TEST_TOKEN = ":TEST:"  # noqa: S105 - what @BotFather puts into a token for a bank's test shop
# Banks behind @BotFather that may tell us of the same money themselves, under the id that Telegram passes on.
BANKS = ("yookassa", "stripe")


class Telegram:
    """Invoices in one kind of money: without a bank's token in Stars, which alone can be given back and listed."""

    asks_back = False

    def __init__(self, bot: BotApi, token: str = "") -> None:
        """token: of the bank, from @BotFather."""
        self._bot, self._token = bot, token
        self.name, self.title = (CARDS, CARDS_TITLE) if token else (NAME, TITLE)
        self.currencies = frozenset(EXPONENTS) - {STARS} if token else frozenset({STARS})
        self.live = TEST_TOKEN not in token

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> NoReturn:
        """There is no such door. Raises Forged."""
        raise Forged

    def parse(self, body: bytes) -> Report:
        """Raises Invalid where it is not what `report_of` has written."""
        return _read(body)

    async def confirm(self, report: Report) -> Report:
        """The update was Telegram's word."""
        return report

    async def create(self, payment: Payment, *, title: str, language: Language) -> Created:
        """A link to an invoice. Asked twice, there are two for the same order; each can be paid, by anybody, often."""
        label = title[:TITLE_MAX]
        asked = {
            "title": label,
            "description": DESCRIPTION.in_(language),
            "payload": str(payment.payment_id),
            "provider_token": self._token,
            "currency": payment.currency,
            "prices": [{"label": label, "amount": strict.minor_units(payment.money)}],
        }
        link = await self._bot.call("createInvoiceLink", asked)
        with understood("Telegram's link"):
            return Created(None, strict.text({"link": link}, "link", longest=LINK_MAX))

    async def look_up(self, payment: Payment) -> list[Report]:
        """Nothing: Telegram cannot be asked for one payment, only `listed`."""
        return []

    async def capture(self, payment: Payment) -> Report:
        """Telegram puts no money aside. Raises Upstream."""
        raise Upstream(f"{self.name}: nothing waits for a capture", permanent=True)

    async def refund(self, refund: Refund, payment: Payment) -> Report:
        """All of it; Telegram knows no parts. https://core.telegram.org/bots/api#refundstarpayment"""
        charge = payment.provider_payment_id
        if self._token:
            raise Upstream(f"{CARDS}: Telegram gives no cards back; do it at the bank that took it", permanent=True)
        if charge is None or refund.amount != payment.amount:
            raise Upstream(f"{NAME}: a payment is given back whole or not at all", permanent=True)
        try:
            asked = {"user_id": payment.user_id, "telegram_payment_charge_id": charge}
            await self._bot.call("refundStarPayment", asked)
        except Upstream as error:
            if REFUNDED_ALREADY not in error.message:
                raise
        told = {
            "currency": payment.currency,
            "total_amount": strict.minor_units(payment.money),
            "invoice_payload": str(payment.payment_id),
            "telegram_payment_charge_id": charge,
        }
        ours = {"refund_id": str(refund.refund_id)}
        return _read(strict.written({"type": REFUNDED, "user_id": payment.user_id, "payment": told, **ours}))

    async def listed(self, since: datetime) -> AsyncIterator[Report]:
        """Stars that came and went back since then, in their order. https://core.telegram.org/bots/api#startransaction"""
        place = 0 if self._token else await self._place_before(since)
        while rows := [] if self._token else await self._transactions(place, PAGE):
            for row in rows:
                with understood("Telegram's list"):
                    report = _of_transaction(row) if _date(row) >= since.timestamp() else None
                if report is not None:
                    yield report
            place += len(rows)

    async def _place_before(self, since: datetime) -> int:
        """A place in the list, which begins with the oldest, so that less than a page from there is older than that."""
        low, high = 0, PAGE
        while await self._is_older(high, since):
            low, high = high, 2 * high
        while high - low > PAGE:
            middle = (low + high) // 2
            low, high = (middle, high) if await self._is_older(middle, since) else (low, middle)
        return low

    async def _is_older(self, place: int, since: datetime) -> bool:
        rows = await self._transactions(place, 1)
        with understood("Telegram's list"):
            return bool(rows) and _date(rows[0]) < since.timestamp()

    async def _transactions(self, offset: int, limit: int) -> list[Object]:
        page = await self._bot.call("getStarTransactions", {"offset": offset, "limit": limit})
        with understood("Telegram's list"):
            rows = strict.listing(page, "transactions")
            return [strict.mapping(page, "transactions", place) for place in range(len(rows))]


def configured(config: Config, bot: BotApi) -> list[Telegram]:
    """Stars, which need no settings, and cards, where there is a token for them."""
    token = config.telegram_provider_token
    return [Telegram(bot), *([Telegram(bot, token)] if token else [])]


def report_of(update: Update) -> Report:
    """What an update of the kind `money` says, in its stored form. Raises Invalid where that cannot be read again."""
    message, sender = update.message, update.sender
    assert message is not None, "money comes in messages"
    assert sender is not None, "money of nobody has no route"
    name = REFUNDED if message.successful_payment is None else PAID
    payment = message.refunded_payment if message.successful_payment is None else message.successful_payment
    return _read(strict.written({"type": name, "user_id": sender.id, "payment": payment}))


def _read(body: bytes) -> Report:
    """What is odd about the money is for review; so is what makes it odd that it is Telegram's at all."""
    said = strict.read(body)
    name = strict.text(said, "type", pattern=f"{PAID}|{REFUNDED}")
    payment = strict.mapping(said, "payment")
    provider = NAME if payment.get("currency") == STARS else CARDS
    charge = payment.get("telegram_payment_charge_id")
    known = isinstance(charge, str) and 0 < len(charge) <= CHARGE_MAX and charge.isprintable()
    key = f"{name}:{charge if known else hashlib.sha256(body).hexdigest()}"
    say = partial(PaymentEvent, provider=provider, delivery_key=key, name=name)
    try:
        money = strict.minor(strict.whole(payment, "total_amount"), strict.currency(payment, "currency"))
        charge = strict.text(payment, "telegram_payment_charge_id", longest=CHARGE_MAX)
        say = partial(say, money=money, user_id=strict.whole(said, "user_id", low=1, high=strict.BIGINT_MAX))
        return Report(_paid(say, payment, charge) if name == PAID else _refunded(say, said, charge), body)
    except Invalid as odd:
        return Report(say(change="review", reason=odd.message), body)


def _paid(say: partial[PaymentEvent], payment: Object, charge: str) -> PaymentEvent:
    """The payload is our order; where it is not, the money waits for an operator."""
    provider = say.keywords["provider"]
    at_bank = strict.loose_text(payment, "provider_payment_charge_id") if provider == CARDS else None
    return say(
        change="paid",
        references=((provider, charge), *((bank, at_bank) for bank in BANKS if at_bank)),
        order_id=strict.uuid_of(payment.get("invoice_payload")),
        effect_key=f"{NAME}:payment:{charge}",
        repeatable=True,
    )


def _refunded(say: partial[PaymentEvent], said: Object, charge: str) -> PaymentEvent:
    """Known by its charge alone: an order that was paid twice has two, and only one went back."""
    return say(
        change="refunded",
        references=((say.keywords["provider"], charge),),
        effect_key=f"{NAME}:refund:{charge}",
        refund_id=charge,
        request_id=strict.uuid_of(said.get("refund_id")),
    )


def _of_transaction(row: Object) -> Report | None:
    """As the message that told of it, or ought to have; None for other Stars: withdrawals, gifts, media."""
    name, partner = (PAID, row.get("source")) if row.get("source") else (REFUNDED, row.get("receiver"))
    payload = strict.at(partner, "invoice_payload")
    is_invoice = strict.at(partner, "transaction_type") in (None, "invoice_payment")
    if strict.at(partner, "type") != "user" or not is_invoice or payload is None:
        return None
    told = {
        "currency": STARS,
        "total_amount": row.get("amount"),
        "invoice_payload": payload,
        "telegram_payment_charge_id": row.get("id"),
    }
    return _read(strict.written({"type": name, "user_id": strict.at(partner, "user", "id"), "payment": told}))


def _date(row: Object) -> int:
    return strict.whole(row, "date")
