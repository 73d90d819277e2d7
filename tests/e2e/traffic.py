"""Clients that talk to processes without a pause longer than a person would notice, and what they were answered.

It knows clients and answers; it knows nothing of what is done to the service meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

from tests.cast import Person
from tests.e2e.process import Answer, Process
from tests.serving import message
from tests.waiting import until

# So many that nobody comes again soon: who is known is greeted without the database, and who is fast is told so.
PEOPLE = 20_000
# Between two updates of one client: load enough to be in the way of whatever happens, and no measure of speed.
PAUSE_S = 0.01
# A hundred answers take less than a second, on a machine that does nothing else.
MORE_WITHIN_S = 20.0


class Told(NamedTuple):
    """One update: the text, when it was sent, and the answer; None where the connection ended without one."""

    text: str
    update: dict[str, Any]
    at: float
    answer: Answer | None


def crowd() -> Iterator[Person]:
    """Everybody in turn, again and again."""
    for number in itertools.cycle(range(PEOPLE)):
        yield Person(50_000 + number, None, f"Person {number}", None, "en")


# One for all clients of a run of the suite.
passers_by = crowd()


@dataclass
class Traffic:
    """What was sent and answered, in the order of the answers."""

    told: list[Told] = field(default_factory=list)

    def since(self, at: float) -> list[Told]:
        """What was sent after this moment."""
        return [told for told in self.told if told.at > at]

    async def more(self, count: int) -> None:
        """Wait until so many more are answered that were sent from now on."""
        at = time.monotonic()
        await until(lambda: len(self.since(at)) >= count, MORE_WITHIN_S)


@asynccontextmanager
async def traffic(
    processes: Sequence[Process], *texts: str, clients: int = 4, pause_s: float = PAUSE_S
) -> AsyncIterator[Traffic]:
    """Clients that send the texts in turn to the processes in turn, until the block ends and all are answered.

    A client who gets no answer leaves.
    """
    sent, ending = Traffic(), asyncio.Event()

    async def talk(number: int) -> None:
        for turn in itertools.count(number):
            if ending.is_set():
                return
            text, process = texts[turn % len(texts)], processes[turn % len(processes)]
            update, at = message(next(passers_by), text), time.monotonic()
            told = Told(text, update, at, await answered(process, update))
            sent.told.append(told)
            if told.answer is None:
                return
            await asyncio.sleep(pause_s)

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(talk(number))
        try:
            yield sent
        finally:
            ending.set()


async def answered(process: Process, update: dict[str, Any]) -> Answer | None:
    try:
        return await process.post(update)
    except aiohttp.ClientError:
        return None
