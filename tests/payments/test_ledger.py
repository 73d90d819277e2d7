"""The ledger: each movement once, in the right order, and made up for after the ledger was missing."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from service.errors import UserMissing
from service.feature import Rooms
from service.kernel.database import Database
from service.payments import ledger, reservations
from service.payments.ledger import InsufficientBalance, Ledger, LedgerInTable, Posting, book_differences
from service.payments.reservations import Hold
from tests.cast import FRIEND, PAYER, STRANGER
from tests.migrating import ROOT, run_psql
from tests.payments.money import BROKEN, balance_of, credit, entries_of, order, paid, refunded, rooms_for, settle

MISSED = "moved while the ledger was missing"


@pytest.fixture
def rooms(db: Database) -> Rooms:
    return rooms_for(db)


@pytest.fixture
def standing_in(db: Database) -> Rooms:
    """An instance that found no payment_transactions."""
    return rooms_for(db, ledger=Ledger())


@pytest.fixture(autouse=True)
async def people(raw: Any) -> Any:
    for person in (PAYER, FRIEND):
        await raw.execute("INSERT INTO users (user_id) VALUES ($1)", person.user_id)
    yield
    if await raw.fetchval("SELECT to_regclass('payment_transactions') IS NOT NULL"):
        assert await raw.fetch(BROKEN) == []


def posting(roubles: str, key: str = "", *, may_owe: bool = False, user_id: int = PAYER.user_id) -> Posting:
    return Posting(
        effect_key=key or f"adjust:{uuid4()}",
        user_id=user_id,
        amount_rub=Decimal(roubles),
        type="adjustment",
        reason="a test",
        may_owe=may_owe,
    )


async def post(rooms: Rooms, one: Posting) -> Decimal | None:
    async with rooms.of(Database).transaction() as conn:
        return await rooms.of(Ledger).post(conn, one)


@pytest.mark.parametrize("kind", [Ledger, LedgerInTable])
async def test_an_effect_is_had_once(db: Database, raw: Any, kind: type[Ledger]) -> None:
    rooms = rooms_for(db, ledger=kind())
    done = await asyncio.gather(*(post(rooms, posting("5.00", "adjust:one")) for _ in range(30)))
    assert sorted(done, key=str) == [Decimal("5.00"), *[None] * 29]
    assert await balance_of(raw) == Decimal("5.00")


@pytest.mark.parametrize("kind", [Ledger, LedgerInTable])
async def test_overdraft_is_refused(db: Database, raw: Any, kind: type[Ledger]) -> None:
    """Row S3-8: of thirty who each want a rouble of ten, ten get it, and nobody more."""
    rooms = rooms_for(db, ledger=kind())
    await credit(rooms, "10.00")
    done = await asyncio.gather(*(post(rooms, posting("-1.00")) for _ in range(30)), return_exceptions=True)
    assert sum(isinstance(one, InsufficientBalance) for one in done) == 20
    assert {one for one in done if isinstance(one, Decimal)} == {Decimal(left) for left in range(10)}
    assert await balance_of(raw) == 0


@pytest.mark.parametrize("kind", [Ledger, LedgerInTable])
async def test_a_debt_is_only_for_whom_it_is_allowed(db: Database, raw: Any, kind: type[Ledger]) -> None:
    rooms = rooms_for(db, ledger=kind())
    with pytest.raises(InsufficientBalance):
        await post(rooms, posting("-1.00", "adjust:never"))
    assert await post(rooms, posting("-1.00", may_owe=True)) == Decimal("-1.00")
    with pytest.raises(InsufficientBalance):
        await post(rooms, posting("-0.01"))
    assert await post(rooms, posting("0.40")) == Decimal("-0.60")
    assert await raw.fetchval("SELECT count(*) FROM payment_effects") == 2, "what was refused is not used up"


async def test_somebody_unknown(rooms: Rooms, standing_in: Rooms) -> None:
    for where in (rooms, standing_in):
        with pytest.raises(UserMissing):
            await post(where, posting("1.00", user_id=STRANGER.user_id))


async def test_an_entry_tells_the_balance_after_it(rooms: Rooms, raw: Any) -> None:
    """Each entry's balance is that of the one before and its amount, also when many come at once."""
    await asyncio.gather(*(post(rooms, posting(f"{roubles}.10")) for roubles in range(1, 30)))
    entries = await raw.fetch("SELECT amount_rub, balance_rub FROM payment_transactions")
    after = sorted(row["balance_rub"] for row in entries)
    assert sorted(row["balance_rub"] - row["amount_rub"] for row in entries) == [0, *after[:-1]]


async def test_history_is_read_in_pages(rooms: Rooms) -> None:
    for roubles in range(1, 8):
        await post(rooms, posting(f"{roubles}.00"))
    async with rooms.of(Database).acquire() as conn:
        first = await ledger.list_entries(conn, PAYER.user_id, page=4)
        rest = await ledger.list_entries(conn, PAYER.user_id, after=(first[-1].created_at, first[-1].id), page=4)
    assert [entry.amount_rub for entry in (*first, *rest)] == list(range(7, 0, -1))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE payment_transactions SET reason = 'another'",
        "DELETE FROM payment_transactions",
        "TRUNCATE payment_transactions",
        "TRUNCATE users CASCADE",
    ],
)
async def test_nothing_that_was_booked_changes(rooms: Rooms, raw: Any, statement: str) -> None:
    """Case 51: entries are never updated or deleted."""
    await credit(rooms, "10.00")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="payment_transactions is append-only"):
        await raw.execute(statement)
    assert await entries_of(raw) == [("adjustment", Decimal("10.00"))]


@pytest.mark.parametrize(
    ("kind", "roubles"),
    [
        ("topup", "-1"),
        ("refund", "-1"),
        ("referral", "0"),
        ("deduction", "1"),
        ("chargeback", "1"),
        ("adjustment", "0"),
    ],
)
async def test_the_sign_says_the_same_as_the_type(raw: Any, kind: str, roubles: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="payment_transactions_signed"):
        await raw.execute(
            "INSERT INTO payment_transactions (user_id, amount_rub, type) VALUES ($1, $2, $3)",
            PAYER.user_id,
            Decimal(roubles),
            kind,
        )


# The ledger goes, and comes again.

AWAY = "ALTER TABLE payment_transactions RENAME TO elsewhere"
BACK = "ALTER TABLE elsewhere RENAME TO payment_transactions"


async def moves_without_it(rooms: Rooms, standing_in: Rooms, raw: Any, gone: str) -> None:
    """160 on the payer's balance and 30 put aside; of that, 150 were not booked, nor 10 that were spent.

    The friend has 5, and was never booked anywhere.
    """
    await credit(rooms, "50.00")
    async with rooms.of(Database).transaction() as conn:
        for _ in range(2):
            await reservations.reserve(conn, Hold(uuid4(), PAYER.user_id, Decimal("15.00"), "work"), None)
    await raw.execute(gone)
    payment_id = await order(raw)
    assert (await settle(standing_in, paid(payment_id))).status == "applied"
    assert (await settle(standing_in, paid(payment_id))).status == "ignored"
    assert (await settle(standing_in, refunded(amount="10.00"))).status == "applied"
    await credit(standing_in, "5.00", user_id=FRIEND.user_id)
    assert await balance_of(raw) == Decimal("160.00")
    assert await raw.fetchval("SELECT sum(unbooked_rub) FROM balances") == Decimal("145.00")


async def test_it_was_only_renamed(rooms: Rooms, standing_in: Rooms, raw: Any) -> None:
    """What was remembered is booked: one adjustment for each person, once, whoever does it."""
    await moves_without_it(rooms, standing_in, raw, AWAY)
    await raw.execute(BACK)
    assert await raw.fetch(BROKEN) == []
    counts = await asyncio.gather(*(book_differences(rooms) for _ in range(4)))
    assert sum(count["booked"] for count in counts) == 2
    assert await entries_of(raw) == [("adjustment", Decimal("50.00")), ("adjustment", Decimal("140.00"))]
    assert await raw.fetchval("SELECT max(reason) FROM payment_transactions WHERE id > 1") == MISSED
    assert await book_differences(rooms) == {"booked": 0}
    assert await raw.fetchval("SELECT count(*) FROM balances WHERE unbooked_rub <> 0") == 0


async def test_it_is_made_again_by_bootstrap(rooms: Rooms, standing_in: Rooms, raw: Any, database_url: str) -> None:
    """bootstrap.sql makes the table and books at once what it does not explain; the job finds nothing to do."""
    await moves_without_it(rooms, standing_in, raw, "DROP TABLE payment_transactions")
    done = run_psql(database_url, "-v", "ON_ERROR_STOP=1", "-f", ROOT / "bootstrap.sql")
    assert done.returncode == 0, done.stderr
    await book_differences(rooms)
    assert await entries_of(raw) == [("adjustment", Decimal("190.00"))]
    assert await entries_of(raw, FRIEND.user_id) == [("adjustment", Decimal("5.00"))]
    assert await book_differences(rooms) == {"booked": 0}
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await raw.execute("DELETE FROM payment_transactions")


async def test_it_is_made_again_by_hand(rooms: Rooms, standing_in: Rooms, raw: Any) -> None:
    """Somebody makes it empty, and money moves before the job comes: one adjustment each makes up for the past."""
    await raw.execute("CREATE TABLE copy (LIKE payment_transactions INCLUDING ALL)")
    await moves_without_it(rooms, standing_in, raw, "DROP TABLE payment_transactions")
    await raw.execute("ALTER TABLE copy RENAME TO payment_transactions")
    await credit(rooms, "1.00")
    await credit(standing_in, "2.00")  # an instance that does not know yet that it is back
    await credit(rooms, "3.00", user_id=STRANGER.user_id)
    assert sum(count["booked"] for count in await asyncio.gather(*(book_differences(rooms) for _ in range(2)))) == 2
    assert await entries_of(raw) == [("adjustment", Decimal("1.00")), ("adjustment", Decimal("192.00"))]
    assert await entries_of(raw, STRANGER.user_id) == [("adjustment", Decimal("3.00"))]
    assert await book_differences(rooms) == {"booked": 0}


async def test_an_older_ledger_is_put_back(rooms: Rooms, raw: Any) -> None:
    """A new one explained everything, and then the first is found: what it lacks is booked in it, too."""
    await credit(rooms, "50.00")
    await raw.execute(f"{AWAY}; CREATE TABLE payment_transactions (LIKE elsewhere INCLUDING ALL)")
    await credit(rooms, "7.00")
    await book_differences(rooms)
    await raw.execute(f"DROP TABLE payment_transactions; {BACK}")
    assert await book_differences(rooms) == {"booked": 1}
    assert await entries_of(raw) == [("adjustment", Decimal("50.00")), ("adjustment", Decimal("7.00"))]


async def test_more_people_than_fit_into_a_batch(rooms: Rooms, raw: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(ledger, "BOOK_BATCH", 7)
    await raw.execute("INSERT INTO users (user_id) SELECT n FROM generate_series(50000, 50049) AS n")
    await raw.execute(
        "INSERT INTO balances (user_id, balance_rub, booked_in)"
        " SELECT n, 1, CASE n % 3 WHEN 0 THEN 0 WHEN 1 THEN 4294967295 ELSE 1 END::oid"
        " FROM generate_series(50000, 50049) AS n"
    )
    assert sum(count["booked"] for count in await asyncio.gather(*(book_differences(rooms) for _ in range(3)))) == 50


async def test_tampering_is_not_booked_away(rooms: Rooms, raw: Any) -> None:
    """Row S3-58: a balance that somebody changed by hand stays a difference for whoever verifies."""
    await credit(rooms, "10.00")
    await raw.execute("UPDATE balances SET balance_rub = 1000")
    assert await book_differences(rooms) == {"booked": 0}
    broken = await raw.fetch(BROKEN)
    assert [(row["balance_rub"], row["booked_rub"]) for row in broken] == [(Decimal("1000.00"), Decimal("10.00"))]
    await raw.execute("UPDATE balances SET balance_rub = 10")
