"""The processors' door over a real socket: what it lets in, what it stores, and how it sends the rest away."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.payments.callback import BODY_MAX
from service.payments.event import Payment
from service.sandbox.processors import Callback
from tests.cast import PAYER, STRANGER
from tests.e2e.processors import Market, Till, market, till
from tests.outage import away
from tests.payments.money import BROKEN, balance_of, entries_of, order
from tests.serving import Served, message, serving

PROCESSORS = ("yookassa", "stripe", "polar")
SIGNED = ("stripe", "polar")
EVENT = {"yookassa": "payment.succeeded", "stripe": "checkout.session.completed", "polar": "order.paid"}
NOTHING = {
    "yookassa": {"type": "notification", "event": "deal.closed", "object": {"id": "dl-1"}},
    "stripe": {"id": "evt_1", "object": "event", "type": "plan.created", "livemode": False, "data": {"object": {}}},
    "polar": {"type": "product.updated", "data": {"id": "p"}},
}
Answer = tuple[int, bytes]


@pytest.fixture
async def stands() -> AsyncIterator[Market]:
    """The processors, whose callbacks only gather."""
    async with market() as stands:
        stands.processors.hold()
        yield stands


@pytest.fixture
async def shop(database_url: str, stands: Market) -> AsyncIterator[Served]:
    async with serving(database_url, **stands.settings, DOOR_TIMEOUT="2") as served:
        stands.webhooks.append(served.base)
        yield served


@pytest.fixture
async def bot(database_url: str, stands: Market) -> AsyncIterator[Till]:
    async with till(database_url, stands) as bot:
        yield bot


def signed(stands: Market, provider: str, body: bytes) -> dict[str, str]:
    """The headers with which the processor would send this body."""
    return dict(getattr(stands.processors, provider).signed(body))


async def post(shop: Served, provider: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
    async with shop.http.post(f"{shop.base}/payments/{provider}", data=body, headers=headers or {}) as response:
        return response.status, await response.read()


async def send(shop: Served, stands: Market, provider: str, body: bytes | dict[str, Any], **headers: str) -> Answer:
    """As the processor would: authentic, whatever it says."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await post(shop, provider, raw, signed(stands, provider, raw) | headers)


def code(answer: Answer) -> tuple[int, str]:
    return answer[0], json.loads(answer[1])["error"]["code"]


async def bought(bot: Till, stands: Market, provider: str) -> tuple[Payment, Callback]:
    """An order that was paid, and the callback that says so."""
    payment = await bot.order(provider)
    stands.pay(payment)
    told = [one for one in stands.held(EVENT[provider]) if one.about == payment.provider_payment_id]
    return payment, told[0]


async def events(raw: Any) -> list[tuple[str, str]]:
    """What is stored: (status, reason), in order of arrival."""
    return [(row["status"], row["reason"]) for row in await raw.fetch("SELECT * FROM payment_events ORDER BY id")]


async def in_chunks(*chunks: bytes) -> AsyncIterator[bytes]:
    """A body whose length nobody tells beforehand."""
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("provider", PROCESSORS)
async def test_what_was_paid_is_credited_and_answered_with_an_empty_200(
    shop: Served, stands: Market, bot: Till, raw: Any, provider: str
) -> None:
    payment, told = await bought(bot, stands, provider)
    for _ in range(3):
        assert await post(shop, provider, told.body, told.headers()) == (200, b"")
    assert await entries_of(raw) == [("topup", payment.credit_rub)]
    assert await raw.fetchval("SELECT body FROM payment_events") == told.body or provider == "yookassa"
    assert await raw.fetchval("SELECT deliveries FROM payment_events") == (1 if provider == "yookassa" else 3)


@pytest.mark.parametrize("provider", SIGNED)
async def test_a_forged_callback_is_refused_and_not_stored(
    shop: Served, stands: Market, bot: Till, raw: Any, provider: str
) -> None:
    _, told = await bought(bot, stands, provider)
    stolen = {name: value for name, value in told.headers().items() if "ignature" not in name}
    assert code(await post(shop, provider, told.body)) == (401, "forged")
    assert code(await post(shop, provider, told.body, stolen)) == (401, "forged")
    assert code(await post(shop, provider, told.body + b" ", told.headers())) == (401, "forged")
    assert await events(raw) == []


MALFORMED = (
    b"", b"hello", b"{", b"[1]", b'"text"', b"null", b"{}", b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":1e400}',
    b"\xff\xfe{}", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b"[" * 200_000, b'{"a":' + b"9" * 5000 + b"}",
    b'{"object":null,"data":null}', b"event=payment.succeeded&object=1", b'{"a":"\xff"}',
)  # fmt: skip


@pytest.mark.parametrize("provider", PROCESSORS)
async def test_what_is_no_message_is_malformed(shop: Served, stands: Market, raw: Any, provider: str) -> None:
    """Case 24: a form is no JSON. Case 26: no other encoding than UTF-8. Case 27: no key twice. Case 28: no NaN.

    Case 29: no endless digits or nesting. Case 35: no list, text or null.
    """
    for body in MALFORMED:
        assert code(await send(shop, stands, provider, body)) == (400, "invalid"), body[:40]
    assert await events(raw) == []


@pytest.mark.parametrize("provider", PROCESSORS)
async def test_a_body_of_more_than_256_kib_is_too_large(shop: Served, stands: Market, provider: str) -> None:
    """Case 23: declared, and in chunks whose length nobody tells."""
    fits = json.dumps(NOTHING[provider]).encode().ljust(BODY_MAX)
    assert await send(shop, stands, provider, fits) == (200, b"")
    assert await post(shop, provider, in_chunks(fits[:99], fits[99:]), signed(stands, provider, fits)) == (200, b"")
    assert code(await send(shop, stands, provider, fits + b" ")) == (413, "too_large")
    many = in_chunks(*[b" " * 65536] * 20)
    assert code(await post(shop, provider, many)) == (413, "too_large")


async def by_hand(shop: Served, head: str, *, then: bytes = b"") -> int:
    """The status that a client gets who speaks HTTP in its own way."""
    parts = urlsplit(shop.base)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + then)
    await writer.drain()
    status = (await reader.readline()).split()[1]
    writer.close()
    return int(status)


async def test_an_impossible_length_is_refused_before_anything_is_read(shop: Served) -> None:
    """Case 23: declared as more than there is memory, and none of it sent."""
    head = "POST /payments/stripe HTTP/1.1\nHost: x\nConnection: close\nContent-Length: 99999999999"
    assert await by_hand(shop, head) == 413


async def test_an_encoded_body_is_refused_before_it_is_read(shop: Served, stands: Market) -> None:
    """Case 25: whatever is behind it: a bomb, something that cannot be unpacked, nothing at all."""
    bomb = gzip.compress(b" " * (16 << 20))
    for encoding in ("gzip", "deflate", "x", "GZIP", "gzip, identity", ""):
        head = f"POST /payments/polar HTTP/1.1\nHost: x\nContent-Encoding: {encoding}\nContent-Length: 100"
        assert await by_hand(shop, head) == 415, "its body never came"
        for body in (bomb, b"not packed at all", json.dumps(NOTHING["polar"]).encode()):
            headers = signed(stands, "polar", body) | {"Content-Encoding": encoding}
            assert code(await post(shop, "polar", body, headers)) == (415, "encoding"), encoding


async def test_two_words_about_the_encoding_are_refused(shop: Served) -> None:
    """Case 25: the second of them is the one that would be obeyed."""
    head = "POST /payments/polar HTTP/1.1\nHost: x\nContent-Encoding: identity\nContent-Encoding: gzip"
    assert await by_hand(shop, f"{head}\nContent-Length: 9", then=b"not gzip!") in (400, 415)


async def test_a_body_that_dribbles_in_is_given_up(shop: Served) -> None:
    """Case 25: one byte at a time; DOOR_TIMEOUT is 2 s here."""

    async def dribble() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.1)

    started = time.monotonic()
    assert code(await post(shop, "stripe", dribble())) == (503, "deadline_exceeded")
    assert 1.5 < time.monotonic() - started < 4


async def test_a_body_that_ends_too_soon_is_no_error_of_ours(shop: Served, raw: Any) -> None:
    """Case 25: half of it came, then the connection ended."""
    parts = urlsplit(shop.base)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(b"POST /payments/yookassa HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{}")
    await writer.drain()
    writer.close()
    assert (await shop.get("/health"))[0] == 200
    assert await events(raw) == []


@pytest.mark.parametrize("provider", PROCESSORS)
async def test_the_content_type_does_not_matter(
    shop: Served, stands: Market, bot: Till, raw: Any, provider: str
) -> None:
    """Case 24: what is authentic is processed."""
    due = Decimal(0)
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "nonsense", ""):
        payment, told = await bought(bot, stands, provider)
        answer = await post(shop, provider, told.body, told.headers() | {"Content-Type": content_type})
        assert answer == (200, b"")
        due += payment.credit_rub
        assert await balance_of(raw) == due, content_type


async def test_a_processor_that_nobody_knows_is_not_found(shop: Served) -> None:
    for provider in ("paypal", "", "stripe/", "STRIPE", "telegram", "..%2Fadmin"):
        assert code(await post(shop, provider, b"{}")) == (404, "not_found"), provider


async def test_a_processor_without_settings_has_no_door(database_url: str) -> None:
    async with serving(database_url, STRIPE_SECRET_KEY="") as shop:
        status, body = await post(shop, "stripe", b"{}")
    assert status == 503
    assert json.loads(body)["error"]["message"] == "STRIPE_SECRET_KEY not set"


@pytest.mark.parametrize("provider", PROCESSORS)
async def test_without_an_inbox_nothing_is_acknowledged(
    shop: Served, stands: Market, bot: Till, raw: Any, provider: str
) -> None:
    payment, told = await bought(bot, stands, provider)
    await raw.execute("ALTER TABLE payment_events RENAME TO elsewhere")
    async with shop.http.post(shop.base + told.path, data=told.body, headers=told.headers()) as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
        assert (await response.json())["error"]["code"] == "feature_off"
    await raw.execute("ALTER TABLE elsewhere RENAME TO payment_events")
    await shop.operations.switchboard.refresh()
    assert await post(shop, provider, told.body, told.headers()) == (200, b"")
    assert await balance_of(raw) == payment.credit_rub


@pytest.mark.parametrize("provider", PROCESSORS)
async def test_without_a_database_nothing_is_acknowledged(
    shop: Served, stands: Market, bot: Till, database_url: str, provider: str
) -> None:
    _, told = await bought(bot, stands, provider)
    post = shop.http.post(shop.base + told.path, data=told.body, headers=told.headers())
    async with away(database_url), post as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0


async def test_while_yookassa_is_down_a_notification_is_only_a_hint(
    shop: Served, stands: Market, bot: Till, raw: Any
) -> None:
    """Case 13: 503, and kept; nothing is credited on the word of a body; then it is, once."""
    payment, told = await bought(bot, stands, "yookassa")
    stands.processors.faults.fail("yookassa GET /payments/{id}", times=2)
    assert code(await post(shop, "yookassa", told.body))[0] == 503
    assert code(await post(shop, "yookassa", told.body))[0] == 503
    assert await events(raw) == [("waiting", "")]
    assert await balance_of(raw) == 0
    assert await post(shop, "yookassa", told.body) == (200, b"")
    assert await events(raw) == [("applied", "")]
    assert await entries_of(raw) == [("topup", payment.credit_rub)]


async def test_recovery_asks_about_the_hints_that_were_kept(shop: Served, stands: Market, bot: Till, raw: Any) -> None:
    """Case 13: what is true of them has its effect without another notification. Case 17: what is forged has none."""
    payment, told = await bought(bot, stands, "yookassa")
    forged = told.json
    forged["object"]["id"] = "3086206f-000f-5000-8000-1e653030dc24"
    stands.processors.faults.fail("yookassa GET /payments/{id}", times=2)
    assert code(await post(shop, "yookassa", told.body))[0] == 503
    assert code(await send(shop, stands, "yookassa", forged))[0] == 503
    assert await events(raw) == [("waiting", "")] * 2
    await raw.execute("UPDATE payment_events SET due_at = now()")
    await shop.operations.jobs.recover()
    assert await entries_of(raw) == [("topup", payment.credit_rub)]
    assert "waiting" not in [status for status, _ in await events(raw)]


async def test_a_yookassa_that_hangs_is_not_waited_for_longer_than_a_door_may(
    shop: Served, stands: Market, bot: Till, raw: Any
) -> None:
    """Case 13: the processor gets its answer in time, also when the API gives none."""
    _, told = await bought(bot, stands, "yookassa")
    stands.processors.faults.hang("yookassa GET /payments/{id}")
    started = time.monotonic()
    assert code(await post(shop, "yookassa", told.body))[0] == 503
    assert time.monotonic() - started < 4
    assert await balance_of(raw) == 0


async def test_a_forged_notification_of_yookassa_credits_nobody(
    shop: Served, stands: Market, bot: Till, raw: Any
) -> None:
    """Case 17: an id that looks real and that the API does not know; one that it knows, and that nobody has paid.

    Case 6: the event says succeeded, the object does not.
    """
    payment = await bot.order("yookassa")
    forged = json.loads(json.dumps(stands.processors.yookassa.payments[payment.provider_payment_id]))
    forged |= {"status": "succeeded", "paid": True}
    stranger = forged | {"id": "3086206f-000f-5000-8000-1e653030dc24"}
    for thing in (stranger, forged):
        body = {"type": "notification", "event": "payment.succeeded", "object": thing}
        assert await send(shop, stands, "yookassa", body) == (200, b"")
    assert await balance_of(raw) == 0
    assert {status for status, _ in await events(raw)} == {"ignored"}
    stands.pay(payment)
    told = stands.held("payment.succeeded")[0]
    assert await post(shop, "yookassa", told.body) == (200, b"")
    assert await entries_of(raw) == [("topup", payment.credit_rub)], "the forgery did not get in its way"


async def test_a_forged_amount_is_not_believed(shop: Served, stands: Market, bot: Till, raw: Any) -> None:
    """Case 17: what the body says counts for nothing, only what the API says."""
    payment, told = await bought(bot, stands, "yookassa")
    said = told.json
    said["object"]["amount"]["value"] = "150000.00"
    said["object"]["metadata"]["user_id"] = str(STRANGER.user_id)
    assert await send(shop, stands, "yookassa", said) == (200, b"")
    assert await balance_of(raw) == payment.credit_rub
    assert await balance_of(raw, STRANGER.user_id) == 0


async def test_who_claims_another_address_gets_nothing_for_it(
    shop: Served, stands: Market, bot: Till, raw: Any
) -> None:
    """Case 22: no header says who somebody is: neither does it open the door, nor close it."""
    due = Decimal(0)
    for address in ("185.71.76.1", "::ffff:185.71.76.1", "127.0.0.1, 185.71.76.1", "2a02:5180::1", "nonsense"):
        claims = dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP"), address)
        _, stripes = await bought(bot, stands, "stripe")
        assert code(await post(shop, "stripe", stripes.body, claims)) == (401, "forged")
        payment, told = await bought(bot, stands, "yookassa")
        forged = told.json
        forged["object"]["id"] = "3086206f-000f-5000-8000-1e653030dc24"
        assert (await send(shop, stands, "yookassa", forged, **claims))[0] == 200
        assert await balance_of(raw) == due
        assert (await post(shop, "yookassa", told.body, claims))[0] == 200
        due += payment.credit_rub
        assert await balance_of(raw) == due, address


@pytest.mark.parametrize(
    ("provider", "changes", "reason"),
    [
        ("stripe", {("livemode",): True}, "live money, and our key is for tests"),
        ("stripe", {("account",): "acct_of_somebody"}, "of a connected account"),
        ("yookassa", {("recipient", "account_id"): "1183493"}, "paid to another shop"),
        ("yookassa", {("test",): False}, "real money, and the shop is a test shop"),
    ],
)
async def test_money_of_another_account_or_mode_is_for_review(
    shop: Served, stands: Market, bot: Till, raw: Any, provider: str, changes: dict[Any, Any], reason: str
) -> None:
    """Case 21: a test event to a live service or the reverse, another shop, a connected account."""
    payment, told = await bought(bot, stands, provider)
    said = told.json
    truth = stands.processors.yookassa.payments[payment.provider_payment_id] if provider == "yookassa" else said
    for (*path, last), value in changes.items():
        (truth[path[0]] if path else truth)[last] = value
    assert await send(shop, stands, provider, said) == (200, b"")
    assert await balance_of(raw) == 0
    assert await events(raw) == [("review", reason)]


async def test_another_amount_is_for_review(shop: Served, stands: Market, bot: Till, raw: Any) -> None:
    """Case 37: less, more, another currency: nothing is credited, an operator looks. Case 32: also where it is huge."""
    wrong = [(499, "usd"), (501, "usd"), (500, "eur"), (50000, "usd"), (10**12, "usd"), (10**30, "usd"), (0, "usd")]
    for amount, currency in wrong:
        payment, told = await bought(bot, stands, "stripe")
        said = told.json
        said["data"]["object"] |= {"amount_total": amount, "currency": currency}
        if amount < 10**20:  # which is not even JSON as we take it
            assert await send(shop, stands, "stripe", said) == (200, b"")
            assert (await events(raw))[-1][0] == "review", amount
        else:
            assert code(await send(shop, stands, "stripe", said)) == (400, "invalid")
        status = await raw.fetchval("SELECT status FROM payments WHERE payment_id = $1", payment.payment_id)
        assert status in ("review", "pending")
    assert await balance_of(raw) == 0


async def test_what_only_looks_like_the_currency_is_none(shop: Served, stands: Market, bot: Till, raw: Any) -> None:
    """Case 34: usd is USD; what has a letter of another alphabet is not, nor is anything else."""
    for currency in ("US\u0405", "US", "USDD", " USD", "USD\n", "", None, 840):
        _, told = await bought(bot, stands, "stripe")
        said = told.json
        said["data"]["object"]["currency"] = currency
        assert await send(shop, stands, "stripe", said) == (200, b"")
        assert (await events(raw))[-1][0] == "review", currency
    assert await balance_of(raw) == 0
    for currency in ("USD", "uSd"):
        _, told = await bought(bot, stands, "stripe")
        said = told.json
        said["data"]["object"]["currency"] = currency
        assert await send(shop, stands, "stripe", said) == (200, b"")
    assert await balance_of(raw) == 2 * Decimal("450.00")


async def test_metadata_of_any_kind_only_leads_nowhere(shop: Served, stands: Market, bot: Till, raw: Any) -> None:
    """Case 35: metadata that is missing, or not of texts; the processor's own id still leads to the payment."""
    due = Decimal(0)
    for metadata in (None, [], "text", {}, *({"payment_id": one} for one in (7, ["x"], "x" * 10_000, None))):
        payment, told = await bought(bot, stands, "stripe")
        said = told.json
        said["data"]["object"]["metadata"] = metadata
        assert await send(shop, stands, "stripe", said) == (200, b"")
        due += payment.credit_rub
        assert await balance_of(raw) == due, repr(metadata)[:40]


async def test_an_id_that_is_none_is_for_review(shop: Served, stands: Market, bot: Till, raw: Any) -> None:
    """Case 35: ids of ten thousand characters. Case 33: NUL, and half of a surrogate pair: kept as bytes."""
    for thing_id in ("x" * 10_000, "", None, 7, "cs_\x00", "cs_\ud800"):
        _, told = await bought(bot, stands, "stripe")
        said = told.json
        said["data"]["object"]["id"] = thing_id
        assert await send(shop, stands, "stripe", said) == (200, b"")
        assert (await events(raw))[-1][0] == "review", repr(thing_id)[:40]
        assert await raw.fetchval("SELECT body FROM payment_events ORDER BY id DESC LIMIT 1") == dumped(said)
    assert await balance_of(raw) == 0


async def test_the_payer_must_be_who_ordered(shop: Served, stands: Market, bot: Till, raw: Any) -> None:
    """Case 36: only a decimal id is one; another person's is a contradiction, and what is no id says nothing."""
    for told_id in (str(STRANGER.user_id), "7000000001 ", "07000000001", str(2**63), "-1", "x", ""):
        payment, told = await bought(bot, stands, "yookassa")
        stands.processors.yookassa.payments[str(payment.provider_payment_id)]["metadata"]["user_id"] = told_id
        assert await post(shop, "yookassa", told.body) == (200, b"")
        applied = (await events(raw))[-1][0] == "applied"
        assert applied is (told_id != str(STRANGER.user_id)), told_id
    assert await balance_of(raw) == 6 * Decimal("150.00")
    assert await balance_of(raw, STRANGER.user_id) == 0


@pytest.mark.parametrize("provider", PROCESSORS)
async def test_money_for_nothing_that_we_know_waits(
    shop: Served, stands: Market, bot: Till, raw: Any, provider: str
) -> None:
    """Case 38: a payment or a person that is unknown: stored, acknowledged, tried again, and nobody is credited."""
    payment, told = await bought(bot, stands, provider)
    await raw.execute("SET session_replication_role = replica")  # as if the order had never been
    await raw.execute("DELETE FROM payment_references")
    await raw.execute("DELETE FROM payments")
    assert await post(shop, provider, told.body, told.headers()) == (200, b"")
    assert await events(raw) == [("waiting", "no payment of ours is known by these names")]
    assert await balance_of(raw, payment.user_id) == 0


# An effect that collides with somebody else's, as often as the sequence is told.
COLLIDES = """
CREATE SEQUENCE collisions;
CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('collisions') <= {times} THEN
        RAISE EXCEPTION 'somebody was first' USING ERRCODE = '{sqlstate}';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER collide BEFORE INSERT ON payment_effects FOR EACH ROW EXECUTE FUNCTION collide();
"""


@pytest.mark.parametrize("sqlstate", ["40P01", "40001"], ids=["deadlock", "serialization failure"])
@pytest.mark.parametrize(("times", "status"), [(2, 200), (3, 503)])
async def test_a_transaction_that_collides_is_tried_again_and_not_for_ever(
    shop: Served, stands: Market, bot: Till, raw: Any, sqlstate: str, times: int, status: int
) -> None:
    """Case 12: the whole transaction, three times; then it is for the processor to send it again."""
    payment, told = await bought(bot, stands, "stripe")
    await raw.execute(COLLIDES.format(times=times, sqlstate=sqlstate))
    async with shop.http.post(shop.base + told.path, data=told.body, headers=told.headers()) as response:
        assert response.status == status
        assert ("Retry-After" in response.headers) is (status == 503)
    assert await balance_of(raw) == (payment.credit_rub if status == 200 else 0)
    assert await post(shop, "stripe", told.body, told.headers()) == (200, b"")
    assert await entries_of(raw) == [("topup", payment.credit_rub)]


@pytest.mark.parametrize("first", ["telegram", "yookassa"])
async def test_a_card_in_telegram_that_yookassa_tells_of_as_well_is_one_credit(
    database_url: str, stands: Market, raw: Any, first: str
) -> None:
    """Case 3: the same money by two channels, whichever is first."""
    yookassa_id = "3086206f-000f-5000-8000-1e653030dc24"
    payment_id = await order(raw, provider="telegram_cards", test=True)
    truth = {
        "id": yookassa_id,
        "status": "succeeded",
        "paid": True,
        "amount": {"value": "150.00", "currency": "RUB"},
        "recipient": {"account_id": "100500", "gateway_id": "1"},
        "test": True,
        "metadata": {},
    }
    stands.processors.yookassa.payments[yookassa_id] = truth
    fact = {"currency": "RUB", "total_amount": 15000, "invoice_payload": str(payment_id)}
    charges = {"telegram_payment_charge_id": "tg-charge", "provider_payment_charge_id": yookassa_id}
    update = message(PAYER, "")
    del update["message"]["text"]
    update["message"]["successful_payment"] = fact | charges
    note = {"type": "notification", "event": "payment.succeeded", "object": truth}
    async with serving(database_url, **stands.settings, TELEGRAM_PROVIDER_TOKEN="1:TEST:2") as shop:
        for turn in range(4):
            if (turn % 2 == 0) == (first == "telegram"):
                assert (await shop.post(update))[0] == 200
            else:
                assert await send(shop, stands, "yookassa", note) == (200, b"")
        await raw.execute("UPDATE payment_events SET due_at = now() WHERE status = 'waiting'")
        await shop.operations.jobs.recover()
    assert await entries_of(raw) == [("topup", Decimal("150.00"))]
    assert {status for status, _ in await events(raw)} == {"applied", "ignored"}


# Anything that JSON can say, with the words that matter in places where they do not belong.
WORDS = st.sampled_from(
    ["id", "type", "event", "object", "data", "status", "paid", "amount", "value", "currency", "metadata", "livemode",
     "payment_id", "refund.updated", "checkout.session.completed", "order.paid", "payment.succeeded", "notification",
     "succeeded", "charge", "payment_intent", "evt_1", "150.00", "USD", "refunds",
     "3086206f-000f-5000-8000-1e653030dc24"]
)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS
THINGS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6), max_leaves=12
)
NAMES = ("stripe-signature", "webhook-id", "webhook-signature", "webhook-timestamp", "content-type", "x-request-id")
# What a client can put on the wire: no NUL, no end of line.
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)


@pytest.mark.parametrize("provider", PROCESSORS)
async def test_nothing_that_anybody_sends_is_an_error_of_ours_or_money(
    shop: Served, stands: Market, bot: Till, raw: Any, provider: str
) -> None:
    """Never a 500 and never a credit: any body and headers, signed or not; real ones with one change."""
    _, told = await bought(bot, stands, provider)
    loop = asyncio.get_running_loop()

    async def answered(body: bytes, headers: dict[str, str]) -> None:
        status, _ = await post(shop, provider, body, headers)
        assert status in (200, 400, 401, 413, 415), status

    def from_here(body: bytes, headers: dict[str, str]) -> None:
        asyncio.run_coroutine_threadsafe(answered(body, headers), loop).result(20)

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.binary(max_size=64) | THINGS.map(dumped), st.dictionaries(st.sampled_from(NAMES), VALUES), st.booleans())
    def any_body(body: bytes, headers: dict[str, str], authentic: bool) -> None:
        from_here(body, signed(stands, provider, body) if authentic else headers)

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.data(), THINGS)
    def almost_real(data: st.DataObject, thing: object) -> None:
        body = dumped(changed(data, told.json, thing))
        from_here(body, signed(stands, provider, body))

    stands.processors.yookassa.payments.clear()
    await asyncio.to_thread(any_body)
    assert await balance_of(raw) == 0
    await asyncio.to_thread(almost_real)
    assert await balance_of(raw) in (0, Decimal("450.00"), Decimal("630.00"))
    assert await raw.fetch(BROKEN) == []
    assert (
        await raw.fetchval(
            "SELECT count(DISTINCT user_id) FROM payment_transactions WHERE user_id <> $1", PAYER.user_id
        )
        == 0
    )


def dumped(thing: object) -> bytes:
    return json.dumps(thing).encode()


def changed(data: st.DataObject, thing: Any, value: object) -> Any:
    """The same with something else in one place, at any depth."""
    if isinstance(thing, dict) and thing and data.draw(st.integers(0, 4)):
        key = data.draw(st.sampled_from(sorted(thing)))
        return {**thing, key: changed(data, thing[key], value)}
    return value
