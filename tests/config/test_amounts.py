"""Amounts as people read them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from service.catalog import amounts


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        ("300", "RUB", "300 ₽"),
        ("12.5", "RUB", "12.50 ₽"),
        ("0.00", "RUB", "0 ₽"),
        ("3.90", "USD", "$3.90"),
        ("230", "XTR", "230 ⭐"),
        ("15", "UAH", "15 UAH"),
    ],
)
def test_a_sign_where_there_is_one(amount: str, currency: str, written: str) -> None:
    assert amounts.of(Decimal(amount), currency) == written


def test_what_came_and_what_went() -> None:
    assert [amounts.signed(Decimal(one)) for one in ("300", "-12.50")] == ["+300 ₽", "-12.50 ₽"]
