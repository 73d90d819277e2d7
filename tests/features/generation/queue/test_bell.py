"""The bell: who is woken, at once or by PostgreSQL, and that nothing hangs on it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

from service.features.generation.queue.bell import CHANNEL, Bell
from tests.features.generation.queue.workshop import Another, Workshop, becomes, order
from tests.waiting import until


def bell_of(workshop: Workshop) -> Bell:
    return workshop.rooms.of(Bell)


async def rung(bell: Bell, within_s: float = 5.0) -> bool:
    loop = asyncio.get_running_loop()
    started = loop.time()
    await bell.heard(within_s)
    return loop.time() - started < within_s


async def test_who_rings_is_heard_here_and_elsewhere(workshop: Workshop, another: Another) -> None:
    other = await another()
    for shop in (workshop, other):
        await bell_of(shop).heard(0.01)  # the reconnect that the start was
    bell_of(workshop).ring()
    assert await rung(bell_of(workshop))
    assert await rung(bell_of(other))
    assert not await rung(bell_of(other), 0.05), "once"


async def test_others_need_not_hear_where_there_are_hands(workshop: Workshop, another: Another) -> None:
    other = await another()
    await bell_of(other).heard(0.01)
    bell_of(workshop).answered_here = True
    bell_of(workshop).ring()
    assert bell_of(workshop)._saying is None


async def test_who_is_at_a_job_hears_that_it_is_called_off(workshop: Workshop, another: Another) -> None:
    other, job_id, heard = await another(), uuid4(), list[UUID]()
    bell_of(other).on_call_off = heard.append
    bell_of(workshop).call_off(job_id)
    await until(lambda: heard == [job_id])


async def test_what_is_no_job_is_nobodys(workshop: Workshop, raw: Any) -> None:
    """Whoever may connect may say anything on a channel."""
    heard = list[UUID]()
    bell_of(workshop).on_call_off = heard.append
    await raw.execute(f"NOTIFY {CHANNEL}, 'nonsense'")
    job_id = uuid4()
    await raw.execute(f"NOTIFY {CHANNEL}, '{job_id}'")
    await until(lambda: heard)
    assert heard == [job_id]


async def test_many_rings_are_few_notifications(workshop: Workshop, raw: Any) -> None:
    told = list[str]()
    await raw.add_listener(CHANNEL, lambda *given: told.append(given[-1]))
    for _ in range(500):
        bell_of(workshop).ring()
        await asyncio.sleep(0)
    marker = uuid4()
    bell_of(workshop).call_off(marker)
    await until(lambda: str(marker) in told)
    assert told.count("") < 50


async def test_a_process_finds_the_work_of_others(workshop: Workshop, another: Another, raw: Any) -> None:
    """Also where no notification comes: behind a pooler, or because it was lost."""
    for prefix in ("told", "not told"):
        wanted = order(prefix)
        async with (await another()).working():
            if prefix == "told":
                await workshop.place(wanted)
            else:
                await raw.execute(
                    "INSERT INTO generation_jobs (job_id, user_id, chat_id, model_id, prompt, timeout_s, place)"
                    " VALUES ($1, $2, $2, 'free', 'x', 60, $3)",
                    *(wanted.job_id, wanted.user_id, workshop.clock.now()),
                )
            await becomes(raw, wanted.job_id, "success")
