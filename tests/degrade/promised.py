"""What people are promised while a table is missing, written by hand, row by row.

It knows names that people, operators and processors use; it knows no manifest, so that a wrong one is noticed. What a
row does not name goes on as if nothing were missing; of several tables that are missing, each takes what its row says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

SORRY = "⚠️ База временно недоступна"
SORRY_IN_ENGLISH = "⚠️ Database temporarily unavailable"

Names = frozenset[str]
# What becomes of money that processors or Telegram tell of: credited at once; kept, and credited once the table is
# back; or refused with a 503, so that they tell again.
Money = Literal["credited", "kept", "refused"]
NONE: Names = frozenset()


@dataclass(frozen=True, kw_only=True)
class Row:
    """off: the switches that /health shows as off. says: the commands, buttons and first words of callback data that
    answer with the text. closed: routes that answer 503. rests: jobs that do not run. puts_off: jobs that run, and may
    leave what they find for later. paid: whether paid models work. shut: not even the doors are open.
    """

    off: Names = NONE
    says: Names = NONE
    closed: Names = NONE
    rests: Names = NONE
    puts_off: Names = NONE
    paid: bool = True
    money: Money = "credited"
    shut: bool = False


def names(text: str) -> Names:
    """One on each line, or separated by a comma."""
    return frozenset(name.strip() for line in text.splitlines() for name in line.split(",") if name.strip())


def together(rows: Iterable[Row]) -> Row:
    """What several missing tables take."""
    taken = Row()
    for row in rows:
        sets = {one.name: getattr(taken, one.name) | getattr(row, one.name) for one in fields(Row) if one.name in SETS}
        worst = max(taken.money, row.money, key=("credited", "kept", "refused").index)
        taken = Row(**sets, paid=taken.paid and row.paid, money=worst, shut=taken.shut or row.shut)
    return taken


SETS = ("off", "says", "closed", "rests", "puts_off")

USERS = Row(
    shut=True,
    paid=False,
    money="refused",
    off=names("users, diagnostics, referrals"),
    says=names(
        """
        /start, /menu, /help, /language, ❓ Help, ❓ Помощь, 🌐 Language, 🌐 Язык, language:
        (my_chat_member), (message), (callback_query)
        /stats, /failures
        /partner, 🤝 Партнёрка, 🤝 Referrals
        """
    ),
    closed=names("GET /admin/failures, GET /admin/users/{user_id}/stats"),
    rests=names("write_generation_events, prune_generation_events, link_referrals"),
    puts_off=names("tell_payers"),  # recovery settles what was paid; which language its payer speaks is not known
)

# Balance and top-up say the text; what processors tell is kept until it can be applied.
MONEY = Row(
    money="kept",
    off=names("payments"),
    says=names(
        """
        /balance, 💰 Баланс, 💰 Balance, balance:
        /topup, ➕ Пополнить, ➕ Top up, topup:
        /paysupport, (pre_checkout_query)
        """
    ),
    closed=names("GET /payments/return, GET /admin/payments"),
    rests=names("tell_payers, expire_reservations"),
)
# What moved while there was no ledger is booked from the balances.
BOOKING = Row(off=names("payment_booking"), rests=names("book_differences"))
# What is found out about money is kept before it is applied.
RECOVERY = Row(
    off=names("payment_recovery"),
    rests=names("apply_waiting_events, settle_open_orders, pursue_refunds, find_missed_payments"),
)
# Pages of operators that tell everything of a payment, or of somebody's money.
RECORDS = Row(
    off=names("payment_records"),
    closed=names("GET /admin/payments/{payment_id}, GET /admin/users/{user_id}/ledger"),
)
WRITES = Row(
    off=names("idempotency_keys"),
    closed=names("POST /admin/users/{user_id}/adjust, POST /admin/payments/{payment_id}/refund"),
    rests=names("forget_keys"),
)
PAID = Row(paid=False, off=names("paid_generation"), rests=names("prolong_reservations"))
REWARDS = Row(off=names("referral_rewards"), rests=names("reward_referrers, catch_up_rewards, tell_referrers"))
SAVING = Row(off=names("project_saving"), says=names("save:"))

LOG = Row(off=names("admin_log"), closed=names("GET /admin/log"))
ERASURE = Row(off=names("erasure"), closed=names("POST /admin/users/{user_id}/erase"))
BROADCASTS = Row(
    off=names("broadcasts"),
    closed=names(
        """
        GET /admin/broadcasts, POST /admin/broadcasts, GET /admin/broadcasts/{broadcast_id}
        POST /admin/broadcasts/{broadcast_id}/cancel, POST /admin/broadcasts/{broadcast_id}/resume
        """
    ),
    rests=names("send_broadcasts, give_up_broadcasts"),
)

ORDERS = together([MONEY, RECOVERY, RECORDS, WRITES])
WALLET = together([ORDERS, PAID, REWARDS, BOOKING])
QUEUE = together(
    [
        PAID,
        Row(
            off=names("generation_jobs"),
            says=names("cancel:, again:"),
            closed=names("POST /generation/callback/{provider}, GET /admin/jobs"),
            rests=names("rescue_jobs, deliver_results, prune_jobs"),
        ),
    ]
)
PROJECTS = together(
    [
        SAVING,
        Row(
            off=names("projects"),
            says=names(
                """
                /projects, 💼 Мои проекты, 💼 My projects, projects:
                /newproject, project_new:, /renameproject, project_name:
                project:, project_delete:, project_erase:, project_result:, project_forget:
                """
            ),
        ),
    ]
)

PROMISED: dict[str, Row] = {
    "users": together([USERS, BROADCASTS]),
    # Duplicates are known from memory; poison is only logged.
    "processed_updates": Row(off=names("processed_updates"), rests=names("prune_processed_updates")),
    "failed_updates": Row(off=names("failed_updates"), rests=names("prune_failed_updates")),
    "balances": WALLET,
    "payment_reservations": WALLET,
    "payment_effects": WALLET,
    "payments": together([ORDERS, PAID, REWARDS, BROADCASTS, ERASURE]),
    # What is paid for with a balance needs neither.
    "payment_references": ORDERS,
    "payment_refunds": ORDERS,
    # Nothing that is told of money could be kept.
    "payment_events": together(
        [
            RECOVERY,
            RECORDS,
            ERASURE,
            Row(
                money="refused",
                off=names("payment_events, telegram_payments, yookassa, stripe, polar"),
                says=names("(money)"),
                closed=names(
                    """
                    POST /payments/yookassa, POST /payments/stripe, POST /payments/polar
                    GET /admin/payments/review, POST /admin/payments/review/{event_id}/retry
                    POST /admin/payments/review/{event_id}/close
                    """
                ),
            ),
        ]
    ),
    # Money works, and the difference is booked on return.
    "payment_transactions": together([RECORDS, BOOKING, Row(off=names("payment_transactions"))]),
    "idempotency_keys": together([WRITES, BROADCASTS, ERASURE]),
    # Nobody changes anything without saying so.
    "admin_log": together([LOG, WRITES, BROADCASTS, ERASURE]),
    "erased_people": ERASURE,
    "broadcasts": BROADCASTS,
    "broadcast_recipients": BROADCASTS,
    # Free models run in the process; there is nothing to call off, to repeat or to save.
    "generation_jobs": together([QUEUE, SAVING]),
    "instances": QUEUE,
    "generation_events": Row(
        off=names("diagnostics"),
        says=names("/stats, /failures"),
        closed=names("GET /admin/failures, GET /admin/users/{user_id}/stats"),
        rests=names("write_generation_events, prune_generation_events"),
    ),
    "tail_events": Row(
        off=names("tail"), closed=names("GET /admin/tail"), rests=names("write_tail_events, prune_tail_events")
    ),
    "projects": PROJECTS,
    "project_history": PROJECTS,
    "referrals": together(
        [
            REWARDS,
            Row(
                off=names("referrals"),
                says=names("/partner, 🤝 Партнёрка, 🤝 Referrals"),
                rests=names("link_referrals"),
            ),
        ]
    ),
}
