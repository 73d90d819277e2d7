"""/balance: what a person has, what is put aside, and what happened, page by page.

It knows how to ask the ledger and what to say; it moves no money.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from service.catalog import amounts
from service.errors import Invalid
from service.kernel.database import Database
from service.payments import ledger
from service.payments.bot import texts
from service.payments.ledger import NEWEST, Balance, Entry, Ledger
from service.telegram import reply
from service.telegram.reply import Button, Reply
from service.telegram.router import Context, Router
from service.telegram.update import Update

PAGE = 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# Where a page begins, within the 64 bytes of a button's data: balance:<microseconds>:<id of the entry>.
_PLACE = re.compile(r"balance:([0-9]{1,17}):([0-9]{1,18})")

Place = tuple[datetime, int]

router = Router()


@router.command("balance")
@router.button(texts.BALANCE_BUTTON)
@router.callback("balance")
async def show_balance(ctx: Context, update: Update) -> Reply:
    after = _place_of(update.data)
    async with ctx.of(Database).acquire() as conn:
        balance = await ledger.get_balance(conn, ctx.user_id)
        entries = await ctx.of(Ledger).entries(conn, ctx.user_id, after=after, page=PAGE + 1)
    lines = [*_balance_lines(ctx, balance), "", *_entry_lines(ctx, entries)]
    return reply.show(update, "\n".join(lines), _rows(ctx, entries, after))


def _balance_lines(ctx: Context, balance: Balance) -> list[str]:
    lines = [ctx.say(texts.BALANCE, roubles=amounts.roubles(balance.balance_rub))]
    if balance.held_rub:
        lines.append(ctx.say(texts.HELD, roubles=amounts.roubles(balance.held_rub)))
    return lines


def _entry_lines(ctx: Context, entries: Sequence[Entry] | None) -> list[str]:
    if entries is None:
        return [ctx.say(texts.NO_HISTORY)]
    return [_line(ctx, entry) for entry in entries[:PAGE]] or [ctx.say(texts.NO_ENTRIES)]


def _line(ctx: Context, entry: Entry) -> str:
    """`2026-11-20  +300 ₽  top-up`. Only what was bought has a reason that is for the person."""
    what = ctx.say(texts.ENTRIES[entry.type])
    if entry.type == "deduction" and entry.reason:
        what += f": {entry.reason}"
    return f"{entry.created_at.strftime(ctx.say(texts.DATE))}  {amounts.signed(entry.amount_rub)}  {what}"


def _rows(ctx: Context, entries: Sequence[Entry] | None, after: Place) -> list[list[Button]]:
    turns: list[Button] = [] if after == NEWEST else [(ctx.say(texts.NEWEST), "balance")]
    if entries is not None and len(entries) > PAGE:
        turns.append((ctx.say(texts.OLDER), _data_of(entries[PAGE - 1])))
    top_up = [(ctx.say(texts.TOPUP_BUTTON), "topup")]
    return [turns, top_up] if turns else [top_up]


def _data_of(entry: Entry) -> str:
    return f"balance:{(entry.created_at - EPOCH) // MICROSECOND}:{entry.id}"


def _place_of(data: str) -> Place:
    """The page after this entry; the newest without one."""
    if data in ("", "balance"):
        return NEWEST
    found = _PLACE.fullmatch(data)
    if found is None:
        raise Invalid("There is no such page.")
    return EPOCH + int(found[1]) * MICROSECOND, int(found[2])
