"""The service in a process of its own, to be killed: it sends as fast as it can.

`python -m tests.features.broadcasts.sender DATABASE_URL TELEGRAM_API_BASE` runs until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from service.features.broadcasts import sending
from service.kernel import jobs
from service.telegram import pacing
from service.telegram.pacing import Limit
from tests.serving import serving

BATCH = 250
GONE_AFTER_S = 8.0  # longer than the patience of a call


async def main(database_url: str, base: str) -> None:
    async with serving(database_url, TELEGRAM_API_BASE=base) as served:
        while True:
            served.operations.jobs.poke("give_up_broadcasts")
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    sending.BATCH, sending.PACE = BATCH, timedelta(milliseconds=20)
    sending.GONE_AFTER = timedelta(seconds=GONE_AFTER_S)
    jobs.AFTER_RUN_S = 0.01
    pacing.OVERALL = Limit(100_000, 1.0)
    asyncio.run(main(*sys.argv[1:]))
