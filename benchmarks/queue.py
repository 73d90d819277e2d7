"""Pick-up latency and jobs per second of our queue, beside procrastinate and pgqueuer on the same server.

It knows processes, rounds and clocks; what is particular to a queue is its contestant's to know. Each has a database
of its own in one PostgreSQL with its durable defaults, the same work, which notes the moment it began and nothing
else, and the same number of worker processes, forks of this one.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from benchmarks.contestants import Contestant, Handle
from benchmarks.contestants.ours import Ours
from benchmarks.contestants.pgqueuer import Pgqueuer
from benchmarks.contestants.procrastinate import Procrastinate
from service import process
from service.kernel import embedded

CONTESTANTS = (Ours, Pgqueuer, Procrastinate)
PROCESSES = (1, 8)
ROUNDS = 3
# A queue that one process of each still answers at once: what is measured is the way, not the wait.
RATE = 50.0  # jobs a second
WARM_UP = 50  # jobs that are not counted: every connection has prepared its statements after them
SAMPLES = 300  # jobs of a round
SEED = 4  # of the gaps between jobs, the same for all: half to one and a half times 1 / RATE, in step with no timer
POLL_S = 0.25  # rarely, since looking takes the server's time
PATIENCE_S = 60.0

Moments = dict[str, int]  # nanoseconds of this machine's clock by key


class Figures(NamedTuple):
    """What one round of one contestant saw: jobs per second, and seconds from a commit to the begin of the work."""

    rate: float
    p50: float
    p99: float


class Member(NamedTuple):
    """A fork, and how to talk to it."""

    process: Any
    line: Connection


def compare() -> None:
    """Jobs per second and pick-up latency beside procrastinate and pgqueuer, with one worker process and with eight."""
    with arena() as contestants:
        for processes in PROCESSES:
            print(f" {processes} worker process{'es' if processes > 1 else ''}", flush=True)
            rounds = [_round(number, contestants, processes) for number in range(1, ROUNDS + 1)]
            _conclude(contestants, rounds)


@contextmanager
def arena() -> Iterator[Sequence[Contestant]]:
    """A PostgreSQL with a database for each contestant."""
    with tempfile.TemporaryDirectory() as folder:
        server = embedded.start(Path(folder))
        try:
            for kind in CONTESTANTS:
                _execute(server.dsn(), f"CREATE DATABASE {kind.__name__.lower()}")
            yield [enter(kind, server.dsn(kind.__name__.lower())) for kind in CONTESTANTS]
        finally:
            server.stop()


def enter(kind: Callable[[str], Contestant], dsn: str) -> Contestant:
    """A contestant in a database that is empty so far."""
    contestant = kind(dsn)
    contestant.run(contestant.install())
    return contestant


def _round(number: int, contestants: Sequence[Contestant], processes: int) -> list[Figures]:
    """Everybody in turns, so that whatever else the machine does meets all of them."""
    figures = []
    for contestant in contestants:
        rate = drain(contestant, processes, contestant.jobs)
        waits = sorted(pick_up(contestant, processes, SAMPLES))
        figures.append(Figures(rate, waits[len(waits) // 2], waits[int(len(waits) * 0.99)]))
        print(f"  round {number}: {contestant.title:<20} {_told(figures[-1])}", flush=True)
    return figures


def _conclude(contestants: Sequence[Contestant], rounds: Sequence[Sequence[Figures]]) -> None:
    """The medians, and ours beside each of the others."""
    ours, *others = (_medians(of_one) for of_one in zip(*rounds, strict=True))
    print(f"  medians: {contestants[0].title:<20} {_told(ours)}")
    for contestant, other in zip(contestants[1:], others, strict=True):
        print(f"  medians: {contestant.title:<20} {_told(other)}")
        ratios = (ours.rate / other.rate, other.p50 / ours.p50, other.p99 / ours.p99)
        told = "jobs/s {:.1f}, p50 {:.1f}, p99 {:.1f}".format(*ratios)
        print(f"   ours is ahead of {contestant.title} by a factor of: {told} (wanted: all above 1)")


def _medians(of_one: Sequence[Figures]) -> Figures:
    return Figures(*(statistics.median(values) for values in zip(*of_one, strict=True)))


def _told(figures: Figures) -> str:
    return f"{figures.rate:6.0f} jobs/s   pick-up p50 {figures.p50 * 1000:6.1f} ms p99 {figures.p99 * 1000:6.1f} ms"


def drain(contestant: Contestant, processes: int, jobs: int) -> float:
    """Jobs per second of a queue that was full before, by the times that are kept beside the jobs."""
    _execute(contestant.dsn, contestant.clear)
    contestant.run(contestant.fill(jobs))
    _settle(contestant)
    with _workers(contestant, processes) as crew:
        _wait_until_empty(contestant)
        began = _dismiss(crew)
    done, seconds = _query(contestant.dsn, contestant.done_query)
    assert len(began) == done == jobs, (contestant.title, len(began), done, jobs)
    return float(jobs / seconds)


def pick_up(contestant: Contestant, processes: int, samples: int) -> list[float]:
    """Seconds from the return of each commit to the begin of the work in a worker."""
    _execute(contestant.dsn, contestant.clear)
    _settle(contestant)
    with _workers(contestant, processes) as crew:
        producer = _fork(_produce, contestant, WARM_UP + samples)
        committed: Moments = producer.line.recv()
        producer.process.join()
        _wait_until_empty(contestant)
        began = _dismiss(crew)
    assert began.keys() == committed.keys(), (contestant.title, len(began), len(committed))
    return [(began[key] - at) / 1e9 for key, at in committed.items() if int(key) >= WARM_UP]


@contextmanager
def _workers(contestant: Contestant, processes: int) -> Iterator[list[Member]]:
    """They begin at the same moment, all with their connections open."""
    crew = [_fork(_work, contestant) for _ in range(processes)]
    try:
        for member in crew:
            member.line.recv()
        for member in crew:
            member.line.send("begin")
        yield crew
    finally:
        for member in crew:
            member.process.terminate()
            member.process.join()


def _dismiss(crew: Sequence[Member]) -> Moments:
    """When each job was begun. Nobody else may have begun it, too."""
    began: Moments = {}
    for member in crew:
        member.line.send("stop")
    for member in crew:
        of_one = member.line.recv()
        assert len(dict(of_one)) == len(of_one), "a job was done twice by one worker"
        assert not began.keys() & dict(of_one).keys(), "a job was done by two workers"
        began.update(of_one)
    return began


def _fork(main: Callable[..., None], *arguments: object) -> Member:
    ours, theirs = multiprocessing.Pipe()
    forked = multiprocessing.get_context("fork").Process(target=main, args=(*arguments, theirs), daemon=True)
    forked.start()
    theirs.close()  # ours is at its end when the fork is
    return Member(forked, ours)


def _work(contestant: Contestant, line: Connection) -> None:
    """A worker process, with the collector of garbage set as in our production, for all alike."""
    gc.freeze()
    gc.set_threshold(*process.GC_THRESHOLDS)
    began: list[tuple[str, int]] = []

    def handle(key: str) -> None:
        began.append((key, time.time_ns()))

    contestant.run(_working(contestant, handle, line))
    line.send(began)


async def _working(contestant: Contestant, handle: Handle, line: Connection) -> None:
    async with contestant.worker(handle) as begin:
        line.send("ready")
        line.recv()
        begin()
        await asyncio.to_thread(line.recv)


def _produce(contestant: Contestant, jobs: int, line: Connection) -> None:
    line.send(contestant.run(_producing(contestant, jobs)))


async def _producing(contestant: Contestant, jobs: int) -> Moments:
    """One job after another, each at its time, late or not. Returns when the commit of each had returned."""
    gaps, committed = random.Random(SEED), {}
    async with contestant.producer() as enqueue:
        at = time.monotonic()
        for number in range(jobs):
            at += gaps.uniform(0.5, 1.5) / RATE
            await asyncio.sleep(max(at - time.monotonic(), 0))
            await enqueue(str(number))
            committed[str(number)] = time.time_ns()
        await asyncio.sleep(1 / RATE)  # the last one's bell has rung
    return committed


def _settle(contestant: Contestant) -> None:
    """What the filling left to be done later is done before the clock runs."""
    for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
        _execute(contestant.dsn, statement)


def _wait_until_empty(contestant: Contestant) -> None:
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(contestant.dsn, autocommit=True) as connection:
        while connection.execute(contestant.open_query.encode()).fetchone()[0]:
            assert time.monotonic() < deadline, f"{contestant.title} does not come to an end"
            time.sleep(POLL_S)


def _execute(dsn: str, statement: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statement.encode())


def _query(dsn: str, query: str) -> Any:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchone()
