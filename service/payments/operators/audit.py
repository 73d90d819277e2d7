"""Whether the books agree: balances, the ledger, payments, refunds and reservations, checked person by person.

It knows which checks there are, and goes through everybody in ranges, so that it never holds more than a few
differences; it changes nothing and locks nothing. What each check is stands in sql/ledger_verify.sql.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import msgspec

from service.kernel import migrate, queries
from service.kernel.database import Connection, Database

# People of one range: each table is read a few times per range, and a check of one takes a few seconds at most.
RANGE = 200_000
# Differences of one check in one range that are told one by one.
SHOWN = 1_000
# The migration that gave the ledger its keys.
KEYED_BY = "0003_balances"
# Of what an id may be.
FIRST, LAST = -(2**63), 2**63 - 1


class Difference(msgspec.Struct, frozen=True):
    """Something that is not as it should be. total: how many of this kind there are in the range, shown or not."""

    user_id: int
    what: str
    expected: str
    found: str
    total: int


class Checked(msgspec.Struct, frozen=True):
    """One range: how many people have a balance in it, and what is not as it should be."""

    people: int
    differences: Sequence[Difference]
    total: int


class _Range(msgspec.Struct, frozen=True):
    until: int | None
    people: int


class _Found(msgspec.Struct, frozen=True):
    """Which checks would find something."""

    sums: bool
    topups: bool
    captures: bool
    chargebacks: bool


SQL = queries.room("ledger_verify")
_compare = SQL.one("compare", _Found)
_plan_for_ranges = SQL.value("plan_for_ranges", str)
_next_range = SQL.one("next_range", _Range)
_verify_sums = SQL.many("verify_sums", Difference)
_verify_topups = SQL.many("verify_topups", Difference)
_verify_captures = SQL.many("verify_captures", Difference)
_verify_refunds = SQL.many("verify_refunds", Difference)
_verify_chargebacks = SQL.many("verify_chargebacks", Difference)
_verify_debts = SQL.many("verify_debts", Difference)
_keeps_effects_unique = SQL.value("keeps_effects_unique", bool)
_verify_effects = SQL.many("verify_effects", Difference)


def keyed_since(dsn: str) -> datetime:
    """When the ledger got its keys: what is older is another service's."""
    applied = {one.id: one.applied_at for one in migrate.status(dsn)}
    return applied.get(KEYED_BY) or datetime.min.replace(tzinfo=UTC)


async def verify(database: Database, since: datetime, *, size: int = RANGE) -> AsyncIterator[Checked]:
    """Every range of people in turn. `since`: when the ledger got its keys; older entries name no payment.

    Raises SchemaDrift where a table is missing, Unavailable.
    """
    after = FIRST
    while after < LAST:
        async with database.transaction() as conn:
            await _plan_for_ranges(conn)
            found = await _next_range(conn, after=after, size=size)
            assert found is not None, "a count always answers"
            until = found.until if found.until is not None and found.people == size else LAST
            differences = await _differences(conn, (after, until), since)
        yield Checked(found.people, differences, _total(differences))
        after = until
    async with database.acquire() as conn:
        if not await _keeps_effects_unique(conn):
            doubled = await _verify_effects(conn, shown=SHOWN)
            yield Checked(0, doubled, _total(doubled))


async def _differences(conn: Connection, between: tuple[int, int], since: datetime) -> list[Difference]:
    """Each check looks closer only where one look at everything has found something."""
    after, until = between
    found = await _compare(conn, after=after, until=until, since=since)
    assert found is not None, "a comparison always answers"
    here = {"after": after, "until": until, "shown": SHOWN}
    return [
        *(await _verify_sums(conn, **here) if found.sums else ()),
        *(await _verify_topups(conn, since=since, **here) if found.topups else ()),
        *(await _verify_captures(conn, **here) if found.captures else ()),
        *(await _verify_chargebacks(conn, since=since, **here) if found.chargebacks else ()),
        *await _verify_refunds(conn, **here),
        *await _verify_debts(conn, since=since, **here),
    ]


def _total(differences: Sequence[Difference]) -> int:
    """Of each kind the first tells how many there are."""
    kinds: dict[str, int] = {}
    for one in differences:
        kinds.setdefault(one.what.rsplit(" ", 1)[0], one.total)
    return sum(kinds.values())
