"""What operators see and do about money. Everything here is served under /admin, behind the guard.

The switches: `payment_events` (what could not be applied), `payment_records` (everything about a payment or a person)
and `idempotency_keys` (writes); the list of payments belongs to the switch of payments.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.feature import Erasing, Feature, HttpRoute, Need
from service.ops.writing import idempotency, journal
from service.payments.operators import routes
from service.text import Text

OF_PAYMENTS: tuple[HttpRoute, ...] = routes.OF_PAYMENTS


def reviewing(inbox: Need) -> Feature:
    """What processors said and could not be applied."""
    return Feature(
        name="payment_events",
        title=Text(en="What processors said", ru="Сообщения платёжных систем"),
        needs={"payment_events": inbox},
        # The books need who told of which payment and when, which are columns; what was told names people.
        erases={
            "payment_events": Erasing(
                blanks={"body": "{}"},
                mentions=("body",),
                refers=(("payment_id", "payments", "payment_id"), ("reference", "payments", "provider_payment_id")),
            )
        },
        routes=routes.OF_EVENTS,
    )


def reading(money: Mapping[str, Need]) -> Feature:
    """Pages that put together what several tables know."""
    return Feature(
        name="payment_records",
        title=Text(en="Records of payments", ru="Сведения о платежах"),
        needs=money,
        routes=routes.OF_RECORDS,
    )


def writing(money: Mapping[str, Need]) -> Feature:
    """Adjustments and refunds, which need a key and the tables of the money."""
    return Feature(
        name="idempotency_keys",
        title=Text(en="Adjustments and refunds", ru="Корректировки и возвраты"),
        needs={**idempotency.NEEDS, **journal.NEEDS, **money},
        erases={"idempotency_keys": Erasing(removes=True, mentions=("scope", "response"))},
        routes=routes.WRITES,
        jobs=(idempotency.JOB,),
    )
