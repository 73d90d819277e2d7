"""Broadcasts: what an operator writes to many people at once, at the bot's pace, to each of them at most once.

It reads who people are and whether they have paid; it knows nothing of any other feature.
"""

from service.feature import REMOVED, Feature, owns, reads
from service.features.broadcasts import operators, sending
from service.ops.writing import idempotency, journal
from service.text import Text

FEATURE = Feature(
    name="broadcasts",
    title=Text(en="Broadcasts", ru="Рассылки"),
    erases={"broadcast_recipients": REMOVED},
    needs={
        "broadcasts": owns(
            *("broadcast_id", "text", "button_text", "button_url", "segment", "status", "gathered_to", "next_at"),
            *("created_at", "gathered_at", "finished_at"),
        ),
        "broadcast_recipients": owns("broadcast_id", "user_id", "status", "claimed_at", "error"),
        "users": reads("user_id", "is_active", "language", "language_code", "created_at"),
        "payments": reads("user_id", "status"),
        **idempotency.NEEDS,
        **journal.NEEDS,
    },
    routes=operators.ROUTES,
    jobs=sending.JOBS,
)
