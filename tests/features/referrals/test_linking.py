"""Who brought whom is found in how people started: once, in order, and whatever was away meanwhile."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service.feature import Rooms
from service.features.referrals import linking
from service.features.referrals.linking import BATCH, OVERLAP, link_referrals
from service.kernel.jobs import JobLoop
from tests.cast import FRIEND, PAYER, STRANGER
from tests.features.referrals.programme import CAME, REFERRALS, came, lives
from tests.payments.money import Noon

PAYERS = f"ref_{PAYER.user_id}"


async def pairs(raw: Any) -> list[tuple[int, int]]:
    return [(row[0], row[1]) for row in await raw.fetch(REFERRALS)]


async def test_a_friend_is_linked_once(rooms: Rooms, raw: Any) -> None:
    await lives(raw, PAYER.user_id)
    await came(raw, FRIEND.user_id, PAYERS)
    assert await link_referrals(rooms) == {"linked": 1}
    assert await link_referrals(rooms) == {"linked": 0}
    row = await raw.fetchrow("SELECT * FROM referrals")
    assert (row["referrer_id"], row["referred_id"], row["created_at"]) == (PAYER.user_id, FRIEND.user_id, CAME)
    assert (row["rewarded_at"], row["tell_at"], row["void_reason"], row["reward_rub"]) == (None, None, None, 0)


@pytest.mark.parametrize(
    "started_with",
    [
        "",
        "ref_",
        f"ref_{FRIEND.user_id}",  # himself
        "ref_404",  # nobody
        f"ref_0{PAYER.user_id}",
        f"ref_-{PAYER.user_id}",
        f"ref_{PAYER.user_id}x",
        f"REF_{PAYER.user_id}",
        f"xref_{PAYER.user_id}",
        f"refx{PAYER.user_id}",
        "ref_" + "9" * 18,
        "ref_" + "9" * 60,
    ],
)
async def test_what_names_no_referrer(rooms: Rooms, raw: Any, started_with: str) -> None:
    await lives(raw, PAYER.user_id)
    await came(raw, FRIEND.user_id, started_with)
    await came(raw, STRANGER.user_id, PAYERS, CAME + timedelta(seconds=1))
    assert await link_referrals(rooms) == {"linked": 1}, "and holds up nobody behind him"
    assert await pairs(raw) == [(PAYER.user_id, STRANGER.user_id)]


async def test_who_came_later_brought_nobody(rooms: Rooms, raw: Any) -> None:
    """Not even when he comes at last: what is found does not hang on when somebody looks."""
    await came(raw, FRIEND.user_id, PAYERS)
    assert await link_referrals(rooms) == {"linked": 0}
    await lives(raw, PAYER.user_id, since=CAME + timedelta(minutes=1))
    assert await link_referrals(rooms) == {"linked": 0}


async def test_one_referrer_for_each_person(rooms: Rooms, raw: Any) -> None:
    """Adopted rows that are void stand in nobody's way."""
    await lives(raw, PAYER.user_id, STRANGER.user_id)
    await came(raw, FRIEND.user_id, PAYERS)
    void = "INSERT INTO referrals (referrer_id, referred_id, void_reason) VALUES ($1, $2, 'second referrer')"
    await raw.execute(void, STRANGER.user_id, FRIEND.user_id)
    await link_referrals(rooms)
    await raw.execute("UPDATE users SET started_with = $1", f"ref_{STRANGER.user_id}")
    assert await link_referrals(rooms) == {"linked": 0}
    assert await pairs(raw) == [(PAYER.user_id, FRIEND.user_id)]


@pytest.mark.parametrize(
    ("referrer", "friend", "rule"),
    [
        (PAYER.user_id, PAYER.user_id, "referrals_of_somebody_else"),
        (STRANGER.user_id, FRIEND.user_id, "referrals_one_referrer"),
        (PAYER.user_id, FRIEND.user_id, "referrals_"),
        (404, STRANGER.user_id, "referrals_referrer_known"),
        (PAYER.user_id, 404, "referrals_referred_known"),
    ],
)
async def test_the_table_refuses_what_must_not_be(raw: Any, referrer: int, friend: int, rule: str) -> None:
    """S3-45, S3-46, S3-49."""
    statement = "INSERT INTO referrals (referrer_id, referred_id) VALUES ($1, $2)"
    await lives(raw, PAYER.user_id, FRIEND.user_id, STRANGER.user_id)
    await raw.execute(statement, PAYER.user_id, FRIEND.user_id)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=rule):
        await raw.execute(statement, referrer, friend)


async def test_several_at_once_are_harmless(rooms: Rooms, raw: Any) -> None:
    await lives(raw, PAYER.user_id)
    friends = range(10_000, 10_100)
    for friend in friends:
        await came(raw, friend, PAYERS)
    counts = await asyncio.gather(*(link_referrals(rooms) for _ in range(10)))
    assert sum(one["linked"] for one in counts) == len(friends)
    assert await pairs(raw) == [(PAYER.user_id, friend) for friend in friends]


async def crowd(raw: Any, people: int) -> None:
    """So many came in the same second, each other of them by a link that leads nowhere."""
    statement = """
    INSERT INTO users (user_id, created_at, started_at, started_with)
    SELECT n, $1, $1, CASE WHEN n % 2 = 0 THEN $2 ELSE 'ref_404' END FROM generate_series(10001, 10000 + $3::int) AS n
    """
    await raw.execute(statement, CAME, PAYERS, people)


async def test_more_than_a_batch(rooms: Rooms, raw: Any) -> None:
    await lives(raw, PAYER.user_id)
    await crowd(raw, 2 * BATCH + 2)
    assert await link_referrals(rooms) == {"linked": BATCH + 1}


async def test_a_run_that_is_cut_short_is_taken_up(rooms: Rooms, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the first batch linked does not hide what the others would have."""
    monkeypatch.setattr(linking, "BATCH", 10)
    await lives(raw, PAYER.user_id)
    for number in range(35):
        await came(raw, 10_000 + number, PAYERS, CAME + number * OVERLAP)
    await linking._link(rooms, (CAME - OVERLAP, 0))
    assert len(await pairs(raw)) == 10
    assert await link_referrals(rooms) == {"linked": 25}


async def test_whoever_is_committed_late_is_found(rooms: Rooms, raw: Any) -> None:
    """A start that is dated before the last one that is linked, and was not to be seen then."""
    await lives(raw, PAYER.user_id)
    await came(raw, FRIEND.user_id, PAYERS)
    await link_referrals(rooms)
    await came(raw, STRANGER.user_id, PAYERS, CAME - OVERLAP + timedelta(seconds=1))
    assert await link_referrals(rooms) == {"linked": 1}


async def test_dates_that_lie_ahead_hide_nobody(rooms: Rooms, raw: Any, clock: Noon) -> None:
    """A table of the generation bot that was written in another zone."""
    await lives(raw, PAYER.user_id, STRANGER.user_id)
    ahead = "INSERT INTO referrals (referrer_id, referred_id, created_at) VALUES ($1, $2, $3)"
    await raw.execute(ahead, PAYER.user_id, STRANGER.user_id, clock.now() + timedelta(hours=3))
    await came(raw, FRIEND.user_id, PAYERS, clock.now())
    assert await link_referrals(rooms) == {"linked": 1}


async def test_a_table_that_was_away_is_caught_up(rooms: Rooms, raw: Any) -> None:
    await lives(raw, PAYER.user_id)
    for day in range(20):
        await came(raw, 10_000 + day, PAYERS, CAME + timedelta(days=day))
    assert await link_referrals(rooms) == {"linked": 20}
    await raw.execute("DELETE FROM referrals WHERE referred_id > 10004")
    assert await link_referrals(rooms) == {"linked": 15}, "it came back as it was"
    await raw.execute("DELETE FROM referrals")
    assert await link_referrals(rooms) == {"linked": 20}, "it came back empty"


async def test_who_is_linked_late_may_have_paid_long_ago(
    rooms: Rooms, raw: Any, clock: Noon, monkeypatch: pytest.MonkeyPatch
) -> None:
    poked: list[str] = []
    monkeypatch.setattr(rooms.of(JobLoop), "poke", poked.append)
    await lives(raw, PAYER.user_id)
    await came(raw, FRIEND.user_id, PAYERS, clock.now())
    await link_referrals(rooms)
    assert not poked
    await raw.execute("DELETE FROM referrals")
    clock.forward(hours=2)
    await link_referrals(rooms)
    assert poked == ["catch_up_rewards"]
