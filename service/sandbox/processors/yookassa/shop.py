"""YooKassa's API: payments, their capture and cancellation, refunds, and the notifications of all that.

It must not know HTTP servers, nor who sends its notifications. Behaviour after https://yookassa.ru/developers/api
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal

import orjson

from service.sandbox.processors import signing
from service.sandbox.processors.api import (
    Answer,
    Ask,
    Bill,
    Handler,
    Json,
    KeyReused,
    NotPayable,
    Operation,
    Refused,
    Repeats,
)
from service.sandbox.processors.callbacks import Callback, Sender, exactly_200
from service.sandbox.processors.signing import Headers
from service.sandbox.processors.yookassa import checks
from service.sandbox.processors.yookassa.checks import money, refused, value

KEY = re.compile(r"[0-9a-zA-Z+_.-]{1,64}")
ID_EPOCH = 946_728_000  # an id begins with the seconds since noon of 2000-01-01, in hexadecimal
CAPTURE_WITHIN_S = 7 * 86_400  # the window of a bank card
FEE = Decimal("0.035")  # what the shop does not get; a plausible one


@dataclass(frozen=True, slots=True)
class YooKassaAccount:
    """A shop. A key that begins with test_ is a test shop's."""

    shop_id: str = "100500"
    secret_key: str = field(default="test_sandbox-secret-key", repr=False)

    @property
    def test(self) -> bool:
        return self.secret_key.startswith("test_")


class YooKassa:
    """One shop. `post` takes what is to be notified; `payments` and `refunds` hold the objects by id."""

    name = "yookassa"
    base = "/v3"

    def __init__(self, account: YooKassaAccount, post: Callable[[Callback], None], clock: Callable[[], float]) -> None:
        self.account, self._post, self._clock = account, post, clock
        self.payments: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self._repeats = Repeats(clock)
        self._return_urls: dict[str, str] = {}
        self._captures: dict[str, bool] = {}
        self._sender = Sender(self.name, lambda _, body: self.signed(body), exactly_200)

    def operations(self) -> Sequence[Operation]:
        return [
            Operation("POST", "/payments", self._create),
            Operation("GET", "/payments", self._list_payments),
            Operation("GET", "/payments/{id}", lambda ask: Answer(self._payment(ask.id))),
            Operation("POST", "/payments/{id}/capture", self._capture),
            Operation("POST", "/payments/{id}/cancel", self._cancel),
            Operation("POST", "/refunds", self._refund),
            Operation("GET", "/refunds", self._list_refunds),
            Operation("GET", "/refunds/{id}", self._get_refund),
        ]

    def answer(self, operation: Operation | None, ask: Ask) -> Answer:
        try:
            self._authenticate(ask)
            if operation is None:
                raise refused("Requested resource not found", status=404, code="not_found")
            return operation.run(ask) if ask.method == "GET" else self._once(operation.run, ask)
        except Refused as refusal:
            return refusal.answer

    def broken(self, status: int, ask: Ask, *, done: bool) -> Answer:
        """A 500 says nothing about the outcome; the repeat of the key tells it."""
        code = {429: "too_many_requests", 500: "internal_server_error"}.get(status, "invalid_request")
        return refused("The sandbox was asked for this fault", status=status, code=code).answer

    def signed(self, body: bytes) -> Headers:
        return signing.yookassa(body)

    # What a person does.

    def bill(self, payment_id: str) -> Bill | None:
        payment = self.payments.get(payment_id)
        if payment is None:
            return None
        return Bill(
            id=payment_id,
            title=payment.get("description", "A payment"),
            amount=f"{payment['amount']['value']} {payment['amount']['currency']}",
            seller=f"YooKassa shop {self.account.shop_id}",
            status=payment["status"],
            payable=payment["status"] == "pending",
            back=self._return_urls[payment_id],
        )

    def pay(self, payment_id: str) -> Json:
        """Pay with a test card: the money is held, or at once the shop's where the payment asked for that."""
        payment = self._pending(payment_id)
        payment.pop("confirmation", None)
        payment |= {"paid": True, "payment_method": _card(payment_id)}
        payment["authorization_details"] = {"rrn": "869559887526342", "auth_code": "910915"}
        if self._captures[payment_id]:
            return self._succeed(payment, payment["amount"])
        payment |= {"status": "waiting_for_capture", "expires_at": self._moment(CAPTURE_WITHIN_S)}
        return self._notify("payment", payment, about=payment_id)

    def cancel(self, payment_id: str) -> Json:
        """Leave the page for good."""
        return self._cancel_payment(self._pending(payment_id), "yoo_money", "payment_canceled")

    def expire(self, payment_id: str) -> Json:
        """Nobody paid in time."""
        return self._cancel_payment(self._pending(payment_id), "yoo_money", "expired_on_confirmation")

    def _pending(self, payment_id: str) -> Json:
        payment = self.payments.get(payment_id)
        if payment is None or payment["status"] != "pending":
            raise NotPayable(f"no pending payment {payment_id}")
        return payment

    # What the shop asks for.

    def _authenticate(self, ask: Ask) -> None:
        pair = b64encode(f"{self.account.shop_id}:{self.account.secret_key}".encode()).decode()
        kind, _, given = ask.headers.get("authorization", "").partition(" ")
        if kind.lower() != "basic" or not hmac.compare_digest(
            given.strip().encode("utf-8", "surrogateescape"), pair.encode()
        ):
            why = "Login has illegal format" if kind else "Authorization header is missing"
            raise refused(why, "Authorization", status=401, code="invalid_credentials")

    def _once(self, run: Handler, ask: Ask) -> Answer:
        """Run a POST, or answer it as its key was answered before. A refusal does not use the key up."""
        key = ask.headers.get("idempotence-key", "")
        if not KEY.fullmatch(key):
            raise refused("Idempotence key is missing or has a wrong form", "Idempotence-Key")
        if ask.body and ask.content_type != "application/json":
            raise refused("Unsupported media type", status=415)
        request = ask.path, ask.body
        try:
            if known := self._repeats.known(key, request):
                return known
        except KeyReused:
            raise refused("Idempotence key duplicated with other request parameters", "Idempotence-Key") from None
        answer = run(ask)
        self._repeats.keep(key, request, answer)
        return answer

    def _create(self, ask: Ask) -> Answer:
        given = checks.json(ask)
        amount, confirmation = checks.amount(given.get("amount")), checks.confirmation(given.get("confirmation"))
        if not isinstance(captures := given.get("capture", False), bool):
            raise refused("Must be a boolean", "capture")
        payment_id = self._new_id()
        payment: Json = {
            "id": payment_id,
            "status": "pending",
            "amount": amount,
            **checks.described(given),
            "recipient": {"account_id": self.account.shop_id, "gateway_id": "100700"},
            "created_at": self._moment(),
            "confirmation": {"type": "redirect", "confirmation_url": f"{ask.here}/pay/{self.name}/{payment_id}"},
            "test": self.account.test,
            "paid": False,
            "refundable": False,
            "metadata": checks.metadata(given.get("metadata")),
        }
        self.payments[payment_id] = payment
        self._return_urls[payment_id], self._captures[payment_id] = confirmation["return_url"], captures
        return Answer(payment)

    def _capture(self, ask: Ask) -> Answer:
        payment, given = self._payment(ask.id), checks.json(ask)
        if payment["status"] != "waiting_for_capture":
            raise refused(f"Payment is in status {payment['status']} and cannot be captured")
        amount = checks.amount(given["amount"]) if "amount" in given else payment["amount"]
        if amount["currency"] != payment["amount"]["currency"] or value(amount) > value(payment["amount"]):
            raise refused("Amount must not exceed that of the payment", "amount")
        return Answer(self._succeed(payment, amount))

    def _cancel(self, ask: Ask) -> Answer:
        payment = self._payment(ask.id)
        if payment["status"] != "waiting_for_capture":
            raise refused(f"Payment is in status {payment['status']} and cannot be canceled")
        return Answer(self._cancel_payment(payment, "merchant", "canceled_by_merchant"))

    def _refund(self, ask: Ask) -> Answer:
        given = checks.json(ask)
        payment = self.payments.get(str(given.get("payment_id")))
        if payment is None:
            raise refused("Payment doesn't exist or access denied", "payment_id")
        amount = checks.amount(given.get("amount"))
        left = value(payment["amount"]) - value(payment.get("refunded_amount", {"value": "0"}))
        if payment["status"] != "succeeded" or amount["currency"] != payment["amount"]["currency"]:
            raise refused("Payment cannot be refunded", "payment_id")
        if value(amount) > left:
            raise refused("Refund amount exceeds what is left of the payment", "amount")
        refund: Json = {
            "id": self._new_id("0016-5000-b000"),
            "payment_id": payment["id"],
            "status": "succeeded",
            "created_at": self._moment(),
            "amount": amount,
            **checks.described(given),
            "metadata": checks.metadata(given.get("metadata")),
        }
        self.refunds[refund["id"]] = refund
        payment["refunded_amount"] = money(value(payment["refunded_amount"]) + value(amount), amount["currency"])
        payment["refundable"] = value(payment["refunded_amount"]) < value(payment["amount"])
        self._notify("refund", refund, about=payment["id"])
        return Answer(refund)

    def _get_refund(self, ask: Ask) -> Answer:
        if ask.id not in self.refunds:
            raise refused("Refund doesn't exist or access denied", "refund_id", status=404, code="not_found")
        return Answer(self.refunds[ask.id])

    def _list_payments(self, ask: Ask) -> Answer:
        return Answer(checks.page(self.payments.values(), ask, exact=("status",)))

    def _list_refunds(self, ask: Ask) -> Answer:
        return Answer(checks.page(self.refunds.values(), ask, exact=("status", "payment_id")))

    def _payment(self, payment_id: str) -> Json:
        payment = self.payments.get(payment_id)
        if payment is None:
            raise refused("Payment doesn't exist or access denied", "payment_id", status=404, code="not_found")
        return payment

    # What follows from it.

    def _succeed(self, payment: Json, amount: Json) -> Json:
        payment.pop("expires_at", None)
        currency = amount["currency"]
        income = (value(amount) * (1 - FEE)).quantize(Decimal("0.01"), ROUND_DOWN)
        payment |= {"status": "succeeded", "amount": amount, "refundable": True, "captured_at": self._moment()}
        payment |= {"income_amount": money(income, currency), "refunded_amount": money(Decimal(0), currency)}
        return self._notify("payment", payment, about=payment["id"])

    def _cancel_payment(self, payment: Json, party: str, reason: str) -> Json:
        payment.pop("confirmation", None)
        payment.pop("expires_at", None)
        payment |= {"status": "canceled", "paid": False, "cancellation_details": {"party": party, "reason": reason}}
        return self._notify("payment", payment, about=payment["id"])

    def _notify(self, kind: str, thing: Json, *, about: str) -> Json:
        event = f"{kind}.{thing['status']}"
        body = orjson.dumps({"type": "notification", "event": event, "object": thing})
        self._post(Callback(self._sender, f"{event}:{thing['id']}", event, about, body))
        return thing

    def _new_id(self, middle: str = "000f-5000-8000") -> str:
        return f"{int(self._clock()) - ID_EPOCH:08x}-{middle}-{secrets.token_hex(6)}"

    def _moment(self, later_s: int = 0) -> str:
        return checks.moment(self._clock() + later_s)


def _card(payment_id: str) -> Json:
    card = {"first6": "555555", "last4": "4477", "expiry_year": "2030", "expiry_month": "12", "card_type": "MasterCard"}
    about = {"type": "bank_card", "id": payment_id, "saved": False, "status": "inactive"}
    return {**about, "title": "Bank card *4477", "card": {**card, "issuer_country": "US"}}
