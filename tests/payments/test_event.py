"""What an event makes of a payment and of a refund: every pair, against a table written by hand."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.payments.event import (
    OPEN,
    PAYMENT_MOVES,
    REFUND_MOVES,
    Change,
    Money,
    Move,
    Payment,
    PaymentEvent,
    PaymentStatus,
    Refund,
    RefundStatus,
    Refusal,
    is_of_refund,
    payment_step,
    refund_step,
    roubles_of,
)

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PAID = Money(Decimal("150.00"), "RUB")

# What each change makes of a payment in each status; "" where it is ignored.
PAYMENTS = """
                     authorized           paid       canceled  expired
creating             waiting_for_capture  succeeded  canceled  expired
pending              waiting_for_capture  succeeded  canceled  expired
waiting_for_capture  -                    succeeded  canceled  expired
succeeded            -                    -          -         -
canceled             -                    succeeded  -         -
expired              -                    succeeded  canceled  -
review               -                    succeeded  canceled  -
"""
# And of a refund; unknown is one that nobody told of yet.
REFUNDS = """
           refund_pending  refunded   returned
unknown    pending         succeeded  failed
requested  pending         succeeded  failed
pending    -               succeeded  failed
succeeded  -               -          failed
failed     -               -          -
"""


def pairs(table: str) -> list[tuple[str, str, str]]:
    first, *lines = table.strip().splitlines()
    return [
        (status, change, outcome.strip("-"))
        for status, *outcomes in map(str.split, lines)
        for change, outcome in zip(first.split(), outcomes, strict=True)
    ]


def payment(status: Any = "succeeded", **fields: Any) -> Payment:
    row = {
        "payment_id": UUID(int=1),
        "user_id": 7,
        "provider": "yookassa",
        "provider_payment_id": "p1",
        "status": status,
        "amount": PAID.amount,
        "currency": "RUB",
        "credit_rub": Decimal("150.00"),
        "refunded_amount": Decimal("0.00"),
        "refunded_rub": Decimal("0.00"),
        "pack_id": "small",
        "pay_url": None,
        "test": False,
        "created_at": NOON,
        "expires_at": NOON,
        "settled_at": None,
        "told_at": None,
    }
    return Payment(**{**row, **fields})


def refund(status: Any, amount: str = "50.00") -> Refund | None:
    if status == "unknown":
        return None
    none = Decimal("0.00")
    return Refund(UUID(int=2), UUID(int=1), "yookassa", "r1", "refund", status, Decimal(amount), none, None, "", NOON)


def event(change: Any, money: Money | None = PAID, **fields: Any) -> PaymentEvent:
    return PaymentEvent(provider="yookassa", delivery_key="d", name="n", change=change, money=money, **fields)


def test_the_tables_leave_nothing_out() -> None:
    assert {status for status, _, _ in pairs(PAYMENTS)} == set(PAYMENT_MOVES) == set(get_args(PaymentStatus))
    assert {status for status, _, _ in pairs(REFUNDS)} == {"unknown", *get_args(RefundStatus)}
    told = {change for _, change, _ in pairs(PAYMENTS) + pairs(REFUNDS)}
    assert told | {"nothing", "review"} == set(get_args(Change))


@pytest.mark.parametrize(("status", "change", "outcome"), pairs(PAYMENTS))
def test_payments(status: str, change: str, outcome: str) -> None:
    """Cases 5 and 8: the state decides and not who came last; nothing undoes a credit."""
    step = payment_step(event(change), payment(status))
    if outcome:
        assert step == Move(outcome)
    else:
        assert step == Refusal("ignored", f"the payment is {status} already")


@pytest.mark.parametrize(("status", "change", "outcome"), pairs(REFUNDS))
def test_refunds(status: str, change: str, outcome: str) -> None:
    step = refund_step(event(change, Money(Decimal("50.00"), "RUB")), payment(), refund(status))
    if outcome:
        assert step == Move(outcome)
    else:
        assert step == Refusal("ignored", f"the refund is {status} already")


@pytest.mark.parametrize("status", sorted(set(PAYMENT_MOVES) - {"succeeded"}))
@pytest.mark.parametrize("change", ["refund_pending", "refunded", "returned"])
def test_a_refund_waits_for_its_payment(status: str, change: str) -> None:
    """Case 4: refund or dispute before payment."""
    assert refund_step(event(change), payment(status), None).status == "waiting"


@pytest.mark.parametrize("moves", [PAYMENT_MOVES, REFUND_MOVES])
def test_nobody_leaves_the_end(moves: dict[str, frozenset[str]]) -> None:
    """Moves are monotonic: from every status an end is reached, and none is met twice but by a review."""
    ends = {status for status, next_ones in moves.items() if not next_ones}
    assert len(ends) == 1
    assert all(status not in moves[status] for status in moves)
    for first, second in itertools.permutations(moves, 2):
        if second in moves[first] and first in moves[second]:
            assert {first, second} == {"canceled", "review"}


def test_open_payments_are_those_that_can_still_expire() -> None:
    assert {status for status, next_ones in PAYMENT_MOVES.items() if "expired" in next_ones} == OPEN
    assert all(payment(status).is_open == (status in OPEN) for status in PAYMENT_MOVES)


@pytest.mark.parametrize("change", ["paid", "authorized"])
@pytest.mark.parametrize(
    "money",
    [None, Money(Decimal("149.99"), "RUB"), Money(Decimal("150.01"), "RUB"), Money(Decimal("150.00"), "USD")],
)
def test_another_amount_is_for_review(change: str, money: Money | None) -> None:
    """Case 37: less, more, or another currency."""
    assert payment_step(event(change, money), payment("pending")).status == "review"


def test_somebody_else_paid() -> None:
    """Case 36: the processor knows another payer than we."""
    assert payment_step(event("paid", user_id=8), payment("pending")).status == "review"
    assert payment_step(event("paid", user_id=7), payment("pending")) == Move("succeeded")


def test_an_end_without_money_asks_for_no_amount() -> None:
    for change in ("canceled", "expired"):
        assert payment_step(event(change, None, user_id=8), payment("pending")) == Move(change)


@pytest.mark.parametrize(
    ("before", "amount", "status"),
    [
        ("0.00", "150.00", "succeeded"),
        ("0.00", "150.01", "review"),
        ("149.99", "0.01", "succeeded"),
        ("150.00", "0.01", "review"),
    ],
)
def test_no_more_goes_back_than_came(before: str, amount: str, status: str) -> None:
    """Case 39."""
    step = refund_step(event("refunded", Money(Decimal(amount), "RUB")), payment(refunded_amount=Decimal(before)), None)
    assert step.status == status


def test_a_refund_may_fail_whatever_else_went_back() -> None:
    step = refund_step(event("returned"), payment(refunded_amount=Decimal("150.00")), None)
    assert step == Move("failed")


def test_which_changes_are_of_refunds() -> None:
    of_refunds = {change for change in get_args(Change) if is_of_refund(event(change))}
    assert of_refunds == {"refund_pending", "refunded", "returned"}


amounts = st.integers(1, 10**11).map(lambda cents: Decimal(cents) / 100)


@given(parts=st.lists(st.integers(1, 10**9), min_size=1, max_size=12), credit=amounts)
def test_parts_add_up_to_the_credit(parts: list[int], credit: Decimal) -> None:
    """Whatever the amount, its parts and their order: each takes something or nothing, and all take the credit."""
    row = payment(amount=Decimal(sum(parts)) / 100, credit_rub=credit)
    sums = [roubles_of(row, Decimal(so_far) / 100) for so_far in itertools.accumulate(parts)]
    taken = [after - before for before, after in itertools.pairwise([Decimal(0), *sums])]
    assert min(taken) >= 0
    assert sum(taken) == sums[-1] == credit
    assert all(one == one.quantize(Decimal("0.01")) for one in taken)
