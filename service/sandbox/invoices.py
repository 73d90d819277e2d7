"""Payments inside Telegram, in a minimal honest model: invoices, the checkout question, charges, refunds.

It must not know webhooks or what is sold. https://core.telegram.org/bots/payments-stars
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, TypeVar

from service.sandbox.calls import Arguments, Json, bad_request, leading_integer
from service.sandbox.chats import CHECKOUT_ANSWER_S, Chat, Chats, Message, Question
from service.sandbox.delivery import Updates
from service.sandbox.markup import markup_of

STARS = "XTR"
CURRENCIES = frozenset({STARS, "RUB", "USD", "EUR", "GBP", "KZT", "UAH", "TRY", "INR", "BRL", "JPY", "PLN"})
SUBSCRIPTION_PERIOD_S = 2_592_000  # the only period that Telegram allows: 30 days
SUBSCRIPTION_MOST_STARS = 10_000
INVOICE_MOST_STARS = 100_000
KEPT_LINKS = 500
KEPT_CHARGES = 1_000
LINK = "https://t.me/$"

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Invoice:
    """What sendInvoice or createInvoiceLink described."""

    title: str
    description: str
    payload: str
    currency: str
    total_amount: int
    subscription_period: int = 0

    def wire(self) -> Json:
        return {
            "title": self.title,
            "description": self.description,
            "start_parameter": "",
            "currency": self.currency,
            "total_amount": self.total_amount,
        }


@dataclass(slots=True, eq=False)
class Charge:
    """Money that was taken."""

    id: str
    chat: Chat
    invoice: Invoice
    date: int
    refunded: bool = False


def invoice_from(args: Arguments) -> Invoice:
    """Raises Refusal for what Telegram would not invoice."""
    title = _within(args.required("title"), 32, "INVOICE_TITLE_INVALID")
    description = _within(args.required("description"), 255, "INVOICE_DESCRIPTION_INVALID")
    payload = args.required("payload")
    if len(payload.encode()) > 128:
        raise bad_request("INVOICE_PAYLOAD_INVALID")
    currency = args.required("currency")
    amounts = _amounts(args.decoded("prices", wrong="can't parse prices JSON object"))
    period = leading_integer(args.string("subscription_period"))
    invoice = Invoice(title, description, payload, currency, sum(amounts), period)
    _check_currency(args, invoice, amounts)
    return invoice


def _within(text: str, most: int, otherwise: str) -> str:
    if len(text) > most:
        raise bad_request(otherwise)
    return text


def _amounts(prices: Any) -> list[int]:
    if prices is None:
        raise bad_request('parameter "prices" is required')
    if not isinstance(prices, list):
        raise bad_request("expected an Array of labeled prices")
    if not prices:
        raise bad_request("there must be at least one price")
    return [_amount(price) for price in prices]


def _amount(price: Any) -> int:
    if not isinstance(price, dict):
        raise bad_request("can't parse labeled price: LabeledPrice must be an Object")
    if not isinstance(price.get("label"), str) or not price["label"]:
        raise bad_request("can't parse labeled price: LabeledPrice label must be non-empty")
    amount = price.get("amount")
    if isinstance(amount, str):
        amount = leading_integer(amount)
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise bad_request('can\'t parse labeled price: Field "amount" must be of type Number')
    return amount


def _check_currency(args: Arguments, invoice: Invoice, amounts: list[int]) -> None:
    if invoice.currency not in CURRENCIES:
        raise bad_request("CURRENCY_INVALID")
    if invoice.currency != STARS:
        if not args.string("provider_token"):
            raise bad_request("PAYMENT_PROVIDER_INVALID")
        if invoice.total_amount <= 0:
            raise bad_request("CURRENCY_TOTAL_AMOUNT_INVALID")
        return
    if args.string("provider_token") or len(amounts) != 1 or not 1 <= amounts[0] <= INVOICE_MOST_STARS:
        raise bad_request("STARS_INVOICE_INVALID")


def _check_subscription(invoice: Invoice) -> None:
    if not invoice.subscription_period:
        return
    if invoice.currency != STARS or invoice.subscription_period != SUBSCRIPTION_PERIOD_S:
        raise bad_request("SUBSCRIPTION_PERIOD_INVALID")
    if invoice.total_amount > SUBSCRIPTION_MOST_STARS:
        raise bad_request("STARS_AMOUNT_INVALID")


class Checkout:
    """The cash desk: who was invoiced, who paid, who got it back."""

    def __init__(self, chats: Chats, updates: Updates) -> None:
        self._chats, self._updates = chats, updates
        self._sent: OrderedDict[int, Invoice] = OrderedDict()
        self._links: OrderedDict[str, Invoice] = OrderedDict()
        self._charges: OrderedDict[str, Charge] = OrderedDict()

    def table(self) -> dict[str, Any]:
        return {
            "sendInvoice": self.send_invoice,
            "createInvoiceLink": self.create_invoice_link,
            "answerPreCheckoutQuery": self.answer_pre_checkout_query,
            "refundStarPayment": self.refund_star_payment,
            "getStarTransactions": self.get_star_transactions,
            "getMyStarBalance": self.get_my_star_balance,
        }

    async def send_invoice(self, args: Arguments) -> Json:
        chat = self._chats.reachable(leading_integer(args.required("chat_id")))
        invoice = invoice_from(args)
        markup = _pay_markup(args, invoice)
        message = self._chats.post(chat, {"invoice": invoice.wire(), "reply_markup": markup}, from_bot=True)
        _remember(self._sent, message.id, invoice, KEPT_LINKS)
        return message.wire

    async def create_invoice_link(self, args: Arguments) -> str:
        invoice = invoice_from(args)
        _check_subscription(invoice)
        link = LINK + secrets.token_urlsafe(12)
        _remember(self._links, link, invoice, KEPT_LINKS)
        return link

    def invoice_of(self, message: Message | None, link: str) -> Invoice | None:
        """The unpaid invoice in a message, or the one behind a link."""
        return self._sent.get(message.id) if message else self._links.get(link)

    def pay(self, chat: Chat, invoice: Invoice, message: Message | None = None) -> Question:
        """A person pressed Pay: the bot is asked, and has CHECKOUT_ANSWER_S seconds."""
        question = self._chats.ask(chat, patience=CHECKOUT_ANSWER_S, about=(invoice, message))
        self._updates.add(
            "pre_checkout_query",
            {
                "id": question.id,
                "from": chat.user,
                "currency": invoice.currency,
                "total_amount": invoice.total_amount,
                "invoice_payload": invoice.payload,
            },
            queue=("checkout", chat.id),
        )
        return question

    async def answer_pre_checkout_query(self, args: Arguments) -> bool:
        ok = args.truth("ok")
        reason = "" if ok else args.required("error_message")
        question = self._chats.question(args.string("pre_checkout_query_id"))
        if question.answered.done() or not isinstance(question.about, tuple):
            raise bad_request("query is too old and response timeout expired or query ID is invalid")
        question.answered.set_result({"ok": ok, "error_message": reason})
        if ok:
            self._charge(question.chat, *question.about)
        else:
            self._chats.toast(question.chat, reason, alert=True)
        return True

    def _charge(self, chat: Chat, invoice: Invoice, message: Message | None) -> None:
        charge = Charge(f"stx{secrets.token_urlsafe(32)}", chat, invoice, self._chats.now())
        _remember(self._charges, charge.id, charge, KEPT_CHARGES)
        if message and message.id in chat.messages:
            del self._sent[message.id]  # paid once in a message; behind a link, any number of times
            self._chats.take_buttons(chat, message)
        self._announce(chat, "successful_payment", self._payment(charge))

    def _payment(self, charge: Charge) -> Json:
        invoice = charge.invoice
        payment: Json = {
            "currency": invoice.currency,
            "total_amount": invoice.total_amount,
            "invoice_payload": invoice.payload,
            "telegram_payment_charge_id": charge.id,
            "provider_payment_charge_id": f"{charge.chat.id}_{secrets.randbits(40)}",
        }
        if invoice.subscription_period:
            payment["subscription_expiration_date"] = charge.date + invoice.subscription_period
            payment["is_recurring"] = payment["is_first_recurring"] = True
        return payment

    def _announce(self, chat: Chat, kind: str, fact: Json) -> None:
        message = self._chats.post(chat, {kind: fact}, from_bot=False)
        self._updates.add("message", message.wire, queue=("chat", chat.id))

    async def refund_star_payment(self, args: Arguments) -> bool:
        user_id = leading_integer(args.string("user_id"))
        if user_id <= 0:
            raise bad_request("invalid user_id specified")
        charge = self._charges.get(args.required("telegram_payment_charge_id"))
        if charge is None or charge.chat.id != user_id or charge.invoice.currency != STARS:
            raise bad_request("CHARGE_NOT_FOUND")
        if charge.refunded:
            raise bad_request("CHARGE_ALREADY_REFUNDED")
        charge.refunded = True
        fact = self._payment(charge)
        names = ("currency", "total_amount", "invoice_payload", "telegram_payment_charge_id")
        self._announce(charge.chat, "refunded_payment", {name: fact[name] for name in names})
        return True

    async def get_star_transactions(self, args: Arguments) -> Json:
        offset = args.integer("offset", 0, least=0, most=10**9)
        limit = args.integer("limit", 100, least=1, most=100)
        rows = [row for charge in self._stars() for row in _transactions(charge)]
        return {"transactions": rows[offset : offset + limit]}

    async def get_my_star_balance(self, args: Arguments) -> Json:
        return {"amount": sum(charge.invoice.total_amount for charge in self._stars() if not charge.refunded)}

    def _stars(self) -> list[Charge]:
        return [charge for charge in self._charges.values() if charge.invoice.currency == STARS]


def _pay_markup(args: Arguments, invoice: Invoice) -> Json:
    markup = markup_of(args) or {"inline_keyboard": [[{"text": f"Pay {price_of(invoice)}", "pay": True}]]}
    if not markup.get("inline_keyboard", [[{}]])[0][0].get("pay"):
        raise bad_request("REPLY_MARKUP_BUY_EMPTY")
    return markup


def _transactions(charge: Charge) -> list[Json]:
    row = {"id": charge.id, "amount": charge.invoice.total_amount, "date": charge.date}
    partner = {
        "type": "user",
        "transaction_type": "invoice_payment",
        "user": charge.chat.user,
        "invoice_payload": charge.invoice.payload,
    }
    return [{**row, "source": partner}] + ([{**row, "receiver": partner}] if charge.refunded else [])


def price_of(invoice: Invoice) -> str:
    """The price as a client writes it on the button."""
    if invoice.currency == STARS:
        return f"⭐ {invoice.total_amount}"
    whole, part = divmod(invoice.total_amount, 100)
    return f"{whole}.{part:02} {invoice.currency}"


def _remember(kept: OrderedDict[Key, Value], key: Key, value: Value, room: int) -> None:
    kept[key] = value
    while len(kept) > room:
        kept.popitem(last=False)
