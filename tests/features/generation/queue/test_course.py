"""The course of a claim: how long until another look, and when it is enough."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from service.features.generation.attempt import Failed
from service.features.generation.providers.provider import Output, Pending
from service.features.generation.queue import course
from service.features.generation.queue.course import RETRY_MAX_S
from service.features.generation.work import Claim
from tests.features.generation.queue.workshop import Workshop, order, row_of
from tests.payments.money import Noon

AGAIN = Failed("down", "down", permanent=False)


@pytest.fixture
async def claim(workshop: Workshop) -> Claim:
    await workshop.place(order())
    return (await workshop.claim(uuid4()))[0]


@pytest.mark.parametrize("attempts", [1, 2, 3, 9, 60])
def test_the_pause_doubles_and_is_spread(claim: Claim, attempts: int) -> None:
    tried = msgspec.structs.replace(claim, attempts=attempts)
    pauses = {course._pause(tried, AGAIN).total_seconds() for _ in range(200)}
    own = 5.0 * 2 ** (attempts - 1)
    assert min(pauses) >= min(own / 2, RETRY_MAX_S)
    assert max(pauses) <= min(own * 1.5, RETRY_MAX_S)
    assert len(pauses) > 100 or own > RETRY_MAX_S


def test_the_provider_says_how_long(claim: Claim) -> None:
    asked = msgspec.structs.replace(AGAIN, retry_after=60.0)
    assert course._pause(claim, asked) == timedelta(seconds=60)
    asked = msgspec.structs.replace(AGAIN, retry_after=86_400.0)
    assert course._pause(claim, asked) == timedelta(seconds=RETRY_MAX_S)


async def test_a_look_is_never_after_the_deadline(workshop: Workshop, claim: Claim, raw: Any) -> None:
    await course.conclude(workshop.rooms, claim, Pending("t1", 10_000))
    assert (await row_of(raw, claim.job_id))["due_at"] == claim.deadline_at


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Pending("t1", 5), ("timeout", "timeout")),
        (Output("just in time"), ("success", None)),
        (Failed("refused", "no"), ("failed", "refused")),
    ],
)
async def test_at_the_deadline(
    workshop: Workshop, claim: Claim, raw: Any, clock: Noon, step: Any, told: tuple[str, str | None]
) -> None:
    clock.forward(seconds=60)
    await course.conclude(workshop.rooms, claim, step)
    row = await row_of(raw, claim.job_id)
    assert (row["status"], row["error_code"]) == told
    assert workshop.maker.cancelled == (["t1"] if told[0] == "timeout" else [])


async def test_whoever_lost_it_changes_and_tells_nothing(workshop: Workshop, claim: Claim, raw: Any) -> None:
    await workshop.cancel(claim.job_id)
    before = dict(await row_of(raw, claim.job_id))
    for step in (Pending("t1", 5), AGAIN, Failed("refused", "no"), Output("made")):
        await course.conclude(workshop.rooms, claim, step)
    assert dict(await row_of(raw, claim.job_id)) == before
    assert (workshop.ears.texts, workshop.told(), workshop.maker.cancelled) == ([], [], [])
