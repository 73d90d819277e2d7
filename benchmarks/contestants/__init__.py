"""Three queues of jobs in PostgreSQL, each behind the same few calls, so that one harness can measure them.

It knows what a contestant must be able to do; it knows none of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

# The work: given the key of the job. Synchronous, since it does nothing but note the moment.
Handle = Callable[[str], None]
# Puts one job in, and returns when its transaction is committed.
Enqueue = Callable[[str], Awaitable[object]]


class Contestant(Protocol):
    """A queue in a database of its own. Everything but `title` is called in a process that may be a fork."""

    title: str
    dsn: str
    jobs: int  # of a full queue: what takes it some seconds
    # SQL: whether anything is open, jobs that ended well, seconds from the first claim to the last end.
    open_query: str
    done_query: str
    clear: str

    def __init__(self, dsn: str) -> None: ...

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """In the event loop that its documentation recommends."""

    async def install(self) -> None:
        """Make the tables. Once."""

    async def fill(self, jobs: int) -> None:
        """So many jobs, whose keys are their numbers from 0 on."""

    def worker(self, handle: Handle) -> AbstractAsyncContextManager[Callable[[], None]]:
        """A worker with its connections open, that begins when it is told to and works until the block ends."""

    def producer(self) -> AbstractAsyncContextManager[Enqueue]:
        """Somebody who puts jobs in, and is no worker."""
