"""How a claim ends: once, with its money, and told to its person."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from service.errors import Unavailable, Upstream
from service.features.generation.providers.provider import Output
from service.features.generation.queue import ending, table
from service.features.generation.queue.ending import Endings
from service.features.generation.work import Ended
from service.kernel.database import Connection
from tests.features.generation.queue.test_table import rescue
from tests.features.generation.queue.workshop import (
    PAID,
    PRICE,
    Workshop,
    after,
    order,
    people,
    reservations,
    row_of,
    statuses,
    success,
)
from tests.payments.money import credit


def endings(workshop: Workshop) -> Endings:
    return workshop.rooms.of(Endings)


async def test_many_end_in_few_statements(workshop: Workshop, raw: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await people(raw, *range(1, 61))
    for user_id in range(1, 61):
        await workshop.place(order(user_id=user_id))
    claims, calls, finish = await workshop.claim(), list[int](), table.finish

    async def counted(conn: Connection, ended: Any, now: datetime) -> Any:
        calls.append(len(ended))
        return await finish(conn, ended, now)

    monkeypatch.setattr(table, "finish", counted)
    done = await asyncio.gather(*(endings(workshop).end(workshop.rooms, one, success(one)) for one in claims))
    assert all(done)
    assert sum(calls) == 60
    assert len(calls) < 10
    assert await statuses(raw) == {"success": 60}


async def test_of_two_claims_of_a_job_the_later_one_ends_it(workshop: Workshop, raw: Any) -> None:
    """A process that was stopped may hold both, and end them in the same statement."""
    await workshop.place(order())
    (stale,) = await workshop.claim()
    await rescue(workshop)
    (fresh,) = await workshop.claim()
    both = (success(stale, "stale"), stale), (success(fresh, "fresh"), fresh)
    ends = [endings(workshop).end(workshop.rooms, claim, ended) for ended, claim in both]
    first, second = await asyncio.gather(*ends)
    assert first is None
    assert second is not None
    assert workshop.told() == [("success", None)]
    assert (await row_of(raw, fresh.job_id))["outputs"] == '{"text": "fresh"}'


async def test_a_lost_answer_to_the_end_charges_once(workshop: Workshop, raw: Any) -> None:
    """Whoever asks again after the commit is told that it is over."""
    await credit(workshop.rooms, "10.00")
    await workshop.place(order(what=PAID))
    (claim,) = await workshop.claim()
    assert await endings(workshop).end(workshop.rooms, claim, success(claim)) is not None
    assert await endings(workshop).end(workshop.rooms, claim, success(claim)) is None
    assert await reservations(raw) == [("captured", PRICE)]


@pytest.mark.parametrize("status", ["failed", "timeout"])
async def test_what_is_no_success_gives_back(workshop: Workshop, raw: Any, status: Any) -> None:
    await credit(workshop.rooms, "10.00")
    await workshop.place(order(what=PAID))
    (claim,) = await workshop.claim()
    ended = Ended(claim.job_id, claim.lease, status, None, "why", "because", claim.started_at)
    assert await endings(workshop).end(workshop.rooms, claim, ended) == ended
    assert await reservations(raw) == [("released", 0)]
    row = await row_of(raw, claim.job_id)
    assert (row["error_code"], row["error_message"], row["delivered_at"]) == ("why", "because", None)


async def test_a_delivery_is_marked_through_an_outage(
    workshop: Workshop, raw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its person would be told twice."""
    monkeypatch.setattr(ending, "MARK_AGAIN_S", 0.01)
    mark, tries = table.mark_delivered, 0

    async def broken(conn: Connection, outputs: Any, now: datetime) -> int:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise Unavailable
        return await mark(conn, outputs, now)

    monkeypatch.setattr(table, "mark_delivered", broken)
    await workshop.place(order())
    (claim,) = await workshop.claim()
    ended = success(claim, due_at=after(workshop.clock, 60))
    await endings(workshop).end(workshop.rooms, claim, ended)
    await endings(workshop).deliver(workshop.rooms, claim, ended)
    assert (tries, workshop.ears.texts) == (4, ["made"])
    assert (await row_of(raw, claim.job_id))["delivered_at"] is not None
    tries = -100
    with pytest.raises(Unavailable):
        await endings(workshop).deliver(workshop.rooms, claim, success(claim))


async def test_who_cannot_be_told_now_is_told_later(workshop: Workshop, raw: Any) -> None:
    await workshop.place(order())
    (claim,) = await workshop.claim()
    ended = success(claim)
    await endings(workshop).end(workshop.rooms, claim, ended)
    workshop.ears.deaf = Upstream("not now")
    await endings(workshop).deliver(workshop.rooms, claim, ended)
    row = await row_of(raw, claim.job_id)
    assert (row["delivered_at"], row["due_at"]) == (None, ended.due_at)


async def test_nothing_at_all_is_told_to_nobody(workshop: Workshop) -> None:
    await workshop.place(order())
    (claim,) = await workshop.claim()
    ended = Ended(claim.job_id, claim.lease, "success", Output(), due_at=None)
    await endings(workshop).end(workshop.rooms, claim, ended)
    await endings(workshop).deliver(workshop.rooms, claim, ended)
    assert workshop.ears.heard == []
