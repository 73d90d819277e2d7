"""Polar's API of one organization: checkouts, the orders they become, refunds, and the webhooks of all that.

It must not know HTTP servers, nor who sends its webhooks. Behaviour after https://polar.sh/docs/api-reference
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from service.sandbox.processors import signing
from service.sandbox.processors.api import (
    Answer,
    Ask,
    Bill,
    Handler,
    Json,
    NotPayable,
    Operation,
    Refused,
    new_uuid,
    shown,
)
from service.sandbox.processors.callbacks import Callback, Sender
from service.sandbox.processors.polar import checks, objects
from service.sandbox.processors.polar.checks import invalid, refused
from service.sandbox.processors.signing import Headers

EXPIRES_S = 24 * 3_600  # how long a checkout is open
REASONS = frozenset(
    ("duplicate", "fraudulent", "customer_request", "service_disruption", "satisfaction_guarantee", "other")
)
NO_TOKEN = {"error": "Unauthorized", "detail": "Unauthorized"}
WRONG_TOKEN = {"error": "invalid_token", "error_description": "The access token provided is invalid"}


@dataclass(frozen=True, slots=True)
class PolarAccount:
    """An organization. products: the ids that exist, None for any. tax_percent: what buyers pay on top.

    standard_key: sign with the decoded secret, as endpoints made since 2026-09-08 are, else with its raw bytes.
    """

    access_token: str = field(default="polar_oat_sandbox", repr=False)
    webhook_secret: str = field(default="polar_whs_sandbox", repr=False)
    standard_key: bool = False
    tax_percent: int = 0
    products: frozenset[str] | None = None


class Polar:
    """One organization. `post` takes what is to be told; the objects are held by id, oldest first."""

    name = "polar"
    base = ""

    def __init__(self, account: PolarAccount, post: Callable[[Callback], None], clock: Callable[[], float]) -> None:
        self.account, self._post, self._clock = account, post, clock
        self.checkouts: dict[str, Json] = {}
        self.orders: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self._customers: dict[str, Json] = {}
        self._key = signing.polar_key(account.webhook_secret, standard=account.standard_key)
        self._sender = Sender(self.name, lambda webhook_id, body: self.signed(body, webhook_id))

    def operations(self) -> Sequence[Operation]:
        orders = ("status", "checkout_id", "customer_id", "product_id", "external_customer_id")
        return [
            Operation("POST", "/v1/checkouts", self._create),
            Operation("GET", "/v1/checkouts", self._listing(self.checkouts, "status", "external_customer_id")),
            Operation("GET", "/v1/checkouts/{id}", self._getting(self.checkouts)),
            Operation("GET", "/v1/orders", self._listing(self.orders, *orders)),
            Operation("GET", "/v1/orders/{id}", self._getting(self.orders)),
            Operation("POST", "/v1/refunds", self._refund),
            Operation("GET", "/v1/refunds", self._listing(self.refunds, "id", "order_id", "customer_id")),
        ]

    def answer(self, operation: Operation | None, ask: Ask) -> Answer:
        try:
            self._authenticate(ask)
            if operation is None:
                raise Refused(Answer({"detail": "Not Found"}, 404))
            self._expire_the_old()
            return operation.run(ask)
        except Refused as refusal:
            return refusal.answer

    def broken(self, status: int, ask: Ask, *, done: bool) -> Answer:
        """Nothing is remembered: there are no idempotency keys."""
        error = "TooManyRequests" if status == 429 else "InternalServerError"
        headers = {"Retry-After": "1"} if status == 429 else {}
        return Answer({"error": error, "detail": "The sandbox was asked for this fault"}, status, headers)

    def signed(self, body: bytes, webhook_id: str | None = None, at: float | None = None) -> Headers:
        """Headers for any body, signed as of `at`, else now."""
        moment = self._clock() if at is None else at
        return signing.polar(body, key=self._key, webhook_id=webhook_id or new_uuid(), at=moment)

    # What a person does.

    def bill(self, payment_id: str) -> Bill | None:
        self._expire_the_old()
        checkout = self.checkouts.get(payment_id)
        if checkout is None:
            return None
        return Bill(
            id=payment_id,
            title=checkout["product"]["name"],
            amount=shown(checkout["total_amount"], checkout["currency"]),
            seller="Polar organization of the sandbox",
            status=checkout["status"],
            payable=checkout["status"] == "open",
            back=(checkout["success_url"] or "").replace("{CHECKOUT_ID}", payment_id),
        )

    def pay(self, payment_id: str) -> Json:
        """The checkout succeeds and becomes an order; the order is answered."""
        checkout, now = self._open(payment_id), self._moment()
        external_id = checkout["external_customer_id"]
        customer = self._customers.get(external_id or "") or objects.customer(external_id, now)
        if external_id:
            self._customers[external_id] = customer
        order = objects.order(checkout, customer, now, len(self.orders) + 1)
        self.orders[order["id"]] = order
        checkout |= {"status": "succeeded", "customer_id": customer["id"], "modified_at": now}
        self._tell("checkout.updated", checkout, about=payment_id)
        self._tell("order.created", order, about=payment_id)
        self._tell("order.paid", order, about=payment_id)
        return order

    def cancel(self, payment_id: str) -> Json:
        """As a person who leaves would find it a day later: the checkout expires."""
        return self._expire(self._open(payment_id))

    def _open(self, checkout_id: str) -> Json:
        self._expire_the_old()
        checkout = self.checkouts.get(checkout_id)
        if checkout is None or checkout["status"] != "open":
            raise NotPayable(f"no open checkout {checkout_id}")
        return checkout

    # What the organization asks for.

    def _authenticate(self, ask: Ask) -> None:
        kind, _, given = ask.headers.get("authorization", "").partition(" ")
        headers = {"WWW-Authenticate": 'Bearer realm="polar"'}
        if kind.lower() != "bearer":
            raise Refused(Answer(NO_TOKEN, 401, headers))
        if not hmac.compare_digest(
            given.strip().encode("utf-8", "surrogateescape"), self.account.access_token.encode()
        ):
            raise Refused(Answer(WRONG_TOKEN, 401, headers))

    def _create(self, ask: Ask) -> Answer:
        given, now = checks.json(ask), self._moment()
        products = [objects.product(self._known(one), now) for one in checks.products(given)]
        amount, currency = checks.price(given, products[0]["id"])
        external_id = checks.text(given, "external_customer_id") or checks.text(given, "customer_external_id")
        checkout_id = new_uuid()
        checkout = objects.checkout(
            products[0],
            amount=amount,
            tax=amount * self.account.tax_percent // 100,
            created_at=now,
            id=checkout_id,
            currency=currency,
            products=products,
            external_customer_id=external_id,
            metadata=checks.metadata(given),
            success_url=checks.address(given, "success_url"),
            return_url=checks.address(given, "return_url"),
            expires_at=self._moment(EXPIRES_S),
            url=f"{ask.here}/pay/{self.name}/{checkout_id}",
        )
        self.checkouts[checkout_id] = checkout
        return Answer(checkout, 201)

    def _known(self, product_id: str) -> str:
        if self.account.products is not None and product_id not in self.account.products:
            raise invalid(("body", "products"), "Product does not exist.", product_id)
        return product_id

    def _refund(self, ask: Ask) -> Answer:
        given = checks.json(ask)
        amount = checks.integer(given.get("amount"), "amount", least=1)
        if (reason := checks.text(given, "reason")) not in REASONS:
            raise invalid(("body", "reason"), "Input should be a known reason", reason, "enum")
        order = self.orders.get(checks.uuid(given.get("order_id"), "order_id"))
        if order is None:
            raise invalid(("body", "order_id"), "Order not found", given["order_id"])
        if order["status"] == "refunded":
            raise refused("RefundedAlready", f"Order is already fully refunded: {order['id']}", 403)
        if amount > order["refundable_amount"]:
            why = f"Refund amount exceeds remaining order balance: {order['refundable_amount']}"
            raise refused("RefundAmountTooHigh", why, 400)
        whole = amount == order["refundable_amount"]
        refund = objects.refund(
            order,
            amount=amount,
            tax=order["refundable_tax_amount"] if whole else amount * order["tax_amount"] // order["net_amount"],
            created_at=self._moment(),
            reason=reason,
            revoke_benefits=bool(given.get("revoke_benefits", False)),
            metadata=checks.metadata(given),
        )
        return Answer(self._give_back(order, refund))

    # What follows from it.

    def _give_back(self, order: Json, refund: Json) -> Json:
        """The refund as it was created, pending; it succeeds right after."""
        self.refunds[refund["id"]] = refund
        created = dict(refund)
        self._tell("refund.created", refund, about=order["checkout_id"])
        refund |= {"status": "succeeded", "modified_at": self._moment()}
        order["refunded_amount"] += refund["amount"]
        order["refunded_tax_amount"] += refund["tax_amount"]
        order["refundable_amount"] -= refund["amount"]
        order["refundable_tax_amount"] -= refund["tax_amount"]
        status = "partially_refunded" if order["refundable_amount"] else "refunded"
        order |= {"status": status, "modified_at": self._moment()}
        self._tell("refund.updated", refund, about=order["checkout_id"])
        self._tell("order.refunded", order, about=order["checkout_id"])
        return created

    def _expire(self, checkout: Json) -> Json:
        checkout |= {"status": "expired", "modified_at": self._moment()}
        return self._tell("checkout.expired", checkout, about=checkout["id"])

    def _expire_the_old(self) -> None:
        now = self._moment()
        for checkout in self.checkouts.values():
            if checkout["status"] == "open" and checkout["expires_at"] <= now:
                self._expire(checkout)

    def _tell(self, kind: str, thing: Json, *, about: str) -> Json:
        body = orjson.dumps({"type": kind, "timestamp": self._moment(), "data": thing})
        self._post(Callback(self._sender, new_uuid(), kind, about, body))
        return thing

    def _getting(self, things: Mapping[str, Json]) -> Handler:
        def get(ask: Ask) -> Answer:
            if ask.id not in things:
                raise refused("ResourceNotFound", "Not found", 404)
            return Answer(things[ask.id])

        return get

    def _listing(self, things: dict[str, Json], *exact: str) -> Handler:
        return lambda ask: Answer(checks.page(things.values(), ask, exact=exact))

    def _moment(self, later_s: int = 0) -> str:
        return checks.moment(self._clock() + later_s)
