"""Twenty clients who deliver updates as Telegram does, and what became of each update.

It knows how to deliver until it is acknowledged and how to count; it knows nothing of what breaks meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.e2e.process import Process
from tests.e2e.traffic import answered, passers_by
from tests.serving import message
from tests.waiting import until

CLIENTS = 20
# Between two updates of a client: a load that the machine bears with ease, so that a lower rate means something.
PACE_S = 0.1
# Until an update is sent again. A person may be handled twice a second.
AGAIN_S = 0.5
# Everything is over then, or never.
ACKNOWLEDGED_WITHIN_S = 30.0


@dataclass(slots=True)
class Delivery:
    """One update from its first delivery to its acknowledgement."""

    client: int
    update: dict[str, Any]
    began_at: float
    acknowledged_at: float = 0.0
    text: str = ""


@dataclass
class Storm:
    """`processes` may be changed while it blows."""

    processes: list[Process]
    acknowledged: list[Delivery] = field(default_factory=list)
    refused: int = 0
    longest_s: float = 0.0
    _ending: bool = False

    @asynccontextmanager
    async def blowing(self) -> AsyncIterator[None]:
        """Deliver until the block ends, then until everything that was begun is acknowledged."""
        async with asyncio.TaskGroup() as group:
            clients = [group.create_task(self._deliver_on(number)) for number in range(CLIENTS)]
            yield
            self._ending = True
            await until(lambda: all(client.done() for client in clients), ACKNOWLEDGED_WITHIN_S)

    async def rate(self, seconds: int) -> float:
        """Updates acknowledged in a second: the median of the seconds to come."""
        counts = []
        for _ in range(seconds):
            before = len(self.acknowledged)
            await asyncio.sleep(1)
            counts.append(len(self.acknowledged) - before)
        return statistics.median(counts)

    async def recovered(self) -> float:
        """Seconds until every client has had an update acknowledged that was begun from now on."""
        now = time.monotonic()
        return await until(lambda: self._served_since(now) == CLIENTS, ACKNOWLEDGED_WITHIN_S)

    def _served_since(self, at: float) -> int:
        served = {delivery.client for delivery in self.acknowledged[-10 * CLIENTS :] if delivery.began_at > at}
        return len(served)

    async def _deliver_on(self, client: int) -> None:
        while not self._ending:
            delivery = Delivery(client, message(next(passers_by), "/count"), time.monotonic())
            await self._deliver(delivery)
            self.acknowledged.append(delivery)
            await asyncio.sleep(PACE_S)

    async def _deliver(self, delivery: Delivery) -> None:
        while True:
            started = time.monotonic()
            answer = await answered(random.choice(self.processes), delivery.update)
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - started)
            if answer is not None and answer.status == 200:
                delivery.acknowledged_at, delivery.text = now, answer.text
                return
            self.refused += 1
            await asyncio.sleep(AGAIN_S)


async def differences(deliveries: Sequence[Delivery], table: asyncpg.Connection) -> tuple[int, int, int]:
    """How many acknowledged updates have no effect, how many more than one, and how many were told something else."""
    rows = await table.fetch("SELECT update_id, number FROM counted")
    effects = Counter(row["update_id"] for row in rows)
    numbers = {row["update_id"]: row["number"] for row in rows}
    ids = [delivery.update["update_id"] for delivery in deliveries]
    lies = sum(one.text != f"counted {numbers.get(one.update['update_id'])}" for one in deliveries)
    return sum(effects[one] == 0 for one in ids), sum(count > 1 for count in effects.values()), lies
