"""One try: however a provider fails, it is a value, in its time."""

from __future__ import annotations

from typing import Any

import pytest

from service.features.generation.attempt import Failed, attempt, give_up
from service.features.generation.providers.provider import Output, Pending, ProviderFailed
from tests.features.generation.queue.conftest import another, clock, workshop
from tests.features.generation.queue.workshop import FREE, Workshop, after, answering, forever, model, order, raising

__all__ = ["another", "clock", "workshop"]


async def tried(workshop: Workshop, what: Any = FREE, reference: str | None = None, within_s: float = 5.0) -> Any:
    until = after(workshop.clock, within_s)
    return await attempt(workshop.rooms, order(), what, reference, until=until)


async def test_begun_and_looked_at(workshop: Workshop) -> None:
    assert await tried(workshop) == Output("made a cat")
    workshop.maker.deeds["check"] = answering(Pending("t1", 5, 40))
    assert await tried(workshop, reference="t1") == Pending("t1", 5, 40)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ProviderFailed("refused", "no", permanent=True), Failed("refused", "no")),
        (
            ProviderFailed("rate_limited", "wait", permanent=False, retry_after=7.0),
            Failed("rate_limited", "wait", permanent=False, retry_after=7.0),
        ),
        (ValueError("a key: 1234"), Failed("broken", "ValueError", permanent=False)),
        (TimeoutError(), Failed("broken", "TimeoutError", permanent=False)),
    ],
)
async def test_what_goes_wrong_is_told(workshop: Workshop, error: Exception, told: Failed) -> None:
    """Of a mistake only its name: its words may carry anything. A timeout of the provider's own is not ours."""
    workshop.maker.deeds["a cat"] = raising(error)
    assert await tried(workshop) == told
    assert told.status == "failed"


async def test_it_has_its_time(workshop: Workshop) -> None:
    workshop.maker.deeds["a cat"] = forever()
    late = await tried(workshop, within_s=0.05)
    assert (late.code, late.status, late.permanent) == ("timeout", "timeout", True)


async def test_with_its_time_over_nothing_is_begun(workshop: Workshop) -> None:
    assert (await tried(workshop, within_s=0)).status == "timeout"
    assert workshop.maker.started == []


async def test_what_is_not_sold_or_not_configured(workshop: Workshop) -> None:
    assert (await tried(workshop, None)).code == "model_gone"
    assert (await tried(workshop, model("other", provider="nobody"))).code == "not_configured"


@pytest.mark.parametrize("error", [ProviderFailed("down", "down", permanent=False), RuntimeError("a mistake")])
async def test_giving_up_fails_nobody(workshop: Workshop, error: Exception) -> None:
    asked: list[str] = []

    async def fail(_request: object, reference: str) -> None:
        asked.append(reference)
        raise error

    workshop.maker.cancel = fail  # type: ignore[method-assign, assignment]
    await give_up(workshop.rooms, order(), FREE, "t1")
    await give_up(workshop.rooms, order(), None, "t2")
    assert asked == ["t1"]
