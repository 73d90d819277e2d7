"""The shapes of Stripe's objects as the API version below sends them, without what a one-off payment never fills.

It must not know when they change.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from typing import Any

from service.sandbox.processors.api import Json

API_VERSION = "2026-10-28.endive"
ALPHABET = string.ascii_letters + string.digits
CARD: Json = {"brand": "visa", "country": "US", "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": "4242"}
EVIDENCE_WITHIN_S = 7 * 86_400  # how long the shop may answer a dispute


def new_id(prefix: str, length: int = 24) -> str:
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(length))


def session(created: int, *, livemode: bool, **given: Any) -> Json:
    """https://docs.stripe.com/api/checkout/sessions/object"""
    session_id = new_id("cs_live_a1" if livemode else "cs_test_a1", 56)
    nothing = ("automatic_tax", "customer", "customer_details", "customer_email", "invoice", "locale", "payment_intent")
    none = dict.fromkeys((*nothing, "payment_link", "setup_intent", "shipping_cost", "submit_type", "subscription"))
    amount = given["amount_total"]
    return {
        **none,
        "id": session_id,
        "object": "checkout.session",
        "amount_subtotal": amount,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "created": created,
        "customer_creation": "if_required",
        "livemode": livemode,
        "mode": "payment",
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "status": "open",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        **given,
    }


def intent(session: Json, metadata: Json, created: int) -> Json:
    """A PaymentIntent that has succeeded: https://docs.stripe.com/api/payment_intents/object"""
    intent_id, amount = new_id("pi_3"), session["amount_total"]
    nothing = ("application", "canceled_at", "cancellation_reason", "customer", "description", "invoice")
    none = dict.fromkeys((*nothing, "last_payment_error", "next_action", "on_behalf_of", "receipt_email", "review"))
    return {
        **none,
        "id": intent_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": amount,
        "capture_method": "automatic_async",
        "client_secret": new_id(f"{intent_id}_secret_"),
        "confirmation_method": "automatic",
        "created": created,
        "currency": session["currency"],
        "latest_charge": new_id("ch_3"),
        "livemode": session["livemode"],
        "metadata": metadata,
        "payment_method": new_id("pm_1"),
        "payment_method_types": ["card"],
        "status": "succeeded",
    }


def charge(intent: Json) -> Json:
    """https://docs.stripe.com/api/charges/object; its metadata is a copy of the PaymentIntent's."""
    address = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
    nothing = ("application", "customer", "description", "failure_code", "failure_message", "on_behalf_of", "review")
    none = dict.fromkeys((*nothing, "receipt_email", "receipt_number", "source_transfer", "transfer_data"))
    same = {name: intent[name] for name in ("amount", "created", "currency", "livemode", "payment_method")}
    return {
        **none,
        **same,
        "id": intent["latest_charge"],
        "object": "charge",
        "amount_captured": intent["amount"],
        "amount_refunded": 0,
        "balance_transaction": new_id("txn_3"),
        "billing_details": {"address": address, "email": None, "name": None, "phone": None, "tax_id": None},
        "captured": True,
        "disputed": False,
        "metadata": dict(intent["metadata"]),
        "outcome": {
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "type": "authorized",
        },
        "paid": True,
        "payment_intent": intent["id"],
        "payment_method_details": {"card": CARD, "type": "card"},
        "refunded": False,
        "status": "succeeded",
    }


def refund(charge: Json, amount: int, metadata: Json, created: int) -> Json:
    """https://docs.stripe.com/api/refunds/object; that of a card succeeds at once."""
    return {
        "id": new_id("re_3"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": new_id("txn_3"),
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "destination_details": {"card": {"reference_status": "pending", "type": "refund"}, "type": "card"},
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "reason": None,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def dispute(charge: Json, amount: int, created: int) -> Json:
    """https://docs.stripe.com/api/disputes/object"""
    due = {"due_by": created + EVIDENCE_WITHIN_S, "has_evidence": False, "past_due": False, "submission_count": 0}
    return {
        "id": new_id("du_1"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": created,
        "currency": charge["currency"],
        "evidence": {},
        "evidence_details": due,
        "is_charge_refundable": False,
        "livemode": charge["livemode"],
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {"card": {"brand": "visa", "network_reason_code": "10.4"}, "type": "card"},
        "reason": "fraudulent",
        "status": "needs_response",
    }


def event(kind: str, data: Json, created: int, *, livemode: bool, request: Sequence[str | None]) -> Json:
    """https://docs.stripe.com/api/events/object; `request` is the id and the idempotency key of what caused it."""
    return {
        "id": new_id("evt_1"),
        "object": "event",
        "api_version": API_VERSION,
        "created": created,
        "data": data,
        "livemode": livemode,
        "pending_webhooks": 1,
        "request": dict(zip(("id", "idempotency_key"), request, strict=True)),
        "type": kind,
    }
