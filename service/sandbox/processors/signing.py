"""How each processor proves that a callback is its own: headers over the body's bytes.

It must not know what a body says.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

Headers = dict[str, str]

JSON = {"Content-Type": "application/json"}


def yookassa(body: bytes) -> Headers:
    """Nothing: YooKassa signs no notification. https://yookassa.ru/developers/using-api/webhooks"""
    return {**JSON}


def stripe(body: bytes, *, secret: str, at: float) -> Headers:
    """https://docs.stripe.com/webhooks#verify-manually; the key is the whole secret, prefix and all."""
    moment = str(int(at))
    signature = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": f"t={moment},v1={signature}"}


def polar(body: bytes, *, key: bytes, webhook_id: str, at: float) -> Headers:
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""
    moment = str(int(at))
    signed = f"{webhook_id}.{moment}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    standard = {"webhook-id": webhook_id, "webhook-timestamp": moment, "webhook-signature": f"v1,{signature}"}
    return {**JSON, "User-Agent": "polar.sh webhooks", **standard}


def polar_key(secret: str, *, standard: bool) -> bytes:
    """The key of an endpoint: what whsec_ is followed by, decoded; of an older endpoint the whole secret as it is."""
    if not standard:
        return secret.encode()
    encoded = secret.removeprefix("whsec_")
    return base64.b64decode(encoded + "=" * (-len(encoded) % 4))


Signer = Callable[[str, bytes], Headers]  # (the callback's id, its body) -> headers as of now
