"""Currencies, and how many digits each has behind the point. It knows codes, and nothing of amounts or who takes them.

Three-decimal currencies are left out, as we keep two; so are ISK and UGX, which Stripe and Telegram count differently.
https://docs.stripe.com/currencies, https://core.telegram.org/bots/payments#supported-currencies
"""

from __future__ import annotations

ROUBLE = "RUB"
STARS = "XTR"  # Telegram's own, counted in whole ones

_NO_DECIMALS = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF XTR"
_TWO_DECIMALS = (
    "AED ALL AMD ARS AUD AZN BGN BRL BYN CAD CHF CNY COP CZK DKK EGP EUR GBP GEL HKD HUF IDR ILS INR KES KGS KZT MAD "
    "MDL MXN MYR NGN NOK NZD PEN PHP PLN QAR RON RSD RUB SAR SEK SGD THB TJS TRY TWD UAH USD UYU UZS ZAR"
)
EXPONENTS = dict.fromkeys(_NO_DECIMALS.split(), 0) | dict.fromkeys(_TWO_DECIMALS.split(), 2)
