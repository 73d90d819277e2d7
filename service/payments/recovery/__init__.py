"""Recovery: what a crash, an outage or a lost callback left is mended, by the same door as everything else.

It knows which jobs there are and how often they run. It must not move money by itself: what a job learns is settled
like a callback, so that any number of them, at once and again, have one effect.
"""

from __future__ import annotations

from service.feature import Offer, Rooms
from service.kernel.jobs import Job
from service.payments import reservations
from service.payments.recovery import missed_payments, open_orders, open_refunds, waiting_events
from service.payments.recovery.missed_payments import Positions

EXPIRE_EVERY_S = 60.0

EXPIRE: Job[Rooms] = Job("expire_reservations", EXPIRE_EVERY_S, reservations.expire, recovers=True)
# What is settled, in the order in which a start does it: first what asks nobody.
JOBS: tuple[Job[Rooms], ...] = (
    Job("apply_waiting_events", waiting_events.EVERY_S, waiting_events.apply_waiting_events, recovers=True),
    Job("settle_open_orders", open_orders.EVERY_S, open_orders.settle_open_orders, recovers=True),
    Job("pursue_refunds", open_refunds.EVERY_S, open_refunds.pursue_refunds, recovers=True),
    Job(
        "find_missed_payments",
        missed_payments.EVERY_S,
        missed_payments.find_missed_payments,
        recovers=True,
        beside_doors=True,
    ),
)
OFFER = Offer(Positions, lambda _: Positions(), lambda _: Positions())
