"""How amounts are written for people. Pure: it knows signs of currencies, and no sentence."""

from __future__ import annotations

from decimal import Decimal

from service.catalog.currency import ROUBLE, STARS
from service.payments.event import Money

SIGNS = {ROUBLE: "{} ₽", STARS: "{} ⭐", "USD": "${}", "EUR": "€{}", "GBP": "£{}"}


def of(money: Money) -> str:
    """`300 ₽`, `$3.90`, `230 ⭐`, `15 UAH`."""
    return SIGNS.get(money.currency, f"{{}} {money.currency}").format(_plain(money.amount))


def roubles(amount: Decimal) -> str:
    return of(Money(amount, ROUBLE))


def signed(amount: Decimal) -> str:
    """`+300 ₽`, `-12.50 ₽`."""
    return f"{'-' if amount < 0 else '+'}{roubles(abs(amount))}"


def _plain(amount: Decimal) -> str:
    return f"{amount:.2f}".removesuffix(".00")
