"""The loop that runs periodic jobs.

It knows when a job is due and whether it may run; it knows nothing of what jobs do. A job lives in the room it
heals, does one small batch in `run_once`, and is harmless when several instances run it at once. Some of them
recover: those also run at a start and when an operator says so, and may be cut short anywhere.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import DeadlineExceeded, FeatureOff, ServiceError, Unavailable
from service.kernel import metrics
from service.kernel.log import Log

C = TypeVar("C")

Counts = Mapping[str, int]
"""What a run did, by word: {"pruned": 3}."""

Recovered = Callable[[str, Counts], None]
"""Takes the name of a job and what it did. Must not raise."""

# Instances that were started together drift apart by this share of a job's period.
JITTER = 0.1
# Seconds that a stop leaves to the runs under way; platforms kill what has not ended in 30.
STOP_GRACE_S = 5.0
# Seconds that a job rests, however it is poked: as long as a person does not notice, and longer where it just failed.
AFTER_RUN_S = 0.25
AFTER_FAILURE_S = 1.0

log = Log("jobs")


@dataclass(frozen=True, slots=True)
class Job(Generic[C]):
    """`run_once` with the rooms it needs, every so many seconds.

    recovers: it mends what a crash or an outage left. beside_doors: it takes long, so no start waits for it.
    """

    name: str
    every_s: float
    run_once: Callable[[C], Awaitable[Counts]]
    recovers: bool = False
    beside_doors: bool = False


class JobLoop(Generic[C]):
    """Runs each job in a task of its own, so that a slow one delays nobody."""

    def __init__(self, jobs: Sequence[Job[C]], context: Callable[[], C], may_run: Callable[[Job[C]], bool]) -> None:
        self._jobs = jobs
        self._context = context
        self._may_run = may_run
        self._pokes = {job.name: asyncio.Event() for job in jobs}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._on_recovered: list[Recovered] = []

    def on_recovered(self, listener: Recovered) -> None:
        """Be told each run of a job that recovers and found something to do."""
        self._on_recovered.append(listener)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep_running(job)) for job in self._jobs]

    def poke(self, name: str) -> None:
        """Run a job now instead of when it is due; one that no feature has is nobody's loss."""
        if (poke := self._pokes.get(name)) is not None:
            poke.set()

    def poke_recovery(self, but: Collection[str] = ()) -> None:
        """Run every job that recovers now, but these."""
        for job in self._recovering():
            if job.name not in but:
                self.poke(job.name)

    async def recover(
        self, *, before_doors: bool = False, each_s: float | None = None, in_all_s: float | None = None
    ) -> dict[str, Counts | ServiceError]:
        """Run the jobs that recover once, one after another: what each did, or why it could not.

        Before the doors open, only those that a start waits for. One that takes more seconds than it is given is
        stopped, and goes on when it is due.
        """
        time_of = asyncio.get_running_loop().time
        ends_at = time_of() + (math.inf if in_all_s is None else in_all_s)
        outcomes: dict[str, Counts | ServiceError] = {}
        for job in self._recovering():
            if before_doors and job.beside_doors:
                continue
            left_s = min(ends_at - time_of(), math.inf if each_s is None else each_s)
            outcomes[job.name] = await self._run_and_tell(job, None if left_s == math.inf else left_s)
        return outcomes

    async def stop(self) -> None:
        """Let the runs under way finish for a moment, but for those that recover, and start no other.

        A run that is cut leaves what a crash would leave, which the next one takes up.
        """
        self._stopping.set()
        for poke in self._pokes.values():
            poke.set()
        for job, task in zip(self._jobs, self._tasks, strict=False):
            if job.recovers:
                task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_GRACE_S)
            for task in late:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run_now(self, job: Job[C]) -> Counts:
        """One run, with its outcome in the log and the metrics. Raises what the job raises."""
        started = time.perf_counter()
        try:
            counts = await job.run_once(self._context())
        except BaseException:
            metrics.JOB_RUNS.labels(job.name, "failed").inc()
            raise
        metrics.JOB_RUNS.labels(job.name, "done").inc()
        metrics.JOB_SECONDS.labels(job.name).observe(time.perf_counter() - started)
        for what, count in counts.items() if job.recovers else ():
            metrics.RECOVERED.labels(job.name, what).inc(count)
        if any(counts.values()):
            log.info("job done", job=job.name, **counts)
            for listener in self._on_recovered if job.recovers else ():
                listener(job.name, counts)
        return counts

    async def _keep_running(self, job: Job[C]) -> None:
        poke = self._pokes[job.name]
        while not self._stopping.is_set():
            pause = job.every_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # spread, not secrecy
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await poke.wait()
            poke.clear()
            if not self._stopping.is_set():
                failed = isinstance(await self._run_and_tell(job), ServiceError)
                await self._rest(AFTER_FAILURE_S if failed else AFTER_RUN_S)

    async def _rest(self, seconds: float) -> None:
        """However often it is poked, a job does not run at once again: pokes of a busy moment are one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _recovering(self) -> list[Job[C]]:
        return [job for job in self._jobs if job.recovers]

    async def _run_and_tell(self, job: Job[C], seconds: float | None = None) -> Counts | ServiceError:
        try:
            if not self._may_run(job):
                return FeatureOff()
            return await self._run_in_time(job, seconds)
        except Unavailable as error:
            log.info("job put off", job=job.name, reason=error.code)
            return error
        except Exception as error:  # one bad run must not end the loop; the next one tries again
            log.exception("job failed", job=job.name)
            return error if isinstance(error, ServiceError) else ServiceError()

    async def _run_in_time(self, job: Job[C], seconds: float | None) -> Counts:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self.run_now(job)
        except TimeoutError:
            if limit.expired():
                raise DeadlineExceeded from None
            raise
