"""Stripe's API, as a shop asks it: Checkout sessions, PaymentIntents, refunds, events.

It must not know HTTP servers, nor what people and banks do. Behaviour after https://docs.stripe.com/api
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from service.sandbox.processors import signing
from service.sandbox.processors.api import (
    Answer,
    Ask,
    Handler,
    Json,
    KeyReused,
    Operation,
    Refused,
    Repeats,
)
from service.sandbox.processors.callbacks import Callback, Sender
from service.sandbox.processors.signing import Headers
from service.sandbox.processors.stripe import form, objects
from service.sandbox.processors.stripe.books import BY_ITSELF, Books
from service.sandbox.processors.stripe.form import refused

KEY_MOST = 255  # characters of an Idempotency-Key
EXPIRES_LEAST_S, EXPIRES_MOST_S = 30 * 60, 24 * 3_600
REFERENCE_MOST = 200  # characters of a client_reference_id
URL_MOST = 5_000
ID_MOST = 255
SESSION_FIELDS = frozenset(
    (
        *("mode", "line_items", "success_url", "cancel_url", "client_reference_id", "metadata", "expires_at"),
        *("payment_intent_data", "customer_email", "locale", "payment_method_types", "submit_type", "ui_mode"),
        "adaptive_pricing",
    )
)
REFUND_FIELDS = frozenset(("payment_intent", "charge", "amount", "reason", "metadata"))
REFUND_REASONS = frozenset(("duplicate", "fraudulent", "requested_by_customer"))


@dataclass(frozen=True, slots=True)
class StripeAccount:
    """An account. A key that begins with sk_test_ is of test mode."""

    secret_key: str = field(default="sk_test_sandbox", repr=False)
    webhook_secret: str = field(default="whsec_sandbox", repr=False)

    @property
    def livemode(self) -> bool:
        return not self.secret_key.startswith("sk_test_")


class Stripe(Books):
    """One account and its API. `post` takes what is to be told to the shop."""

    name = "stripe"
    base = ""

    def __init__(self, account: StripeAccount, post: Callable[[Callback], None], clock: Callable[[], float]) -> None:
        self.account = account
        self._repeats = Repeats(clock)
        super().__init__(Sender(self.name, lambda _, body: self.signed(body)), post, clock, livemode=account.livemode)

    def operations(self) -> Sequence[Operation]:
        sessions = "/v1/checkout/sessions"
        return [
            Operation("POST", sessions, self._create),
            Operation("GET", sessions, self._listing(self.sessions, "checkout.session", "payment_intent", "status")),
            Operation("GET", f"{sessions}/{{id}}", self._getting(self.sessions, "checkout.session")),
            Operation("POST", f"{sessions}/{{id}}/expire", self._expire),
            Operation("GET", "/v1/payment_intents/{id}", self._getting(self.intents, "payment_intent")),
            Operation("GET", "/v1/charges/{id}", self._getting(self.charges, "charge")),
            Operation("POST", "/v1/refunds", self._refund),
            Operation("GET", "/v1/refunds", self._listing(self.refunds, "refund", "payment_intent", "charge")),
            Operation("GET", "/v1/refunds/{id}", self._getting(self.refunds, "refund")),
            Operation("GET", "/v1/disputes/{id}", self._getting(self.disputes, "dispute")),
            Operation("GET", "/v1/events", self._listing(self.events, "event", "type")),
            Operation("GET", "/v1/events/{id}", self._getting(self.events, "event")),
        ]

    def answer(self, operation: Operation | None, ask: Ask) -> Answer:
        try:
            self._authenticate(ask)
            if operation is None:
                raise refused(f"Unrecognized request URL ({ask.method}: {ask.path}).", status=404)
            self._expire_the_old()
            return operation.run(ask) if ask.method == "GET" else self._once(operation.run, ask)
        except Refused as refusal:
            return refusal.answer

    def broken(self, status: int, ask: Ask, *, done: bool) -> Answer:
        """A 500 that came after the work began is the first result of its key, and is replayed as such."""
        message = "The sandbox was asked for this fault"
        answer = Answer({"error": {"message": message, "type": "api_error"}}, status, {"Stripe-Should-Retry": "true"})
        if (key := ask.headers.get("idempotency-key")) and done and status >= 500:
            self._repeats.keep(key, _request(ask), answer)
        return answer

    def signed(self, body: bytes, at: float | None = None) -> Headers:
        """Headers for any body, signed as of `at`, else now."""
        return signing.stripe(body, secret=self.account.webhook_secret, at=self._clock() if at is None else at)

    # What the shop asks for.

    def _authenticate(self, ask: Ask) -> None:
        given = _given_key(ask.headers.get("authorization", ""))
        if not given:
            raise refused("You did not provide an API key.", status=401)
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.account.secret_key.encode()):
            raise refused(f"Invalid API Key provided: {given[:8]}***", status=401)

    def _once(self, run: Handler, ask: Ask) -> Answer:
        """Run a POST, or answer it as its key was answered before. A refusal does not use the key up."""
        key = ask.headers.get("idempotency-key", "")
        if len(key) > KEY_MOST:
            raise refused(f"Idempotency keys have at most {KEY_MOST} characters.", type="idempotency_error")
        try:
            if key and (known := self._repeats.known(key, _request(ask))):
                return replace(known, headers={**known.headers, "Idempotent-Replayed": "true"})
        except KeyReused:
            why = "Keys for idempotent requests can only be used with the same parameters they were first used with."
            raise refused(f"{why} Try another key than '{key}'.", type="idempotency_error") from None
        self._request = objects.new_id("req_", 14), key or None
        try:
            answer = run(ask)
        finally:
            self._request = BY_ITSELF
        if key:
            self._repeats.keep(key, _request(ask), answer)
        return answer

    def _create(self, ask: Ask) -> Answer:
        given = form.body(ask, SESSION_FIELDS)
        if given.get("mode") != "payment":
            raise form.missing("mode") if "mode" not in given else refused("The sandbox knows payment.", param="mode")
        titles, amount, currency = form.line_items(given)
        now = self._now()
        session = objects.session(
            now,
            livemode=self.account.livemode,
            amount_total=amount,
            currency=currency,
            cancel_url=form.text(given, "cancel_url", URL_MOST),
            client_reference_id=form.text(given, "client_reference_id", REFERENCE_MOST),
            expires_at=_expiry(given, now),
            metadata=form.metadata(given),
            success_url=form.text(given, "success_url", URL_MOST, required=True),
        )
        inner = form.section(given, "payment_intent_data")
        self._intent_metadata[session["id"]] = form.metadata(inner, "payment_intent_data[metadata]")
        self._titles[session["id"]] = titles
        session["url"] = f"{ask.here}/pay/{self.name}/{session['id']}"
        self.sessions[session["id"]] = session
        return Answer(session)

    def _expire(self, ask: Ask) -> Answer:
        session = self.sessions.get(ask.id)
        if session is None:
            raise form.unknown("checkout.session", ask.id)
        if session["status"] != "open":
            why = f'Only Checkout Sessions with a status in ["open"] can be expired; this one is {session["status"]}.'
            raise refused(why)
        return Answer(self._close(session))

    def _refund(self, ask: Ask) -> Answer:
        given = form.body(ask, REFUND_FIELDS)
        charge, reason = self._charge_of(given), given.get("reason")
        if reason not in (None, *REFUND_REASONS):
            raise refused(f"Invalid reason: {reason}", param="reason")
        left = charge["amount"] - charge["amount_refunded"]
        if left == 0:
            raise refused(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
        if charge["disputed"]:
            raise refused(f"Charge {charge['id']} has been charged back.", code="charge_disputed")
        amount = form.integer(given.get("amount", str(left)), "amount", least=1)
        if amount > left:
            raise refused(f"Refund amount ({amount}) is greater than unrefunded amount ({left})", param="amount")
        return Answer(self._refund_charge(charge, amount, form.metadata(given), reason))

    def _charge_of(self, given: Json) -> Json:
        if charge_id := form.text(given, "charge", ID_MOST):
            if charge_id not in self.charges:
                raise form.unknown("charge", charge_id, param="charge")
            return self.charges[charge_id]
        if not (intent_id := form.text(given, "payment_intent", ID_MOST)):
            raise refused("One of the following params should be provided for this request: payment_intent or charge.")
        if intent_id not in self.intents:
            raise form.unknown("payment_intent", intent_id, param="payment_intent")
        return self.charges[self.intents[intent_id]["latest_charge"]]

    def _getting(self, things: Mapping[str, Json], kind: str) -> Handler:
        def get(ask: Ask) -> Answer:
            if ask.id not in things:
                raise form.unknown(kind, ask.id)
            return Answer(things[ask.id])

        return get

    def _listing(self, things: Mapping[str, Json], kind: str, *exact: str) -> Handler:
        return lambda ask: Answer(form.page(list(things.values()), ask, exact=exact, kind=kind))


def _given_key(header: str) -> str:
    """The key of "Bearer key", or of Basic with the key as the user."""
    kind, _, given = header.partition(" ")
    if kind.lower() == "bearer":
        return given.strip()
    try:
        return b64decode(given, validate=True).decode().partition(":")[0] if kind.lower() == "basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _request(ask: Ask) -> object:
    return ask.path, sorted(parse_qsl(ask.body.decode("utf-8", "replace"), keep_blank_values=True))


def _expiry(given: Json, now: int) -> int:
    if "expires_at" not in given:
        return now + EXPIRES_MOST_S
    expires_at = form.integer(given["expires_at"], "expires_at", most=2**53)
    if expires_at < now + EXPIRES_LEAST_S:
        why = "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation."
        raise refused(why, param="expires_at")
    if expires_at > now + EXPIRES_MOST_S:
        why = "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation."
        raise refused(why, param="expires_at")
    return expires_at
