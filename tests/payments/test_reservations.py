"""Reservations: money put aside is spent once, or comes back once, whoever races whom."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.errors import Invalid, NotFound
from service.feature import Rooms
from service.kernel.database import Database
from service.payments import reservations, wallet
from service.payments.ledger import InsufficientBalance, Ledger
from service.payments.reservations import Hold, ReservationFinished, ReservationMismatch
from tests.cast import FRIEND, PAYER, STRANGER
from tests.payments.money import BROKEN, Noon, balance_of, credit, entries_of, order, paid, refunded, rooms_for, settle
from tests.waiting import until


@pytest.fixture
def clock() -> Noon:
    return Noon()


@pytest.fixture
def rooms(db: Database, clock: Noon) -> Rooms:
    return rooms_for(db, clock)


@pytest.fixture(autouse=True)
async def invariant(raw: Any) -> Any:
    yield
    assert await raw.fetch(BROKEN) == []


def hold(roubles: str, *, user_id: int = PAYER.user_id, reservation_id: UUID | None = None) -> Hold:
    return Hold(reservation_id or uuid4(), user_id, Decimal(roubles), "a picture")


async def reserve(rooms: Rooms, wanted: Hold) -> UUID:
    async with rooms.of(Database).transaction() as conn:
        return (await wallet.reserve(rooms, conn, wanted)).reservation_id


async def capture(rooms: Rooms, reservation_id: UUID, roubles: str) -> Decimal:
    async with rooms.of(Database).transaction() as conn:
        return (await wallet.capture(rooms, conn, reservation_id, Decimal(roubles), "work")).captured_rub


async def release(rooms: Rooms, reservation_id: UUID) -> str:
    async with rooms.of(Database).transaction() as conn:
        return (await wallet.release(rooms, conn, reservation_id)).status


async def status_of(raw: Any, reservation_id: UUID) -> str:
    return await raw.fetchval("SELECT status FROM payment_reservations WHERE reservation_id = $1", reservation_id)


async def outcomes(*calls: Any) -> list[Any]:
    """What each returned or raised, by the name of the error."""
    done = await asyncio.gather(*calls, return_exceptions=True)
    return [type(one).__name__ if isinstance(one, Exception) else one for one in done]


async def test_what_is_put_aside_cannot_be_spent_twice(rooms: Rooms, raw: Any) -> None:
    await credit(rooms, "10.00")
    held = await reserve(rooms, hold("4.00"))
    assert await balance_of(raw) == Decimal("6.00")
    async with rooms.of(Database).acquire() as conn:
        assert (await wallet.balance(conn, PAYER.user_id)).held_rub == Decimal("4.00")
    with pytest.raises(InsufficientBalance):
        await reserve(rooms, hold("6.01"))
    assert await capture(rooms, held, "4.00") == Decimal("4.00")
    assert await entries_of(raw) == [("adjustment", Decimal("10.00")), ("deduction", Decimal("-4.00"))]


async def test_a_person_is_made_first(rooms: Rooms, raw: Any) -> None:
    """Somebody who never wrote to the bot has no row yet: he is made, and has no money."""
    with pytest.raises(InsufficientBalance):
        await reserve(rooms, hold("1.00", user_id=STRANGER.user_id))
    async with rooms.of(Database).transaction() as conn:
        with pytest.raises(InsufficientBalance):
            await wallet.reserve(rooms, conn, hold("1.00", user_id=STRANGER.user_id))
    assert await raw.fetchval("SELECT count(*) FROM users WHERE user_id = $1", STRANGER.user_id) == 1


async def test_too_little_money_spoils_no_transaction(rooms: Rooms, raw: Any) -> None:
    """A handler says so and commits what else it did; nothing is left behind."""
    await credit(rooms, "1.00")
    async with rooms.of(Database).transaction() as conn:
        with pytest.raises(InsufficientBalance):
            await wallet.reserve(rooms, conn, hold("1.01"))
    assert await raw.fetchval("SELECT count(*) FROM payment_reservations") == 0
    assert await balance_of(raw) == Decimal("1.00")


async def test_holds_race_for_the_last_coin(rooms: Rooms, raw: Any) -> None:
    """Case 44: of twenty holds that race for the last coin, one wins."""
    await credit(rooms, "1.00")
    done = await outcomes(*(reserve(rooms, hold("1.00")) for _ in range(20)))
    assert done.count("InsufficientBalance") == 19
    assert await balance_of(raw) == 0


async def test_the_same_hold_twenty_times_at_once(rooms: Rooms, raw: Any) -> None:
    await credit(rooms, "10.00")
    wanted = hold("3.00")
    done = await outcomes(*(reserve(rooms, wanted) for _ in range(20)))
    assert set(done) == {wanted.reservation_id}
    assert await balance_of(raw) == Decimal("7.00")


async def test_a_hold_that_took_the_last_coin_is_repeated(rooms: Rooms) -> None:
    """The repeat finds too little on the balance, and yet it is the same money."""
    await credit(rooms, "3.00")
    wanted = hold("3.00")
    assert await reserve(rooms, wanted) == await reserve(rooms, wanted)


async def test_the_same_hold_for_something_else(rooms: Rooms, raw: Any) -> None:
    await credit(rooms, "10.00")
    await credit(rooms, "10.00", user_id=FRIEND.user_id)
    first = hold("3.00")
    await reserve(rooms, first)
    for other in (
        hold("3.01", reservation_id=first.reservation_id),
        hold("3.00", reservation_id=first.reservation_id, user_id=FRIEND.user_id),
        hold("30.00", reservation_id=first.reservation_id),
    ):
        with pytest.raises(ReservationMismatch):
            await reserve(rooms, other)
    assert await balance_of(raw, FRIEND.user_id) == Decimal("10.00")


async def test_a_hold_that_is_over_is_not_held_again(rooms: Rooms, raw: Any) -> None:
    """The same id is the same money, whatever became of it."""
    await credit(rooms, "10.00")
    wanted = hold("3.00")
    await release(rooms, await reserve(rooms, wanted))
    async with rooms.of(Database).transaction() as conn:
        assert (await wallet.reserve(rooms, conn, wanted)).status == "released"
    assert await balance_of(raw) == Decimal("10.00")


@pytest.mark.parametrize("roubles", ["0", "-1.00", "0.001", "1.005"])
async def test_an_amount_is_positive_and_in_kopeks(rooms: Rooms, roubles: str) -> None:
    with pytest.raises(Invalid):
        await reserve(rooms, hold(roubles))
    with pytest.raises(Invalid):
        await capture(rooms, uuid4(), roubles)


@pytest.mark.parametrize("roubles", ["NaN", "sNaN", "Infinity", "1E+30", "1000000000000.00"])
async def test_an_impossible_amount(rooms: Rooms, roubles: str) -> None:
    with pytest.raises(Invalid):
        await reserve(rooms, hold(roubles))


async def test_the_rest_comes_back(rooms: Rooms, raw: Any) -> None:
    """Case 45: less is captured than was held, and the rest is returned in the same transaction."""
    await credit(rooms, "10.00")
    held = await reserve(rooms, hold("4.00"))
    assert await capture(rooms, held, "1.25") == Decimal("1.25")
    assert await balance_of(raw) == Decimal("8.75")
    entry = await raw.fetchrow("SELECT * FROM payment_transactions WHERE type = 'deduction'")
    assert (entry["amount_rub"], entry["balance_rub"]) == (Decimal("-1.25"), Decimal("8.75"))
    assert (entry["reservation_id"], entry["effect_key"]) == (held, f"capture:{held}")


async def test_more_than_was_held(rooms: Rooms, raw: Any) -> None:
    """Case 44: capture > hold is an error, and takes nothing."""
    await credit(rooms, "10.00")
    held = await reserve(rooms, hold("4.00"))
    with pytest.raises(ReservationMismatch):
        await capture(rooms, held, "4.01")
    assert await status_of(raw, held) == "held"


async def test_a_capture_is_repeated(rooms: Rooms, raw: Any) -> None:
    """Case 44: captured twice with the same amount it is done already, with another it is an error."""
    await credit(rooms, "10.00")
    held = await reserve(rooms, hold("4.00"))
    assert await outcomes(*(capture(rooms, held, "3.00") for _ in range(10))) == [Decimal("3.00")] * 10
    for other in ("2.99", "3.01", "4.00"):
        with pytest.raises(ReservationMismatch):
            await capture(rooms, held, other)
    assert len(await entries_of(raw)) == 2


async def test_ended_means_ended(rooms: Rooms, raw: Any, clock: Noon) -> None:
    """Case 44: capture after release or expiry, and release after capture, are errors."""
    await credit(rooms, "10.00")
    released, expired, captured = [await reserve(rooms, hold("1.00")) for _ in range(3)]
    await release(rooms, released)
    await capture(rooms, captured, "1.00")
    clock.forward(hours=1)
    assert await reservations.expire(rooms) == {"expired": 1}
    for held in (released, expired):
        with pytest.raises(ReservationFinished):
            await capture(rooms, held, "1.00")
    with pytest.raises(ReservationFinished):
        await release(rooms, captured)
    assert await release(rooms, released) == "released"
    assert await release(rooms, expired) == "expired"
    assert await balance_of(raw) == Decimal("9.00")


async def test_what_nobody_reserved(rooms: Rooms) -> None:
    for call in (capture(rooms, uuid4(), "1.00"), release(rooms, uuid4())):
        with pytest.raises(NotFound):
            await call


async def test_time_is_up_before_anybody_sweeps(rooms: Rooms, raw: Any, clock: Noon) -> None:
    """Its time is what counts, not when the sweeper comes by; to give back it is never too late."""
    await credit(rooms, "10.00")
    held = await reserve(rooms, hold("4.00"))
    clock.forward(hours=1)
    with pytest.raises(ReservationFinished):
        await capture(rooms, held, "4.00")
    assert await release(rooms, held) == "released"
    assert await reservations.expire(rooms) == {"expired": 0}
    assert await balance_of(raw) == Decimal("10.00")


async def test_stuck_for_an_hour(rooms: Rooms, raw: Any, clock: Noon) -> None:
    """What is 61 minutes old comes back, what is 59 minutes old is kept, and so is what is prolonged or has no end."""
    await credit(rooms, "10.00")
    old, alive = [await reserve(rooms, hold("1.00")) for _ in range(2)]
    async with rooms.of(Database).transaction() as conn:
        endless = await reservations.reserve(conn, hold("1.00"), None)
    clock.forward(minutes=2)
    young = await reserve(rooms, hold("1.00"))
    clock.forward(minutes=57)
    async with rooms.of(Database).transaction() as conn:
        await wallet.prolong(rooms, conn, [alive])
    clock.forward(minutes=2)
    assert await reservations.expire(rooms) == {"expired": 1}
    statuses = [await status_of(raw, one) for one in (old, alive, endless.reservation_id, young)]
    assert statuses == ["expired", "held", "held", "held"]


async def test_prolonging_never_shortens_and_never_revives(rooms: Rooms, raw: Any, clock: Noon) -> None:
    await credit(rooms, "10.00")
    held, gone = [await reserve(rooms, hold("1.00")) for _ in range(2)]
    await release(rooms, gone)
    async with rooms.of(Database).transaction() as conn:
        await reservations.prolong(conn, [held, gone], clock.now() + timedelta(minutes=1))
    assert await status_of(raw, gone) == "released"
    clock.forward(minutes=59)
    assert await capture(rooms, held, "1.00") == Decimal("1.00")


async def test_the_sweeper_races_captures(rooms: Rooms, raw: Any, clock: Noon) -> None:
    """Case 44: of sweeper and capture exactly one wins, for each of forty."""
    await credit(rooms, "40.00")
    held = [await reserve(rooms, hold("1.00")) for _ in range(40)]
    early, late = rooms_for(rooms.of(Database), Noon()), rooms
    clock.forward(hours=2)  # two instances whose clocks differ
    sweepers = [reservations.expire(late) for _ in range(3)]
    done = await outcomes(
        *(capture(early, one, "1.00") for one in held[::2]),
        *sweepers,
        *(capture(early, one, "1.00") for one in held[1::2]),
    )
    await reservations.expire(late)  # whoever's balance was busy
    won = done.count(Decimal("1.00"))
    assert done.count("ReservationFinished") == 40 - won
    assert await balance_of(raw) == 40 - won
    assert await raw.fetchval("SELECT count(*) FROM payment_reservations WHERE status = 'expired'") == 40 - won


async def test_several_sweepers_at_once(rooms: Rooms, raw: Any, clock: Noon, monkeypatch: Any) -> None:
    """Each reservation comes back once, in batches that are smaller than the heap."""
    monkeypatch.setattr(reservations, "EXPIRE_BATCH", 7)
    people = (PAYER.user_id, FRIEND.user_id, STRANGER.user_id)
    for user_id in people:
        await credit(rooms, "20.00", user_id=user_id)
        for _ in range(20):
            await reserve(rooms, hold("1.00", user_id=user_id))
    clock.forward(hours=2)
    counts = await asyncio.gather(*(reservations.expire(rooms) for _ in range(4)))
    counts += (await reservations.expire(rooms),)
    assert sum(count["expired"] for count in counts) == 60
    assert [await balance_of(raw, user_id) for user_id in people] == [Decimal("20.00")] * 3


@pytest.mark.parametrize("repeat_first", [True, False])
@pytest.mark.parametrize("ending", [capture, release])
async def test_a_repeated_hold_meets_its_end(rooms: Rooms, raw: Any, ending: Any, repeat_first: bool) -> None:
    """The repeat of a hold and whoever ends it both wait for the balance: in either order, neither for the other."""
    await credit(rooms, "10.00")
    wanted = hold("1.00")
    held = await reserve(rooms, wanted)
    calls = [reserve(rooms, wanted), capture(rooms, held, "1.00") if ending is capture else release(rooms, held)]
    tasks: list[asyncio.Task[Any]] = []
    async with raw.transaction():
        await raw.execute("SELECT FROM balances WHERE user_id = $1 FOR UPDATE", PAYER.user_id)
        for call in calls if repeat_first else calls[::-1]:
            tasks.append(asyncio.create_task(call))
            await waiting_for_locks(rooms, len(tasks))
    assert not [one for one in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(one, Exception)]
    assert await status_of(raw, held) == ("captured" if ending is capture else "released")


async def waiting_for_locks(rooms: Rooms, sessions: int) -> None:
    async def reached() -> bool:
        async with rooms.of(Database).acquire() as conn:
            return sessions <= await conn.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )

    await until(reached)


async def test_the_sweeper_waits_for_nobody(rooms: Rooms, raw: Any, clock: Noon) -> None:
    """Somebody's balance is busy: the others get theirs back now, and he gets his the next time."""
    for user_id in (PAYER.user_id, FRIEND.user_id):
        await credit(rooms, "1.00", user_id=user_id)
        await reserve(rooms, hold("1.00", user_id=user_id))
    clock.forward(hours=2)
    async with raw.transaction():
        await raw.execute("SELECT FROM balances WHERE user_id = $1 FOR UPDATE", PAYER.user_id)
        assert await reservations.expire(rooms) == {"expired": 1}
    assert await reservations.expire(rooms) == {"expired": 1}
    assert await balance_of(raw) == await balance_of(raw, FRIEND.user_id) == Decimal("1.00")


async def test_a_refund_while_money_is_held(rooms: Rooms, raw: Any) -> None:
    """Cases 40 and 41: the processor takes back more than is left. Holds stay and may be captured; new ones may not."""
    await settle(rooms, paid(await order(raw)))
    held = await reserve(rooms, hold("100.00"))
    await settle(rooms, refunded(amount="150.00"))
    assert await balance_of(raw) == Decimal("-100.00")
    with pytest.raises(InsufficientBalance):
        await reserve(rooms, hold("0.01"))
    assert await capture(rooms, held, "40.00") == Decimal("40.00")
    assert await balance_of(raw) == Decimal("-40.00")
    await settle(rooms, paid(await order(raw), "p2"))
    assert await balance_of(raw) == Decimal("110.00")


async def test_capture_without_the_ledger(rooms: Rooms, raw: Any) -> None:
    """It is remembered with the balance, and the rest comes back as ever."""
    await credit(rooms, "10.00")
    first, second = [await reserve(rooms, hold("4.00")) for _ in range(2)]
    standing_in = rooms_for(rooms.of(Database), ledger=Ledger())
    await capture(standing_in, first, "1.00")
    await capture(standing_in, first, "1.00")
    await release(standing_in, second)
    assert await balance_of(raw) == Decimal("9.00")
    assert await raw.fetchval("SELECT unbooked_rub FROM balances") == Decimal("-1.00")
