"""Our checks of signatures beside those of the packages that the processors' own people use.

Ours may be stricter and is never looser: whatever it accepts, they accept at the same moment. The other way round,
what their signers make is accepted. The clocks are the machine's, because theirs cannot be set.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import standardwebhooks
from hypothesis import event, given, settings
from hypothesis import strategies as some
from stripe import SignatureVerificationError, WebhookSignature
from stripe._api_version import _ApiVersion

from service.errors import Forged
from service.payments.providers.signature import TOLERANCE_S, check_standard, check_stripe
from service.payments.providers.stripe import API_VERSION

SECRETS = some.sampled_from(["whsec_one", "whsec_two", "whsec_é", "x", " ", ""])
KEYS = some.sampled_from([b"one", b"two", bytes(range(32))])
BODIES = some.sampled_from(["", "{}", '{"id":"evt_1"}', '{"id": "evt_1"}', '{"имя":"é"}', "\x00", "x" * 999])
# Seconds from now. Two beside each edge: the clock goes on between their look at it and ours.
AGES = some.sampled_from([0, 0, 0, 0, 1, -1, 60, -60, 297, 303, 600, 10**6, -303])
ODDITIES = [
    "t=1614265330",
    "t=",
    "v1=00",
    "v0=00",
    "v1,AAAA",
    "v1,AAA",
    "v1a,AAAA",
    "nocomma",
    "v1",
    "=",
    "é",
    "\ud800",
]
NOISE = some.one_of(some.sampled_from(ODDITIES), some.text(alphabet="tv01=,. aAfF9-+_", max_size=12))
MESSES = some.one_of(some.just([]), some.lists(NOISE, max_size=2))
HEX = some.sampled_from([str, str, str, str, str, str.upper, lambda text: text[:-1], lambda text: f"{text}0"])
DELIVERIES = some.sampled_from(["msg_1", "msg_2", "msg_3", "a.b", " ", "é", ""])


def digest(key: bytes, message: bytes) -> hmac.HMAC:
    return hmac.new(key, message, hashlib.sha256)


def accepted(check: Callable[[], None]) -> bool:
    """Anything but Forged is the test's failure."""
    try:
        check()
    except Forged:
        return False
    return True


def stripe_accepts(header: str, body: str, secret: str) -> bool:
    """The package takes text, and lets some that cannot be encoded pass through to an error: no acceptance either."""
    try:
        return bool(WebhookSignature.verify_header(body, header, secret, TOLERANCE_S))
    except (SignatureVerificationError, UnicodeError, TypeError):
        return False


def standard_accepts(key: bytes, headers: dict[str, str], body: str) -> bool:
    """Signature by signature: the package stumbles over the first odd one, and never sees the good one behind it."""
    for one in headers["webhook-signature"].split(" "):
        try:
            standardwebhooks.Webhook(key).verify(body, headers | {"webhook-signature": one}, json_parse=False)
        except (standardwebhooks.WebhookVerificationError, UnicodeError, TypeError, ValueError):
            continue
        return True
    return False


@settings(max_examples=1500, deadline=None)
@given(
    signer=SECRETS,
    knower=SECRETS,
    signed=BODIES,
    sent=BODIES,
    same=some.sampled_from([True, True, True, False]),
    age=AGES,
    scheme=some.sampled_from(["v1", "v1", "v1", "v1", "v1", "v0", "v1a", " v1"]),
    twist=HEX,
    before=MESSES,
    after=MESSES,
)
def test_stripe_s_package_accepts_whatever_we_do(
    signer: str,
    knower: str,
    signed: str,
    sent: str,
    same: bool,
    age: int,
    scheme: str,
    twist: Callable[[str], str],
    before: list[str],
    after: list[str],
) -> None:
    knower, sent = (signer, signed) if same else (knower, sent)
    moment = int(time.time()) - age
    signature = digest(signer.encode(), f"{moment}.{signed}".encode()).hexdigest()
    header = ",".join([*before, f"t={moment}", f"{scheme}={twist(signature)}", *after])
    now = datetime.now(UTC)
    ours = accepted(lambda: check_stripe({"Stripe-Signature": header}, sent.encode(), (knower,), now))
    event(f"accepted: {ours}")
    assert not ours or stripe_accepts(header, sent, knower)


@settings(max_examples=500, deadline=None)
@given(
    header=some.text(max_size=200), body=some.binary(max_size=50), secrets=some.lists(some.text(max_size=9), max_size=3)
)
def test_no_header_raises_anything_but_forged(header: str, body: bytes, secrets: list[str]) -> None:
    now = datetime.now(UTC)
    assert not accepted(lambda: check_stripe({"Stripe-Signature": header}, body, secrets, now))
    given_headers = {"webhook-id": header, "webhook-timestamp": header, "webhook-signature": header}
    assert not accepted(lambda: check_standard(given_headers, body, [one.encode() for one in secrets], now))


@settings(deadline=None)
@given(body=BODIES, age=some.integers(-295, 295), secret=some.sampled_from(["whsec_one", "whsec_é"]))
def test_what_stripe_s_package_signs_is_accepted(body: str, age: int, secret: str) -> None:
    moment = int(time.time()) - age
    header = WebhookSignature.generate_signature_header(body, secret, moment)
    check_stripe({"Stripe-Signature": header}, body.encode(), ("whsec_other", secret), datetime.now(UTC))


@settings(max_examples=1500, deadline=None)
@given(
    signer=KEYS,
    knower=KEYS,
    signed=BODIES,
    sent=BODIES,
    same=some.sampled_from([True, True, True, False]),
    age=AGES,
    delivery=DELIVERIES,
    version=some.sampled_from(["v1,", "v1,", "v1,", "v1,", "v1,", "v1a,", "v1", "v1,,"]),
    before=MESSES,
    after=MESSES,
)
def test_the_standard_package_accepts_whatever_we_do(
    signer: bytes,
    knower: bytes,
    signed: str,
    sent: str,
    same: bool,
    age: int,
    delivery: str,
    version: str,
    before: list[str],
    after: list[str],
) -> None:
    knower, sent = (signer, signed) if same else (knower, sent)
    moment = int(time.time()) - age
    message = f"{delivery}.{moment}.{signed}".encode()
    signature = version + base64.b64encode(digest(signer, message).digest()).decode()
    headers = {
        "webhook-id": delivery,
        "webhook-timestamp": str(moment),
        "webhook-signature": " ".join([*before, signature, *after]),
    }
    ours = accepted(lambda: check_standard(headers, sent.encode(), (knower,), datetime.now(UTC)))
    event(f"accepted: {ours}")
    assert not ours or standard_accepts(knower, headers, sent)


@settings(deadline=None)
@given(body=BODIES, age=some.integers(-295, 295), key=KEYS)
def test_what_the_standard_package_signs_is_accepted(body: str, age: int, key: bytes) -> None:
    at = datetime.now(UTC) - timedelta(seconds=age)
    signature = standardwebhooks.Webhook(key).sign("msg_1", at, body)
    headers = {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": f"v1,AAAA {signature}",
    }
    check_standard(headers, body.encode(), (b"other", key), datetime.now(UTC))


def test_the_version_that_we_pin_is_the_package_s() -> None:
    """When the package is updated, the shapes are to be read again."""
    assert _ApiVersion.CURRENT == API_VERSION
