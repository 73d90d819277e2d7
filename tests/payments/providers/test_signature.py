"""Case numbers are those of the failure cases that payment callbacks are held to."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from multidict import CIMultiDict

from service.errors import Forged
from service.payments.providers.signature import HEADER_MAX, TOLERANCE_S, check_standard, check_stripe, polar_keys

NOW = datetime.fromtimestamp(1_614_265_330, UTC)
MOMENT = int(NOW.timestamp())
SECRET, OLDER_SECRET = "whsec_test_secret", "whsec_of_last_month"
BODY = b'{"id":"evt_1"}'
# Computed by hand: echo -n '1614265330.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test_secret
SIGNATURE = "e135cdbed3dda004bf8a2fb350f2541d299393c770e0b9e6e319dc595e9072aa"
VECTOR = json.loads((Path(__file__).parents[2] / "data/payments/standardwebhooks/svix_vector.json").read_text())
# The same message under the raw bytes of the vector's whole secret, as Polar's older endpoints sign.
RAW_KEY_SIGNATURE = "v1,TcxlhK9b6UD6iVI1ZU2tTqp8PEVfYRseNNfa6b+LcUg="


def stripe(header: str, *, body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,), now: datetime = NOW) -> None:
    check_stripe({"Stripe-Signature": header}, body, secrets, now)


def forged_for_stripe(header: str, **more: object) -> bool:
    with pytest.raises(Forged):
        stripe(header, **more)  # type: ignore[arg-type]
    return True


def signed_at(at: datetime, *, secret: str = SECRET, body: bytes = BODY) -> str:
    moment = str(int(at.timestamp()))
    return f"t={moment},v1={hmac.new(secret.encode(), f'{moment}.'.encode() + body, hashlib.sha256).hexdigest()}"


def headers(**more: str) -> dict[str, str]:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {name: VECTOR[name] for name in names} | {name.replace("_", "-"): value for name, value in more.items()}


def standard(given: dict[str, str], *, keys: tuple[bytes, ...] | None = None, now: datetime = NOW) -> None:
    check_standard(given, VECTOR["body"].encode(), polar_keys(VECTOR["secret"]) if keys is None else keys, now)


def forged_by_the_standard(given: dict[str, str], **more: object) -> bool:
    with pytest.raises(Forged):
        standard(given, **more)  # type: ignore[arg-type]
    return True


# Stripe


def test_stripe_s_check_vector() -> None:
    stripe(f"t={MOMENT},v1={SIGNATURE}")


def test_any_of_several_signatures_and_secrets_is_enough() -> None:
    """Case 18: while a secret is changed, Stripe signs with both; and we may know both."""
    older = signed_at(NOW, secret=OLDER_SECRET).removeprefix(f"t={MOMENT},")
    stripe(f"t={MOMENT},{older},v1={SIGNATURE},v0={'0' * 64}")
    stripe(f"t={MOMENT},v1={SIGNATURE}", secrets=(OLDER_SECRET, SECRET))
    stripe(f"v1={SIGNATURE},t={MOMENT}")


@pytest.mark.parametrize(
    "header",
    [
        "",
        ",",
        "=",
        "t",
        "v1",
        "nonsense",
        f"t={MOMENT}",
        f"v1={SIGNATURE}",
        f"t={MOMENT},v1=",
        f"t={MOMENT},v1",
        f"t={MOMENT},v1={SIGNATURE},v1",
        f"t={MOMENT},v1={SIGNATURE},t",
        f"t=,v1={SIGNATURE}",
        f"t={MOMENT},v0={SIGNATURE}",
        f"t={MOMENT},v10={SIGNATURE}",
        f"t={MOMENT},V1={SIGNATURE}",
        f"t={MOMENT}, v1={SIGNATURE}",
        f"t={MOMENT},v1={SIGNATURE.upper()}",
        f"t={MOMENT},v1={SIGNATURE[:-1]}",
        f"t={MOMENT},v1={SIGNATURE}0",
        f"t={MOMENT},v1={SIGNATURE}=",
        f"t={MOMENT};v1={SIGNATURE}",
        f"t={MOMENT},t={MOMENT},v1={SIGNATURE}",
        f"t= {MOMENT},v1={SIGNATURE}",
        f"t=0{MOMENT},v1={SIGNATURE}",
        f"t=+{MOMENT},v1={SIGNATURE}",
        f"t={MOMENT}.0,v1={SIGNATURE}",
        f"t=1_614_265_330,v1={SIGNATURE}",
        f"t=-{MOMENT},v1={SIGNATURE}",
        f"t={'9' * 5000},v1={SIGNATURE}",
        "t=١٦١٤٢٦٥٣٣٠,v1=" + SIGNATURE,
        f"t={MOMENT},v1=" + "é" * 64,
        f"t={MOMENT},v1=\udce9{SIGNATURE[1:]}",
        f"t={MOMENT},v1=\x00",
    ],
)
def test_a_bad_header_is_forged(header: str) -> None:
    """Case 18: nothing a stranger puts there raises anything else; not even what is not ASCII."""
    assert forged_for_stripe(header)


def test_a_long_header_is_not_read() -> None:
    """Case 18: the right signature stands at the end of 100 KB."""
    assert forged_for_stripe(f"t={MOMENT},{'v0=00,' * 20_000}v1={SIGNATURE}")
    fitting = f"t={MOMENT},v1={SIGNATURE}"
    stripe(fitting + "," * (HEADER_MAX - len(fitting)))
    assert forged_for_stripe(fitting + "," * (HEADER_MAX - len(fitting) + 1))


def test_without_the_header_it_is_forged() -> None:
    """Case 18: missing, or under another name."""
    for given in ({}, {"Signature": f"t={MOMENT},v1={SIGNATURE}"}):
        with pytest.raises(Forged):
            check_stripe(given, BODY, (SECRET,), NOW)


def test_a_header_that_comes_twice_is_forged() -> None:
    """Case 18: proxies differ in which of two they take; so neither counts."""
    good = f"t={MOMENT},v1={SIGNATURE}"
    twice = CIMultiDict([("stripe-signature", good), ("Stripe-Signature", good)])
    with pytest.raises(Forged):
        check_stripe(twice, BODY, (SECRET,), NOW)
    check_stripe(CIMultiDict([("STRIPE-SIGNATURE", good)]), BODY, (SECRET,), NOW)


@pytest.mark.parametrize("secrets", [(), ("",), ("   ",), ("whsec_other",), ("\ud800",), ("", OLDER_SECRET)])
def test_without_the_secret_it_is_forged(secrets: tuple[str, ...]) -> None:
    """Case 18: a blank secret is none, or anybody could sign with it."""
    assert forged_for_stripe(f"t={MOMENT},v1={SIGNATURE}", secrets=secrets)
    assert forged_for_stripe(signed_at(NOW, secret=" "), secrets=(" ",))


@pytest.mark.parametrize("off_s", [-600, -TOLERANCE_S - 1, TOLERANCE_S + 1, 600])
def test_our_clock_is_off(off_s: int) -> None:
    """Case 16, case 19: too old, or from the future: the same bytes that are good now are good at no other time."""
    assert forged_for_stripe(f"t={MOMENT},v1={SIGNATURE}", now=NOW + timedelta(seconds=off_s))
    assert forged_by_the_standard(headers(), now=NOW + timedelta(seconds=off_s))


@pytest.mark.parametrize("off_s", [-TOLERANCE_S, -1, 0, 1, TOLERANCE_S])
def test_a_clock_may_be_a_little_off(off_s: int) -> None:
    stripe(f"t={MOMENT},v1={SIGNATURE}", now=NOW + timedelta(seconds=off_s))
    standard(headers(), now=NOW + timedelta(seconds=off_s))


def test_a_changed_byte_is_forged() -> None:
    """Case 20: every bit of the body counts, and so does every space of its JSON."""
    good = f"t={MOMENT},v1={SIGNATURE}"
    for place in range(len(BODY)):
        changed = BODY[:place] + bytes([BODY[place] ^ 1]) + BODY[place + 1 :]
        assert forged_for_stripe(good, body=changed)
    assert forged_for_stripe(good, body=json.dumps(json.loads(BODY)).encode())
    assert forged_for_stripe(good, body=BODY + b"\n")


def test_another_time_is_another_signature() -> None:
    """Case 19: the time is signed too, so that an old callback cannot be made young."""
    assert forged_for_stripe(f"t={MOMENT + 1},v1={SIGNATURE}")


# Standard Webhooks


def test_the_published_vector() -> None:
    standard(headers())


def test_both_of_polar_s_keys() -> None:
    """The secret's own bytes, and what it is the base64 of; nothing in it tells which of them Polar signs with."""
    raw, decoded = polar_keys(VECTOR["secret"])
    assert raw == VECTOR["secret"].encode()
    assert decoded == base64.b64decode(VECTOR["secret"].removeprefix("whsec_"))
    standard(headers(webhook_signature=RAW_KEY_SIGNATURE))
    standard(headers(webhook_signature=RAW_KEY_SIGNATURE), keys=(raw,))
    assert forged_by_the_standard(headers(webhook_signature=RAW_KEY_SIGNATURE), keys=(decoded,))
    assert forged_by_the_standard(headers(), keys=(raw,))


@pytest.mark.parametrize(
    ("secret", "count"),
    [
        ("polar_whs_ovyN6cPrTv56AApvzCaJno08SSmGJmgbWilb33N2JuK", 1),  # no base64: it has underscores
        ("whsec_not base64 at all!", 1),
        ("whsec_", 1),
        ("whsec_é", 1),
        ("é\ud800", 1),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 2),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", 2),  # without its padding
        ("", 0),
        (" \n", 0),
    ],
)
def test_any_secret_makes_keys_and_none_raises(secret: str, count: int) -> None:
    keys = polar_keys(secret)
    assert len(keys) == count
    assert all(keys)


def test_any_of_several_standard_signatures_is_enough() -> None:
    """Case 18: other versions and what is no signature are passed over."""
    good = VECTOR["webhook-signature"]
    for header in (
        f"v1a,AAAA {good}",
        f"{good} v2,x",
        f"v1,AAAA= {good}",
        f"nocomma {good}",
        f" {good} ",
        f"v1 {good}",
    ):
        standard(headers(webhook_signature=header))


@pytest.mark.parametrize(
    "signature",
    [
        "",
        " ",
        "v1",
        "v1,",
        "nocomma",
        VECTOR["webhook-signature"].replace("v1,", "v1a,"),
        VECTOR["webhook-signature"].replace("v1,", "v0,"),
        VECTOR["webhook-signature"].replace("v1,", "V1,"),
        VECTOR["webhook-signature"].replace("v1,", ""),
        VECTOR["webhook-signature"].upper(),
        VECTOR["webhook-signature"].rstrip("="),
        VECTOR["webhook-signature"] + "=",
        VECTOR["webhook-signature"] + ",",
        VECTOR["webhook-signature"].replace("/", "_").replace("+", "-"),
        "v1,é",
        "v1,\udcff",
        "v1,AAAA " * 20_000 + VECTOR["webhook-signature"],
    ],
)
def test_a_bad_standard_signature_is_forged(signature: str) -> None:
    """Case 18."""
    assert forged_by_the_standard(headers(webhook_signature=signature))


@pytest.mark.parametrize(
    "moment", ["", "x", "nan", "inf", "1e9", "1614265330.5", " 1614265330", "+1614265330", "9" * 30]
)
def test_a_bad_standard_time_is_forged(moment: str) -> None:
    """Case 19."""
    assert forged_by_the_standard(headers(webhook_timestamp=moment))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_standard_header_is_needed_once(name: str) -> None:
    """Case 18."""
    given = headers()
    assert forged_by_the_standard({key: value for key, value in given.items() if key != name})
    assert forged_by_the_standard(given | {name: ""})
    assert forged_by_the_standard(given | {name: given[name] + "é"})
    assert forged_by_the_standard(given | {name.upper(): given[name]})


def test_the_id_of_the_delivery_is_signed() -> None:
    """Case 20: and so is every byte of the body."""
    assert forged_by_the_standard(headers(webhook_id="msg_other"))
    with pytest.raises(Forged):
        check_standard(headers(), VECTOR["body"].encode() + b" ", polar_keys(VECTOR["secret"]), NOW)


def test_no_key_is_no_door() -> None:
    """An empty key would be everybody's."""
    empty = base64.b64encode(
        hmac.new(b"", f"m.{MOMENT}.".encode() + VECTOR["body"].encode(), hashlib.sha256).digest()
    ).decode()
    given = headers(webhook_id="m", webhook_signature=f"v1,{empty}")
    assert forged_by_the_standard(given, keys=())
    assert forged_by_the_standard(given, keys=(b"",))
