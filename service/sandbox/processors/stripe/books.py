"""Stripe's objects of one account, what people and banks do to them, and the events that tell of it.

It must not know the API by which a shop asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from service.sandbox.processors.api import Bill, Json, NotPayable, shown
from service.sandbox.processors.callbacks import Callback, Sender
from service.sandbox.processors.stripe import objects

PLACE_OF_ID = "{CHECKOUT_SESSION_ID}"  # what a success_url may have in it
BY_ITSELF: Sequence[str | None] = (None, None)


class Books:
    """Everything by id, oldest first. `post` takes what is to be told to the shop."""

    def __init__(
        self, sender: Sender, post: Callable[[Callback], None], clock: Callable[[], float], *, livemode: bool
    ) -> None:
        self._sender, self._post, self._clock, self._livemode = sender, post, clock, livemode
        self.sessions: dict[str, Json] = {}
        self.intents: dict[str, Json] = {}
        self.charges: dict[str, Json] = {}
        self.refunds: dict[str, Json] = {}
        self.disputes: dict[str, Json] = {}
        self.events: dict[str, Json] = {}
        self._intent_metadata: dict[str, Json] = {}
        self._titles: dict[str, str] = {}
        self._request: Sequence[str | None] = BY_ITSELF  # the id and the key of the request under way

    # What a person does.

    def bill(self, payment_id: str) -> Bill | None:
        self._expire_the_old()
        session = self.sessions.get(payment_id)
        if session is None:
            return None
        paid = session["payment_status"] == "paid"
        return Bill(
            id=payment_id,
            title=self._titles[payment_id],
            amount=shown(session["amount_total"], session["currency"]),
            seller="Stripe account of the sandbox",
            status=f"{session['status']}, {session['payment_status']}",
            payable=session["status"] == "open",
            back=((session["success_url"] if paid else session["cancel_url"]) or "").replace(PLACE_OF_ID, payment_id),
        )

    def pay(self, payment_id: str) -> Json:
        """Pay with a test card: three events tell of the same money."""
        session = self._open(payment_id)
        intent = objects.intent(session, self._intent_metadata[payment_id], self._now())
        charge = objects.charge(intent)
        self.intents[intent["id"]], self.charges[charge["id"]] = intent, charge
        session |= {"status": "complete", "payment_status": "paid", "payment_intent": intent["id"], "url": None}
        self._tell("checkout.session.completed", session, about=payment_id)
        self._tell("payment_intent.succeeded", intent, about=payment_id)
        self._tell("charge.succeeded", charge, about=payment_id)
        return session

    def cancel(self, payment_id: str) -> Json:
        """As a person who leaves would find it a day later: the session expires."""
        return self._close(self._open(payment_id))

    def _open(self, session_id: str) -> Json:
        self._expire_the_old()
        session = self.sessions.get(session_id)
        if session is None or session["status"] != "open":
            raise NotPayable(f"no open session {session_id}")
        return session

    # What banks do.

    def fail_refund(self, refund_id: str) -> Json:
        """The bank gives a refund back, days after it had succeeded."""
        refund = self.refunds[refund_id]
        before = {"status": refund["status"]}
        refund |= {"status": "failed", "failure_reason": "expired_or_canceled_card"}
        charge = self.charges[refund["charge"]]
        charge |= {"amount_refunded": charge["amount_refunded"] - refund["amount"], "refunded": False}
        about = self._session_of(charge)
        self._tell("refund.updated", refund, about=about, before=before)
        self._tell("refund.failed", refund, about=about)
        return refund

    def dispute(self, payment: str, amount: int | None = None) -> Json:
        """A payer disputes a charge, given by its id or its PaymentIntent's, in whole or in part."""
        charge = self.charges[self.intents[payment]["latest_charge"] if payment in self.intents else payment]
        dispute = objects.dispute(charge, charge["amount"] if amount is None else amount, self._now())
        charge["disputed"] = True
        self.disputes[dispute["id"]] = dispute
        return self._tell_dispute("created", dispute)

    def withdraw(self, dispute_id: str) -> Json:
        return self._tell_dispute("funds_withdrawn", self._moved(dispute_id, -1))

    def reinstate(self, dispute_id: str) -> Json:
        return self._tell_dispute("funds_reinstated", self._moved(dispute_id, 1))

    def close(self, dispute_id: str, status: str) -> Json:
        """won or lost."""
        dispute = self.disputes[dispute_id]
        dispute["status"] = status
        return self._tell_dispute("closed", dispute)

    def _moved(self, dispute_id: str, sign: int) -> Json:
        dispute = self.disputes[dispute_id]
        amount = {"amount": sign * dispute["amount"], "currency": dispute["currency"], "created": self._now()}
        dispute["balance_transactions"].append({"id": objects.new_id("txn_1"), **amount, "type": "adjustment"})
        return dispute

    def _tell_dispute(self, what: str, dispute: Json) -> Json:
        about = self._session_of(self.charges[dispute["charge"]])
        return self._tell(f"charge.dispute.{what}", dispute, about=about)

    # What follows from it.

    def _refund_charge(self, charge: Json, amount: int, metadata: Json, reason: str | None) -> Json:
        refund = objects.refund(charge, amount, metadata, self._now()) | {"reason": reason}
        self.refunds[refund["id"]] = refund
        before = {"amount_refunded": charge["amount_refunded"], "refunded": charge["refunded"]}
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
        about = self._session_of(charge)
        self._tell("refund.created", refund, about=about)
        self._tell("charge.refunded", charge, about=about, before=before)
        destination = refund["destination_details"]
        card = destination["card"] | {"reference": "8203000000000000", "reference_status": "available"}
        refund["destination_details"] = destination | {"card": card}
        self._tell("refund.updated", refund, about=about, before={"destination_details": destination})
        return refund

    def _close(self, session: Json) -> Json:
        session |= {"status": "expired", "url": None}
        return self._tell("checkout.session.expired", session, about=session["id"])

    def _expire_the_old(self) -> None:
        for session in self.sessions.values():
            if session["status"] == "open" and session["expires_at"] <= self._clock():
                self._close(session)

    def _session_of(self, charge: Json) -> str:
        wanted = charge["payment_intent"]
        return next((one["id"] for one in self.sessions.values() if one["payment_intent"] == wanted), "")

    def _tell(self, kind: str, thing: Json, *, about: str, before: Json | None = None) -> Json:
        data: Json = {"object": thing} | ({"previous_attributes": before} if before else {})
        snapshot = orjson.loads(orjson.dumps(data))
        event = objects.event(kind, snapshot, self._now(), livemode=self._livemode, request=self._request)
        self.events[event["id"]] = event
        self._post(Callback(self._sender, event["id"], kind, about, orjson.dumps(event)))
        return thing

    def _now(self) -> int:
        return int(self._clock())
