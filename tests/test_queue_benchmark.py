"""The benchmark of the queues, in small: every job is done once by all three, and the figures are those of a clock.

That ours is faster is said by `make bench`, on a machine that does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks import queue
from benchmarks.contestants import Contestant

JOBS = 300
SAMPLES = 25
PROCESSES = 2


@pytest.mark.parametrize("kind", queue.CONTESTANTS)
def test_every_job_is_done_once(kind: Callable[[str], Contestant], empty_database_url: str) -> None:
    contestant = queue.enter(kind, empty_database_url)
    assert queue.drain(contestant, PROCESSES, JOBS) > 1  # it counts the jobs itself
    waits = queue.pick_up(contestant, PROCESSES, SAMPLES)
    assert len(waits) == SAMPLES
    # A worker may hear of a commit before whoever committed does.
    assert all(-1 < seconds < queue.PATIENCE_S for seconds in waits)
