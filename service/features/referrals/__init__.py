"""Referrals: who brought whom by his link, and the share of a friend's first top-up that is his for it.

Two switches: people are linked and see what came of their link; rewards need the tables of money beside that. It knows
of other rooms only what they wrote down: users how somebody started, payments what he paid.
"""

from service.feature import KEPT, Event, Feature, Hear, Menu, Rooms, owns, reads
from service.features.referrals import handlers, linking, notices, rewarding, texts
from service.kernel.jobs import JobLoop
from service.payments import wallet
from service.text import Text


def _pokes(job: str) -> Hear:
    def hear(rooms: Rooms, _event: Event) -> None:
        rooms.of(JobLoop).poke(job)

    return hear


REFERRALS = Feature(
    name="referrals",
    title=Text(en="Referrals", ru="Партнёрка"),
    erases={"referrals": KEPT},
    needs={
        "referrals": owns("id", "referrer_id", "referred_id", "reward_rub", "created_at", "rewarded_at", "void_reason"),
        "users": reads("user_id", "started_with", "started_at", "created_at"),
    },
    menu=Menu(buttons=(texts.BUTTON,), commands=(("partner", texts.COMMAND),)),
    router=handlers.router,
    jobs=(linking.JOB,),
    hears={"started": _pokes(linking.JOB.name)},
)
REWARDS = Feature(
    name="referral_rewards",
    title=Text(en="Rewards for referrals", ru="Награды партнёрам"),
    needs={
        "referrals": owns("id", "referrer_id", "referred_id", "reward_rub", "rewarded_at", "tell_at", "void_reason"),
        **wallet.NEEDS,
        "payments": reads(
            "payment_id", "user_id", "status", "credit_rub", "refunded_rub", "test", "created_at", "settled_at"
        ),
    },
    jobs=(*rewarding.JOBS, notices.JOB),
    hears={"payment_settled": _pokes(rewarding.PROMPT)},
)

FEATURES = (REFERRALS, REWARDS)
