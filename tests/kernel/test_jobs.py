"""Periodic jobs: when they run, what ends them, and what does not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from service import errors
from service.kernel import jobs, metrics
from service.kernel.jobs import Job, JobLoop
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_complaints")

NEVER = 3600.0
OFTEN = 0.01


class Work:
    """What a job does: counts its runs, and fails or waits when it is told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.contexts: list[str] = []
        self.failure: BaseException | None = None
        self.counts: Mapping[str, int] = {}
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.ended = 0

    async def run_once(self, context: str) -> Mapping[str, int]:
        self.runs += 1
        self.contexts.append(context)
        await self.may_end.wait()
        self.ended += 1
        if self.failure:
            raise self.failure
        return self.counts


@asynccontextmanager
async def looping(
    *works: tuple[Work, float], may_run: Callable[[Job[str]], bool] = lambda _job: True
) -> AsyncIterator[JobLoop[str]]:
    """Jobs "0", "1", ... under way, given the context "rooms"."""
    loop = JobLoop(
        [Job(str(number), every_s, work.run_once) for number, (work, every_s) in enumerate(works)],
        lambda: "rooms",
        may_run,
    )
    loop.start()
    yield loop
    await loop.stop()


def recovering(*works: Work, may_run: Callable[[Job[str]], bool] = lambda _job: True) -> JobLoop[str]:
    """Jobs "0", "1", ... that recover, and one that does not; the last of them beside the doors."""
    jobs = [Job(str(number), NEVER, work.run_once, recovers=True) for number, work in enumerate(works)]
    jobs[-1] = replace(jobs[-1], beside_doors=True)
    return JobLoop([*jobs, Job("plain", NEVER, Work().run_once)], lambda: "rooms", may_run)


async def test_it_runs_again_and_again() -> None:
    work = Work()
    async with looping((work, OFTEN)):
        await until(lambda: work.runs >= 3)
    assert set(work.contexts) == {"rooms"}


async def test_a_poke_runs_it_now() -> None:
    work = Work()
    async with looping((work, NEVER)) as loop:
        loop.poke("0")
        await until(lambda: work.ended == 1)
        work.may_end.clear()
        loop.poke("0")
        await until(lambda: work.runs == 2)
        loop.poke("0")
        loop.poke("0")  # while it runs: once more, not twice
        work.may_end.set()
        await until(lambda: work.ended == 3)
    assert work.runs == 3


async def test_a_slow_job_delays_nobody() -> None:
    slow, quick = Work(), Work()
    slow.may_end.clear()
    async with looping((slow, OFTEN), (quick, OFTEN)):
        await until(lambda: slow.runs == 1 and quick.runs >= 3)
        slow.may_end.set()


async def test_the_stop_waits_for_the_run_under_way_and_starts_none() -> None:
    work, other = Work(), Work()
    work.may_end.clear()
    async with looping((work, OFTEN), (other, NEVER)) as loop:
        await until(lambda: work.runs == 1)
        stopping = asyncio.create_task(loop.stop())
        await asyncio.sleep(5 * OFTEN)
        assert not stopping.done()
        work.may_end.set()
        await stopping
        assert (work.runs, work.ended, other.runs) == (1, 1, 0)
        loop.poke("0")
        await asyncio.sleep(5 * OFTEN)
        assert work.runs == 1


async def test_the_stop_cuts_short_what_recovers() -> None:
    """It may be killed anywhere; a stop must not wait for a processor."""
    work, other = Work(), Work()
    work.may_end.clear()
    loop = recovering(work, other)
    loop.start()
    loop.poke("0")
    await until(lambda: work.runs == 1)
    async with asyncio.timeout(1):
        await loop.stop()
    assert (work.ended, other.runs) == (0, 0)


async def test_a_stop_that_nothing_was_started_before() -> None:
    loop = JobLoop([Job("0", NEVER, Work().run_once)], lambda: "rooms", lambda _job: True)
    await loop.stop()


async def test_a_failure_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    work = Work()
    work.failure = ValueError("broken")
    async with looping((work, OFTEN)):
        await until(lambda: work.runs >= 2)
        work.failure = errors.DatabaseAway()
        runs = work.runs
        await until(lambda: work.runs >= runs + 2)
    told = {(record.levelname, record.getMessage(), record.fields["job"]) for record in caplog.records}
    assert told == {("ERROR", "job failed", "0"), ("INFO", "job put off", "0")}


async def test_a_job_rests_while_it_may_not_run() -> None:
    work, allowed = Work(), False

    def may_run(job: Job[str]) -> bool:
        assert job.name == "0"
        return allowed

    async with looping((work, OFTEN), may_run=may_run) as loop:
        loop.poke("0")
        await asyncio.sleep(5 * OFTEN)
        assert work.runs == 0
        allowed = True
        await until(lambda: work.runs > 0)


async def test_a_fault_in_the_question_whether_it_may_run_does_not_end_the_loop() -> None:
    work, faults = Work(), [KeyError("no such feature")]

    def may_run(_job: Job[str]) -> bool:
        if faults:
            raise faults.pop()
        return True

    async with looping((work, OFTEN), may_run=may_run):
        await until(lambda: work.runs > 0)


async def test_instances_drift_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    monkeypatch.setattr(random, "uniform", uniform)
    async with looping((Work(), NEVER)):
        await until(lambda: asked)
    assert asked[0] == (1 - jobs.JITTER, 1 + jobs.JITTER)


async def test_a_run_by_hand_is_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    work = Work()
    job = Job("by-hand", NEVER, work.run_once)
    loop = JobLoop([job], lambda: "rooms", lambda _job: False)

    def count(result: str) -> float:
        labels = {"job": "by-hand", "result": result}
        return metrics.REGISTRY.get_sample_value("ballast_job_runs_total", labels) or 0.0

    assert await loop.run_now(job) == {}
    assert caplog.records == []  # nothing done, nothing to tell
    work.counts = {"pruned": 3, "kept": 0}
    assert await loop.run_now(job) == {"pruned": 3, "kept": 0}
    assert [record.fields for record in caplog.records] == [{"job": "by-hand", "pruned": 3, "kept": 0}]
    work.failure = errors.NotFound()
    with pytest.raises(errors.NotFound):
        await loop.run_now(job)
    assert (count("done"), count("failed")) == (2, 1)
    seconds = metrics.REGISTRY.get_sample_value("ballast_job_duration_seconds_count", {"job": "by-hand"})
    assert seconds == 2


async def test_recovery_runs_what_recovers_once_and_in_its_order() -> None:
    works = [Work(), Work(), Work()]
    for number, work in enumerate(works):
        work.counts = {"mended": number}
    loop = recovering(*works)
    assert await loop.recover(before_doors=True) == {"0": {"mended": 0}, "1": {"mended": 1}}
    assert list(await loop.recover()) == ["0", "1", "2"]
    assert [work.runs for work in works] == [2, 2, 1]
    labels = {"job": "2", "what": "mended"}
    assert metrics.REGISTRY.get_sample_value("ballast_recovered_total", labels) == 2


async def test_one_that_fails_does_not_stop_recovery(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    broken, away, refused, fine = Work(), Work(), Work(), Work()
    broken.failure, away.failure, refused.failure = ValueError("broken"), errors.DatabaseAway(), errors.NotFound()
    outcomes = await recovering(broken, away, refused, fine).recover()
    codes = [outcome.code if isinstance(outcome, errors.ServiceError) else outcome for outcome in outcomes.values()]
    assert codes == ["internal", "database_away", "not_found", {}]
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told == [("ERROR", "job failed"), ("INFO", "job put off"), ("ERROR", "job failed")]


async def test_recovery_is_bounded_in_time() -> None:
    """What is cut short or comes too late goes on when it is due."""
    slow, quick, late = Work(), Work(), Work()
    slow.may_end.clear()
    loop = recovering(slow, quick, late)
    outcomes = await loop.recover(each_s=0.05)
    assert isinstance(outcomes["0"], errors.DeadlineExceeded)
    assert (slow.ended, quick.ended, late.ended) == (0, 1, 1)
    async with asyncio.timeout(1):
        outcomes = await loop.recover(each_s=3600, in_all_s=0.05)
    assert isinstance(outcomes["0"], errors.DeadlineExceeded)


async def test_a_job_that_runs_out_of_its_own_time_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    work.failure = TimeoutError()
    outcomes = await recovering(work).recover(each_s=60)
    assert isinstance(outcomes["0"], errors.ServiceError)
    assert not isinstance(outcomes["0"], errors.DeadlineExceeded)
    assert [record.getMessage() for record in caplog.records] == ["job failed"]


async def test_recovery_rests_while_it_may_not_run() -> None:
    work = Work()
    outcomes = await recovering(work, may_run=lambda _job: False).recover()
    assert isinstance(outcomes["0"], errors.FeatureOff)
    assert work.runs == 0


async def test_recovery_is_poked_whole() -> None:
    works = [Work(), Work()]
    loop = recovering(*works)
    loop.start()
    loop.poke_recovery()
    await until(lambda: all(work.ended == 1 for work in works))
    loop.poke_recovery(but=["0"])
    await until(lambda: works[1].ended == 2)
    await loop.stop()
    assert works[0].runs == 1
