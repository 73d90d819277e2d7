"""The shapes of Polar's objects, without what a one-time purchase never fills.

It must not know when they change. After https://polar.sh/docs/api-reference
"""

from __future__ import annotations

from typing import Any

from service.sandbox.processors.api import Json, new_uuid

ORGANIZATION_ID = "2b5e7c1a-58d4-4c0b-9f52-0f7f5c3f3a10"
CUSTOMER_NOTHING = ("billing_address", "tax_id", "deleted_at", "modified_at")
CHECKOUT_NOTHING = ("embed_origin", "discount_id", "customer_name", "customer_email", "customer_ip_address", "locale")
ORDER_NOTHING = (
    "modified_at",
    "billing_name",
    "billing_address",
    "discount_id",
    "subscription_id",
    "discount",
    "seats",
)


def product(product_id: str, created_at: str) -> Json:
    return {
        "id": product_id,
        "created_at": created_at,
        "modified_at": None,
        "name": "Top-up",
        "description": None,
        "visibility": "public",
        "recurring_interval": None,
        "is_recurring": False,
        "is_archived": False,
        "organization_id": ORGANIZATION_ID,
        "metadata": {},
    }


def customer(external_id: str | None, created_at: str) -> Json:
    return {
        **dict.fromkeys(CUSTOMER_NOTHING),
        "id": new_uuid(),
        "created_at": created_at,
        "external_id": external_id,
        "email": "payer@example.com",
        "email_verified": False,
        "name": None,
        "organization_id": ORGANIZATION_ID,
        "metadata": {},
    }


def checkout(product: Json, *, amount: int, tax: int, created_at: str, **given: Any) -> Json:
    """https://polar.sh/docs/api-reference/checkouts/get-session"""
    return {
        **dict.fromkeys(CHECKOUT_NOTHING),
        "created_at": created_at,
        "modified_at": None,
        "payment_processor": "stripe",
        "status": "open",
        "client_secret": f"polar_c_{new_uuid().replace('-', '')}",
        "amount": amount,
        "discount_amount": 0,
        "net_amount": amount,
        "tax_amount": tax,
        "total_amount": amount + tax,
        "organization_id": ORGANIZATION_ID,
        "product_id": product["id"],
        "product": product,
        "product_price_id": new_uuid(),
        "allow_discount_codes": True,
        "is_payment_required": True,
        "customer_id": None,
        "customer_external_id": given["external_customer_id"],
        "custom_field_data": {},
        "payment_processor_metadata": {},
        "subscription_id": None,
        **given,
    }


def order(checkout: Json, customer: Json, created_at: str, number: int) -> Json:
    """https://polar.sh/docs/api-reference/orders/get; the order of a purchase is created when it is paid."""
    same = ("discount_amount", "net_amount", "tax_amount", "total_amount", "currency", "product_id", "product")
    return {
        **dict.fromkeys(ORDER_NOTHING),
        **{name: checkout[name] for name in same},
        "id": new_uuid(),
        "created_at": created_at,
        "status": "paid",
        "paid": True,
        "subtotal_amount": checkout["amount"],
        "applied_balance_amount": 0,
        "due_amount": 0,
        "refunded_amount": 0,
        "refunded_tax_amount": 0,
        "refundable_amount": checkout["net_amount"],
        "refundable_tax_amount": checkout["tax_amount"],
        "billing_reason": "purchase",
        "invoice_number": f"SANDBOX-{number:04d}",
        "is_invoice_generated": False,
        "customer_id": customer["id"],
        "customer": customer,
        "checkout_id": checkout["id"],
        "metadata": dict(checkout["metadata"]),
        "custom_field_data": {},
        "platform_fee_amount": 0,
        "platform_fee_currency": checkout["currency"],
        "items": [{"id": new_uuid(), "label": checkout["product"]["name"], "amount": checkout["net_amount"]}],
    }


def refund(order: Json, *, amount: int, tax: int, created_at: str, **given: Any) -> Json:
    """https://polar.sh/docs/api-reference/refunds/create"""
    return {
        "id": new_uuid(),
        "created_at": created_at,
        "modified_at": None,
        "status": "pending",
        "amount": amount,
        "tax_amount": tax,
        "currency": order["currency"],
        "organization_id": ORGANIZATION_ID,
        "order_id": order["id"],
        "subscription_id": None,
        "customer_id": order["customer_id"],
        "dispute": None,
        **given,
    }
