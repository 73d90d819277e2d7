"""How amounts are written for people. Pure: it knows signs of currencies, and no sentence."""

from __future__ import annotations

from decimal import Decimal

from service.catalog.currency import ROUBLE, STARS

SIGNS = {ROUBLE: "{} ₽", STARS: "{} ⭐", "USD": "${}", "EUR": "€{}", "GBP": "£{}"}


def of(amount: Decimal, currency: str) -> str:
    """`300 ₽`, `$3.90`, `230 ⭐`, `15 UAH`."""
    return SIGNS.get(currency, f"{{}} {currency}").format(_plain(amount))


def roubles(amount: Decimal) -> str:
    return of(amount, ROUBLE)


def signed(amount: Decimal) -> str:
    """`+300 ₽`, `-12.50 ₽`."""
    return f"{'-' if amount < 0 else '+'}{roubles(abs(amount))}"


def _plain(amount: Decimal) -> str:
    return f"{amount:.2f}".removesuffix(".00")
