"""The loop that runs periodic jobs.

It knows when a job is due and whether it may run; it knows nothing of what jobs do. A job lives in the room it
heals, does one small batch in `run_once`, and is harmless when several instances run it at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.errors import Unavailable
from service.kernel import metrics
from service.kernel.log import Log

C = TypeVar("C")

Counts = Mapping[str, int]
"""What a run did, by word: {"pruned": 3}."""

# Instances that were started together drift apart by this share of a job's period.
JITTER = 0.1

log = Log("jobs")


@dataclass(frozen=True, slots=True)
class Job(Generic[C]):
    """`run_once` with the rooms it needs, every so many seconds."""

    name: str
    every_s: float
    run_once: Callable[[C], Awaitable[Counts]]


class JobLoop(Generic[C]):
    """Runs each job in a task of its own, so that a slow one delays nobody."""

    def __init__(self, jobs: Sequence[Job[C]], context: Callable[[], C], may_run: Callable[[Job[C]], bool]) -> None:
        self._jobs = jobs
        self._context = context
        self._may_run = may_run
        self._pokes = {job.name: asyncio.Event() for job in jobs}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep_running(job)) for job in self._jobs]

    def poke(self, name: str) -> None:
        """Run a job now instead of when it is due."""
        self._pokes[name].set()

    async def stop(self) -> None:
        """Let the runs under way finish, and start no other."""
        self._stopping.set()
        for poke in self._pokes.values():
            poke.set()
        await asyncio.gather(*self._tasks)

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
        if any(counts.values()):
            log.info("job done", job=job.name, **counts)
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
                await self._run_and_tell(job)

    async def _run_and_tell(self, job: Job[C]) -> None:
        try:
            if self._may_run(job):
                await self.run_now(job)
        except Unavailable as error:
            log.info("job put off", job=job.name, reason=error.code)
        except Exception:  # one bad run must not end the loop; the next one tries again
            log.exception("job failed", job=job.name)
