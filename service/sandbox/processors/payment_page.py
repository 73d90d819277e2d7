"""The page on which a person pays: the bill, two buttons, and what the shop was told of it.

It must not know HTTP, nor how a payment is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import orjson

from service.sandbox.processors.api import Bill
from service.sandbox.processors.callbacks import Attempt, Callback

PAGE = Path(__file__).parent / "page"
ASSETS = {"pay.css": "text/css", "pay.js": "text/javascript"}
TITLES = {"yookassa": "YooKassa", "stripe": "Stripe", "polar": "Polar"}
TRIES_SHOWN = 5


def asset(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def rendered(processor: str, bill: Bill, callbacks: Sequence[Callback], prefix: str) -> str:
    """The page as HTML. Everything that somebody else wrote is escaped."""
    page = asset("pay.html")
    parts = {
        "prefix": prefix,
        "processor": TITLES[processor],
        "bill": _bill(bill, f"{prefix}/pay/{processor}/{bill.id}"),
        "log": _log(callbacks),
    }
    for name in ("prefix", "processor"):
        page = page.replace(f"{{{name}}}", escape(parts[name]))
    before, _, rest = page.partition("{bill}")
    between, _, after = rest.partition("{log}")
    return before + parts["bill"] + between + parts["log"] + after


def _bill(bill: Bill, at: str) -> str:
    facts = {"Asked for by": bill.seller, "Payment": bill.id, "Status": bill.status}
    listed = "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items())
    return (
        f'<p class="title">{escape(bill.title)}</p><p class="amount" data-testid="amount">{escape(bill.amount)}</p>'
        f'<dl data-testid="facts">{listed}</dl>{_buttons(at) if bill.payable else ""}{_back(bill)}'
    )


def _buttons(at: str) -> str:
    def button(act: str, label: str, look: str) -> str:
        shown = f'<button class="{look}" data-testid="{act}">{label}</button>'
        return f'<form method="post" action="{escape(at)}/{act}">{shown}</form>'

    return f'<div class="buttons">{button("pay", "Pay", "solid")}{button("cancel", "Cancel", "")}</div>'


def _back(bill: Bill) -> str:
    if bill.payable or not bill.back.startswith(("http://", "https://")):
        return ""
    return f'<p class="back"><a href="{escape(bill.back)}" data-testid="back" rel="noreferrer">Back to the shop</a></p>'


def _log(callbacks: Sequence[Callback]) -> str:
    if not callbacks:
        return '<p class="none">The shop was told nothing yet.</p>'
    return f"<ol>{''.join(_callback(one) for one in callbacks)}</ol>"


def _callback(callback: Callback) -> str:
    body = orjson.dumps(callback.json, option=orjson.OPT_INDENT_2).decode()
    last = callback.attempts[-1] if callback.attempts else None
    headers = "\n".join(f"{name}: {text}" for name, text in (last.headers if last else {}).items())
    to = last.url if last else callback.path
    shown = callback.attempts[-TRIES_SHOWN:]
    tries = "".join(_attempt(one, callback) for one in shown) or '<li data-state="waiting">not sent yet</li>'
    return (
        f'<li class="callback" data-testid="callback"><span class="event">{escape(callback.event)}</span>'
        f'<span class="to">POST {escape(to)}</span><ul class="tries">{tries}</ul>'
        f'<details id="{escape(callback.id)}"><summary>What was sent</summary>'
        f"<pre>{escape(headers)}</pre><pre>{escape(body)}</pre></details></li>"
    )


def _attempt(attempt: Attempt, callback: Callback) -> str:
    state = "good" if callback.sender.acknowledges(attempt.status) else "bad"
    said = f"answered {attempt.status} {attempt.why}" if attempt.status else attempt.why
    again = "" if callback.acknowledged or callback.given_up else "; will be sent again"
    return f'<li data-state="{state}">{escape(said)}{again if attempt is callback.attempts[-1] else ""}</li>'
