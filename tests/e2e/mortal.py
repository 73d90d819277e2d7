"""The service with a place to die at, for each step of whatever moves money.

`python -m tests.e2e.mortal` is told on its standard input what to run: `serve`, a command of the service, or what a
feature does with a reservation; each runs in a process of its own, forked, so that a hundred deaths take seconds.
CRASH_IN names a path of HTTP, a job or what a worker does; what is done there is counted, step by step: each
statement, and each call to a processor, that was answered. After the step CRASH_AT (the first is before any) the
process kills itself, as a power cut would. It knows nothing of what the steps are.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from decimal import Decimal
from typing import Any
from uuid import UUID

from service import http, process
from service.cli import main
from service.config import from_environment
from service.features import FEATURES
from service.features.generation.queue.worker import Worker
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.kernel.jobs import JobLoop
from service.payments import wallet
from service.payments.providers.api import Api
from service.telegram.client import BotApi
from tests.payments.money import rooms_for

# The steps done so far by what is counted; None elsewhere.
steps: ContextVar[list[str] | None] = ContextVar("steps", default=None)


def step(name: str) -> None:
    """One more is done."""
    done = steps.get()
    if done is None:
        return
    done.append(name)
    if len(done) == int(os.environ["CRASH_AT"]):
        os.kill(os.getpid(), signal.SIGKILL)


def counted(kind: type, name: str) -> None:
    """Each call of the method is a step, when it is over."""
    method: Callable[..., Awaitable[Any]] = getattr(kind, name)

    async def call(self: Any, first: Any, *rest: Any, **named: Any) -> Any:
        answer = await method(self, first, *rest, **named)
        if first != "BEGIN;":
            step(str(first))
        return answer

    setattr(kind, name, call)


def counts() -> None:
    """From here on, in what this task does."""
    steps.set([])
    step("nothing yet")


def prepare() -> None:
    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        counted(Connection, name)
    counted(Api, "_sent")
    counted(BotApi, "call")
    answered, run_now = http._answered, JobLoop.run_now

    async def answer(handler: Any, request: Any) -> Any:
        if request.path.startswith(os.environ["CRASH_IN"]):
            counts()
        return await answered(handler, request)

    async def run(loop: Any, job: Any) -> Any:
        if job.name == os.environ["CRASH_IN"]:
            counts()
        try:
            return await run_now(loop, job)
        finally:
            steps.set(None)

    http._answered, JobLoop.run_now = answer, run
    for name in ("_claim_surely", "_carry_out"):
        worked(name)


def worked(name: str) -> None:
    """What a worker does, by the name of its method."""
    method: Callable[..., Awaitable[Any]] = getattr(Worker, name)

    async def work(worker: Any, *given: Any) -> Any:
        if name == os.environ["CRASH_IN"]:
            counts()
        try:
            return await method(worker, *given)
        finally:
            steps.set(None)

    setattr(Worker, name, work)


async def put_aside(what: str, user_id: int, reservation_id: UUID) -> None:
    """Fifty roubles of what the person has; or thirty of them are spent."""
    database = Database(from_environment().database)
    await database.start()
    rooms = rooms_for(database, Clock())
    counts()
    async with database.transaction() as conn:
        if what == "reserve":
            await wallet.reserve(rooms, conn, wallet.Hold(reservation_id, user_id, Decimal("50.00"), "a test"))
        else:
            await wallet.capture(rooms, conn, reservation_id, Decimal("30.00"), "a test")
    await database.stop()


def live(told: dict[str, Any]) -> int:
    """The exit code of what is run."""
    os.close(PIPE)
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    for stream in (sys.stdout, sys.stderr):
        os.dup2(os.open(told["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    os.environ |= told["environ"]
    what, *arguments = told["run"]
    if what == "serve":
        process.run(from_environment(), features=FEATURES)
    elif what in ("reserve", "capture"):
        asyncio.run(put_aside(what, int(arguments[0]), UUID(arguments[1])))
    else:
        return main([what, *arguments])
    return 0


def breed() -> None:
    """A line {"output", "environ", "run"} begins a process, and is answered with its number; one with {"wait"} ends
    when that process does, and is answered with its exit code, or minus the signal that killed it."""
    for line in sys.stdin:
        told = json.loads(line)
        if "wait" in told:
            answer = os.waitstatus_to_exitcode(os.waitpid(told["wait"], 0)[1])
        elif not (answer := os.fork()):
            code = 70
            try:
                code = live(told)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                sys.stdout.flush()
                os._exit(code)
        os.write(PIPE, f"{answer}\n".encode())


if __name__ == "__main__":
    prepare()
    PIPE = os.dup(sys.stdout.fileno())
    breed()
