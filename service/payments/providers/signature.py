"""Whether a signed callback is its processor's: Stripe's header, and Standard Webhooks, which Polar speaks. Pure.

It knows headers, keys and the raw bytes of a body; it must not know what a body says. Everything here raises Forged
and nothing else, whatever the headers and the secrets are: a header is what a stranger wrote.

Clocks count on both sides: a callback from the future is as foreign as one from long ago.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from service.errors import Forged

TOLERANCE_S = 300  # what both specifications advise
HEADER_MAX = 4096  # characters; a dozen signatures take a quarter of that
STANDARD_PREFIX = "whsec_"
_MOMENT = re.compile(r"[1-9][0-9]{0,11}")


def check_stripe(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], now: datetime) -> None:
    """Raises Forged unless one of the secrets made one of the header's v1 signatures, at about this moment.

    https://docs.stripe.com/webhooks#verify-manually. The key is the whole secret, its whsec_ included.
    """
    items = [item.partition("=")[::2] for item in _header(headers, "stripe-signature").split(",")]
    moments, offered = ([value for name, value in items if name == wanted] for wanted in ("t", "v1"))
    if len(moments) != 1 or not all(offered):
        raise Forged("the signature is not well formed")
    message = _moment(moments[0], now) + b"." + body
    expected = [_digest(secret.encode("utf-8", "surrogatepass"), message).hex() for secret in secrets if secret.strip()]
    _match(offered, expected)


def check_standard(headers: Mapping[str, str], body: bytes, keys: Iterable[bytes], now: datetime) -> None:
    """Raises Forged unless one of the keys made one of the header's v1 signatures, at about this moment.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    delivery = _header(headers, "webhook-id").encode()
    moment = _moment(_header(headers, "webhook-timestamp"), now)
    items = [item.partition(",")[::2] for item in _header(headers, "webhook-signature").split(" ")]
    message = b".".join((delivery, moment, body))
    expected = [base64.b64encode(_digest(key, message)).decode() for key in keys if key]
    _match([value for version, value in items if version == "v1"], expected)


def polar_keys(secret: str) -> tuple[bytes, ...]:
    """What Polar may have signed with: the secret as it stands, and what it is the base64 of.

    Endpoints made before 2026-09-08 sign with the first, also those whose secret begins with whsec_; later ones with
    the second, as Standard Webhooks say. The secret does not tell which of them it is. A blank one makes no keys.
    """
    if not secret.strip():
        return ()
    encoded = secret.removeprefix(STANDARD_PREFIX)
    plain = secret.encode("utf-8", "surrogatepass")
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return (plain,)
    return (plain, decoded) if decoded else (plain,)


def _header(headers: Mapping[str, str], name: str) -> str:
    """The one value of a header. Two of them cannot both be the processor's; what is not ASCII never is."""
    values = [value for key, value in headers.items() if key.lower() == name]
    if len(values) != 1 or not 0 < len(values[0]) <= HEADER_MAX or not values[0].isascii():
        raise Forged(f"no usable {name} header")
    return values[0]


def _moment(text: str, now: datetime) -> bytes:
    """The time as it was signed, in seconds since 1970."""
    if not _MOMENT.fullmatch(text):
        raise Forged("the signature has no usable time")
    if abs(now.timestamp() - int(text)) > TOLERANCE_S:
        raise Forged("the signature is too old, or too new; or our clock is wrong")
    return text.encode()


def _digest(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _match(offered: Sequence[str], expected: Sequence[str]) -> None:
    """In constant time, and as bytes: hmac.compare_digest raises TypeError on text that is not ASCII."""
    if not any(hmac.compare_digest(one.encode(), other.encode()) for one in offered for other in expected):
        raise Forged("no signature fits")
