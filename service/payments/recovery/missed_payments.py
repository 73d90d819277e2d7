"""Reads the processors' own lists for money that nobody told us of.

It knows how far each list was read. It must not take other software's money for ours: a shop may be shared, so what is
listed counts only where it names an order of ours or a payment that we know; the rest is skipped, and stored nowhere.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from service.errors import Unavailable, Upstream
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.kernel.jobs import Counts
from service.kernel.log import Log
from service.payments import callback, inbox
from service.payments.event import PaymentEvent, Report, is_of_refund
from service.payments.inbox import SQL, Outcome
from service.payments.providers import Providers
from service.payments.providers.provider import Provider

EVERY_S = 600.0
# How far back the first look of a process goes. Until then processors repeat their callbacks by themselves.
FIRST_LOOK = timedelta(hours=48)
# Lists lag behind, and clocks differ.
OVERLAP = timedelta(hours=1)
# A bot's Stars are nobody else's, whatever they were paid for.
UNSHARED = frozenset({"telegram"})

_is_named = SQL.value("is_named", bool)

log = Log("payments")


class Positions:
    """Up to when each list was read whole. Lives as long as the process: a new one looks back further."""

    def __init__(self) -> None:
        self._read_at: dict[str, datetime] = {}

    def since(self, provider: str, now: datetime) -> datetime:
        read_at = self._read_at.get(provider)
        return now - FIRST_LOOK if read_at is None else min(read_at, now) - OVERLAP

    def note(self, provider: str, read_at: datetime) -> None:
        self._read_at[provider] = read_at


async def find_missed_payments(rooms: Rooms) -> Counts:
    """Settle what is new in the list of each processor; `found` counts what had an effect."""
    counts = Counter[str]()
    for provider in rooms.of(Providers):
        try:
            counts += await _read(rooms, provider)
        except Unavailable:
            raise
        except Upstream as error:  # read again as far back the next time
            _tell(provider, error)
            counts["unanswered"] += 1
    return counts


async def _read(rooms: Rooms, provider: Provider) -> Counter[str]:
    """A list is newest first, so that a refund may come before the payment that makes it ours: those are seen twice."""
    now, positions, counts = rooms.of(Clock).now(), rooms.of(Positions), Counter[str]()
    strangers: list[Report] = []
    async for report in provider.listed(positions.since(provider.name, now)):
        result = await _taken(rooms, report)
        counts[result] += 1
        if result == "stranger" and is_of_refund(report.event):
            strangers.append(report)
    if counts["found"]:
        counts.update([await _taken(rooms, report) for report in strangers])
    positions.note(provider.name, now)
    return Counter({result: counts[result] for result in ("found", "waiting", "review", "failed")})


async def _taken(rooms: Rooms, report: Report) -> str:
    """What became of it; `known`, which most are, costs one statement."""
    async with rooms.of(Database).acquire() as conn:
        status = await inbox.status_of(conn, report.event.provider, report.event.delivery_key)
        if status not in (None, "waiting"):
            return "known"
        if not await _is_ours(conn, report.event):
            return "stranger"
    outcome = await _settled(rooms, report)
    if outcome is None:
        return "failed"
    is_news = not outcome.repeated and outcome.status != status
    return {"applied": "found", "waiting": "waiting", "review": "review"}.get(outcome.status, "") if is_news else ""


async def _is_ours(conn: Connection, event: PaymentEvent) -> bool:
    if event.provider in UNSHARED or event.order_id is not None:
        return True
    providers, refs = [name for name, _ in event.references], [reference for _, reference in event.references]
    return bool(await _is_named(conn, providers=providers, refs=refs))


async def _settled(rooms: Rooms, report: Report) -> Outcome | None:
    """None for one that cannot be settled: it is kept, and tried again among those that wait."""
    try:
        return await callback.settled(rooms, report)
    except Unavailable:
        raise
    except Exception:  # whatever is wrong with one event must not hide the others
        log.exception("event not applied", event_id=None, provider=report.event.provider)
        async with rooms.of(Database).acquire() as conn:
            await inbox.store(conn, report, rooms.of(Clock).now())
        return None


def _tell(provider: Provider, error: Upstream) -> None:
    """That nobody answers is told by the calls' own metrics; that a key is refused is for people."""
    say = log.warning if error.permanent else log.info
    say("list not read", provider=provider.name, reason=error.message)
