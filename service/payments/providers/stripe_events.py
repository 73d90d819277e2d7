"""What Stripe's events say, in our words. Pure: it knows their names and shapes, old and new, and calls nobody.

The state of the object counts, never the name of the event: names say "succeeded" around what did not succeed. States
only grow (paid stays paid, a refund that failed stays failed), so of two events of the same second either may come
first. https://docs.stripe.com/api/events/types
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from service.errors import Invalid
from service.payments.event import Change, Money, PaymentEvent, Reference, Report
from service.payments.providers import strict
from service.payments.providers.strict import Object

NAME = "stripe"
COMPLETED = "checkout.session.completed"
EXPIRED = "checkout.session.expired"
REFUND_UPDATED = "refund.updated"
INTENT_PREFIX = "pi_"
NOT_SOLD = "subscriptions are not sold yet"

Say = Callable[..., PaymentEvent]  # an event of which the key and the name are known
Reader = Callable[[Say, Object], PaymentEvent]


def parse(body: bytes, *, live: bool) -> Report:
    """Raises Invalid where it is no event. An event around something odd is Stripe's all the same, and for review."""
    event = strict.read(body)
    name = strict.text(event, "type")
    say = partial(PaymentEvent, provider=NAME, delivery_key=strict.text(event, "id"), name=name)
    thing, is_live = strict.mapping(event, "data", "object"), strict.boolean(event, "livemode")
    try:
        said = _reader(name)(say, thing)
    except Invalid as odd:
        return Report(say(change="review", reason=odd.message), body)
    stranger = _stranger(event, is_live, live)
    if stranger and said.change != "nothing":
        said = msgspec.structs.replace(said, change="review", reason=stranger)
    return Report(said, body)


def written(name: str, key: str, thing: Object, *, live: bool) -> bytes:
    """An object that we asked for, as the event that would have told of it; what is stored can be parsed again."""
    return strict.written({"id": key, "object": "event", "type": name, "livemode": live, "data": {"object": thing}})


def id_at(thing: Object, key: str) -> str | None:
    """The id of another object: as such, or with all of that object around it."""
    return strict.optional_text(thing, *((key, "id") if isinstance(thing.get(key), dict) else (key,)))


def _reader(name: str) -> Reader:
    if name.startswith(("invoice.", "customer.subscription.")):
        return _of_a_subscription
    return READERS.get(name, _of_no_consequence)


def _stranger(event: Object, is_live: bool, live: bool) -> str:
    """Why an event of money is not about our account in the mode of our key; "" where it is."""
    if is_live != live:
        return "live money, and our key is for tests" if is_live else "test money, and our key is live"
    return "of a connected account" if event.get("account") else ""


def _of_no_consequence(say: Say, _: Object) -> PaymentEvent:
    return say(change="nothing")


def _of_a_subscription(say: Say, _: Object) -> PaymentEvent:
    """Invoices, and sessions that begin a subscription or keep a card for one."""
    return say(change="nothing", reason=NOT_SOLD)


def _session(say: Say, session: Object) -> PaymentEvent:
    """A checkout that its payer completed; with a delayed method it is paid days later, and told again."""
    if session.get("mode") != "payment":
        return _of_a_subscription(say, session)
    status = strict.loose_text(session, "payment_status")
    if status == "no_payment_required":
        return _about(say, session, change="review", reason="completed without a payment")
    if status != "paid":
        return say(change="nothing", reason=f"the session is {status}")
    return _paid(_about, say, session, "amount_total")


def _session_closed(say: Say, session: Object) -> PaymentEvent:
    """Expired, or its delayed payment failed."""
    if session.get("mode") != "payment":
        return _of_a_subscription(say, session)
    status = strict.loose_text(session, "payment_status")
    if status != "unpaid":
        return say(change="nothing", reason=f"the session is {status}")
    return _about(say, session, change="expired" if session.get("status") == "expired" else "canceled")


def _intent(say: Say, intent: Object) -> PaymentEvent:
    if intent.get("status") != "succeeded":
        return say(change="nothing", reason=f"the payment intent is {strict.loose_text(intent, 'status')}")
    return _paid(_about_intent, say, intent, "amount_received")


def _charge(say: Say, charge: Object) -> PaymentEvent:
    if charge.get("status") != "succeeded" or charge.get("paid") is not True or charge.get("captured") is not True:
        return say(change="nothing", reason="the charge is not paid and captured")
    return _paid(_about_charge, say, charge, "amount_captured" if "amount_captured" in charge else "amount")


def _paid(about: Callable[..., PaymentEvent], say: Say, thing: Object, amount: str) -> PaymentEvent:
    """The session, its intent and the charge tell of the same money: one effect key, by the intent where there is one.

    What paid an invoice named it until 2025-03-31; what does so now is without our metadata, and unknown to us.
    """
    if thing.get("invoice"):
        return _of_a_subscription(say, thing)
    money = _money(thing, amount)
    if not money.amount:
        return about(say, thing, change="review", reason="paid, and nothing was charged")
    event = about(say, thing, change="paid", money=money)
    ids = [one for _, one in event.references]
    effect = next((one for one in ids if one.startswith(INTENT_PREFIX)), ids[0])
    return msgspec.structs.replace(event, effect_key=f"{NAME}:payment:{effect}")


def _about(say: Say, session: Object, **said: object) -> PaymentEvent:
    return _ours(say, session, strict.text(session, "id"), id_at(session, "payment_intent"), **said)


def _about_intent(say: Say, intent: Object, **said: object) -> PaymentEvent:
    old = strict.optional_text(intent, "charges", "data", 0, "id")  # before 2022-11-15
    return _ours(say, intent, strict.text(intent, "id"), id_at(intent, "latest_charge") or old, **said)


def _about_charge(say: Say, charge: Object, **said: object) -> PaymentEvent:
    return _ours(say, charge, id_at(charge, "payment_intent"), strict.text(charge, "id"), **said)


def _ours(say: Say, thing: Object, *ids: str | None, **said: object) -> PaymentEvent:
    order_id = strict.uuid_of(strict.at(thing, "metadata", "payment_id"))
    return say(references=_references(*ids), order_id=order_id, **said)


def _refund(say: Say, refund: Object) -> PaymentEvent:
    """A refund tells of itself from its beginning to its end; of a failed one the money is with us again."""
    status = strict.loose_text(refund, "status")
    change = REFUND_CHANGES.get(status or "")
    if change is None:
        return say(change="nothing", reason=f"the refund is {status}")
    refund_id = strict.text(refund, "id")
    return _ours(
        say,
        refund,
        id_at(refund, "payment_intent"),
        id_at(refund, "charge"),
        change=change,
        money=_money(refund, "amount"),
        effect_key=f"{NAME}:refund:{refund_id}",
        refund_id=refund_id,
        request_id=strict.uuid_of(strict.at(refund, "metadata", "refund_id")),
    )


def _dispute(change: Change, say: Say, dispute: Object) -> PaymentEvent:
    """The bank took the disputed money, or gave it back. An inquiry (warning_...) moves none."""
    status = strict.loose_text(dispute, "status") or ""
    if status.startswith("warning_") or status == "prevented":
        return say(change="nothing", reason=f"the dispute is {status}")
    dispute_id = strict.text(dispute, "id")
    return say(
        change=change,
        references=_references(id_at(dispute, "payment_intent"), id_at(dispute, "charge")),
        money=_money(dispute, "amount"),
        effect_key=f"{NAME}:dispute:{dispute_id}",
        refund_id=dispute_id,
        refund_kind="dispute",
    )


def _money(thing: Object, amount: str) -> Money:
    return strict.minor(strict.whole(thing, amount), strict.currency(thing, "currency"))


def _references(*ids: str | None) -> tuple[Reference, ...]:
    return tuple((NAME, one) for one in ids if one)


REFUND_CHANGES: dict[str, Change] = {
    "pending": "refund_pending",
    "requires_action": "refund_pending",
    "succeeded": "refunded",
    "failed": "returned",
    "canceled": "returned",
}
# What an endpoint has to be subscribed to. Not here: charge.refunded, whose cumulative sum goes down again when
# a refund fails (each refund tells of itself); payment_intent.payment_failed (another card can still pay the session);
# the beginning and the end of a dispute (the money moves in between).
READERS: dict[str, Reader] = {
    COMPLETED: _session,
    "checkout.session.async_payment_succeeded": _session,
    "checkout.session.async_payment_failed": _session_closed,
    EXPIRED: _session_closed,
    "payment_intent.succeeded": _intent,
    "charge.succeeded": _charge,
    "refund.created": _refund,
    REFUND_UPDATED: _refund,
    "refund.failed": _refund,
    "charge.refund.updated": _refund,
    "charge.dispute.funds_withdrawn": partial(_dispute, "refunded"),
    "charge.dispute.funds_reinstated": partial(_dispute, "returned"),
}
