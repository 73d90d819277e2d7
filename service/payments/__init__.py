"""Payments: money's door and money's room. Features know it by `wallet` alone.

The switches: `payment_transactions` (the ledger), `payment_booking` (what it missed), `payments` (everything else about
money), `payment_recovery`, `payment_events`, `payment_records` and `idempotency_keys` (what operators see and do), and
one for each processor, whose door opens only onto an inbox.
"""

from __future__ import annotations

from collections.abc import Callable

from service.config import Config
from service.feature import KEPT, Erasing, Feature, HttpRoute, Menu, Offer, owns
from service.payments import callback, inbox, ledger, operators, recovery, wallet
from service.payments.bot import balance, checkout, notices, support, texts, topup
from service.payments.bot import callback as back
from service.payments.callback import Till
from service.payments.providers import Providers, opened, polar, stripe, yookassa
from service.payments.settle import Settlement, SettlementInTables
from service.telegram.router import Router
from service.text import Text

INBOX = owns(
    "id",
    "provider",
    "delivery_key",
    "name",
    "reference",
    "body",
    "status",
    "reason",
    "payment_id",
    "deliveries",
    "attempts",
    "received_at",
    "due_at",
    "finished_at",
)
PAYMENTS = Feature(
    name="payments",
    title=Text(en="Balances and top-ups", ru="Баланс и пополнение"),
    # What refers to his payments stands before them: as soon as those are nobody's, it is not found by them.
    erases={
        "payment_refunds": Erasing(blanks={"reason": ""}, refers=(("payment_id", "payments", "payment_id"),)),
        "payments": Erasing(blanks={"pay_url": None}),
        "balances": KEPT,
        "payment_effects": Erasing(names_him=("effect_key",)),
        "payment_reservations": KEPT,
    },
    needs={
        **wallet.NEEDS,
        "payments": owns(
            "payment_id",
            "user_id",
            "provider",
            "provider_payment_id",
            "status",
            "amount",
            "currency",
            "credit_rub",
            "refunded_amount",
            "refunded_rub",
            "pack_id",
            "pay_url",
            "test",
            "created_at",
            "expires_at",
            "settled_at",
            "told_at",
            "checks",
            "check_at",
        ),
        "payment_references": owns("provider", "reference", "payment_id"),
        "payment_refunds": owns(
            "refund_id",
            "payment_id",
            "provider",
            "provider_refund_id",
            "kind",
            "status",
            "amount",
            "amount_rub",
            "reservation_id",
            "reason",
            "created_at",
            "checks",
            "check_at",
        ),
    },
    menu=Menu(
        buttons=(texts.BALANCE_BUTTON, texts.TOPUP_BUTTON),
        commands=(
            ("balance", texts.BALANCE_COMMAND),
            ("topup", texts.TOPUP_COMMAND),
            ("paysupport", texts.PAYSUPPORT_COMMAND),
        ),
    ),
    router=Router.merge((balance.router, topup.router, support.router, checkout.questions)),
    routes=(back.ROUTE, *operators.OF_PAYMENTS),
    jobs=(notices.JOB, recovery.EXPIRE),
    offers=(
        Offer(Settlement, lambda _: SettlementInTables(), lambda _: Settlement()),
        Offer(Providers, opened, opened),
        Offer(Till, Till.opened, Till.opened),
    ),
)
# The ledger takes postings without a balance; what it missed can only be told from both.
BOOKING = Feature(
    name="payment_booking",
    title=Text(en="Booking of what moved without the ledger", ru="Проводка движений, пропущенных журналом"),
    needs={**wallet.NEEDS, **ledger.FEATURE.needs},
    jobs=(ledger.JOB,),
)
# Whatever it learns goes through the inbox, as a callback does.
RECOVERY = Feature(
    name="payment_recovery",
    title=Text(en="Recovery of payments", ru="Восстановление платежей"),
    needs={**PAYMENTS.needs, "payment_events": INBOX},
    jobs=recovery.JOBS,
    offers=(recovery.OFFER,),
    gauges=(inbox.GAUGES,),
)


def _processor(
    name: str, title: Text, requires: Callable[[Config], str | None] | None = None, routes: tuple[HttpRoute, ...] = ()
) -> Feature:
    return Feature(name=name, title=title, needs={"payment_events": INBOX}, requires=requires, routes=routes)


# No settings are asked for: Stars need none. Its door is Telegram's own.
TELEGRAM = Feature(
    name="telegram_payments",
    title=Text(en="Payments inside Telegram", ru="Оплата внутри Telegram"),
    needs={"payment_events": INBOX},
    router=checkout.money,
)
PROCESSORS = (
    _processor("yookassa", yookassa.YooKassa.title, yookassa.requires, (callback.route("yookassa"),)),
    _processor("stripe", stripe.Stripe.title, stripe.requires, (callback.route("stripe"),)),
    _processor("polar", polar.Polar.title, polar.requires, (callback.route("polar"),)),
)

FEATURES = (
    ledger.FEATURE,
    BOOKING,
    operators.reviewing(INBOX),
    PAYMENTS,
    RECOVERY,
    operators.reading({**RECOVERY.needs, **ledger.FEATURE.needs}),
    operators.writing(PAYMENTS.needs),
    TELEGRAM,
    *PROCESSORS,
)
