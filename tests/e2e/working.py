"""The service with a provider that takes as long as the prompt says, and that blocks the whole process where asked to.

`python -m tests.e2e.working run` serves, `work` works beside it, and any other command is the service's. A prompt is
"<milliseconds> <anything>"; "block <milliseconds>" keeps the event loop busy, for the first process that BLOCKS (a
path) is free for. It knows nothing of what is to be shown.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import replace

from service import process
from service.catalog import Params
from service.cli import main
from service.config import from_environment
from service.feature import Rooms
from service.features import FEATURES
from service.features.generation import providers
from service.features.generation.providers.provider import Output, Request
from service.features.generation.queue import worker

NAME = "stub"
MODULE = "tests.e2e.working"
# Nobody waits ten seconds in a test for what may happen after two.
EVERY_MOST_S = 2.0
# Whoever takes an order leaves some of the work to the others.
HANDS = 8
CATALOG = """
jobs_per_person = 10
[[categories]]
id = "all"
title = { en = "All", ru = "Все" }
[[models]]
id = "free"
title = { en = "Free", ru = "Даром" }
category = "all"
price_rub = 0
provider = "stub"
timeout_s = 30
[[models]]
id = "paid"
title = { en = "Paid", ru = "За деньги" }
category = "all"
price_rub = 3
provider = "stub"
timeout_s = 30
[[models]]
id = "narrow"
title = { en = "Narrow", ru = "По одному" }
category = "all"
price_rub = 3
provider = "stub"
timeout_s = 30
at_once = 2
"""


class Stub:
    """Makes a text that names the job."""

    async def start(self, request: Request) -> Output:
        first, _, rest = request.prompt.partition(" ")
        if first == "block":
            if is_first():
                time.sleep(int(rest) / 1000)
        else:
            await asyncio.sleep(int(first) / 1000)
        return Output(f"made {request.job_id}")

    async def check(self, request: Request, _reference: str) -> Output:
        return await self.start(request)

    async def cancel(self, _request: Request, _reference: str) -> None:
        """There is never anything under way."""


def is_first() -> bool:
    try:
        os.close(os.open(os.environ["BLOCKS"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


class Kind:
    NAME = NAME

    @staticmethod
    def check(_params: Params) -> Iterable[str]:
        return ()

    @staticmethod
    def configured(_rooms: Rooms) -> Stub:
        return Stub()


def sooner() -> None:
    """The jobs of the features run every two seconds."""
    for feature in FEATURES:
        jobs = tuple(replace(job, every_s=min(job.every_s, EVERY_MOST_S)) for job in feature.jobs)
        object.__setattr__(feature, "jobs", jobs)


def prepare() -> None:
    providers.KINDS = (*providers.KINDS, Kind)
    providers.CHECKS[NAME] = Kind.check
    worker.Worker.__init__.__kwdefaults__["hands"] = HANDS
    sooner()


if __name__ == "__main__":
    prepare()
    if sys.argv[1] == "run":
        process.run(from_environment(), features=FEATURES)
    elif sys.argv[1] == "work":
        process.work(from_environment(), features=FEATURES)
    else:
        sys.exit(main(sys.argv[1:]))
