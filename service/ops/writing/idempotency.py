"""Writes of operators happen once for each Idempotency-Key: a repeat is given the answer of the first.

It knows idempotency_keys, and when an answer is kept; it knows nothing of what is written. What is done in our
database alone is one transaction with its answer. What calls a processor is begun in one transaction and answered in
another, and whoever repeats it after a crash goes on where it ended.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from service.config import Config
from service.errors import Conflict, ServiceError
from service.feature import Rooms, owns
from service.kernel import queries
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.kernel.jobs import Counts, Job

# Longer than any call to a processor with all its pages takes; after a crash a repeat has to wait for so long.
LOCKED_FOR = timedelta(seconds=90)
FORGET_EVERY_S = 300.0
FORGET_BATCH = 1_000

T = TypeVar("T")


class IdempotencyMismatch(Conflict):
    """This Idempotency-Key was used with other parameters."""

    code = "idempotency_mismatch"


class KeyBusy(Conflict):
    """A request with this Idempotency-Key is under way."""


class Write(msgspec.Struct, frozen=True):
    """One write that an operator asks for. scope: what is written to; digest: of all that he asks for."""

    scope: str
    key: str
    digest: bytes


class Answer(msgspec.Struct, frozen=True):
    """What is answered, as HTTP has it. One that is not final is not kept: a repeat looks again."""

    status: int
    body: bytes
    is_final: bool = True


class _Known(msgspec.Struct, frozen=True):
    """What idempotency_keys says of a key."""

    request_hash: bytes
    status_code: int | None
    response: bytes | None
    locked_until: datetime | None


SQL = queries.room("idempotency")
_try_key = SQL.value("try_key", bool)
_get_key = SQL.one("get_key", _Known)
_begin_key = SQL.exec("begin_key")
_answer_key = SQL.exec("answer_key")
_unlock_key = SQL.exec("unlock_key")
_forget_keys = SQL.exec("forget_keys")


async def at_once(rooms: Rooms, write: Write, work: Callable[[Connection], Awaitable[Answer]]) -> Answer:
    """Work that is all in our database: it and its answer are one transaction, and what fails leaves no key.

    Raises IdempotencyMismatch, KeyBusy, and what the work raises.
    """
    async with rooms.of(Database).transaction() as conn:
        known = await _claimed(rooms, conn, write)
        if known is not None:
            return known
        answer = await work(conn)
        await _keep(rooms, conn, write, answer)
        return answer


async def in_steps(
    rooms: Rooms,
    write: Write,
    begin: Callable[[Connection], Awaitable[T]],
    go_on: Callable[[T], Awaitable[Answer]],
) -> Answer:
    """Work that calls somebody: `begin` commits with the key, then `go_on` outside of any transaction, then its answer.

    Both must be such that they can be done again. What fails in `begin` leaves no key. Raises IdempotencyMismatch,
    KeyBusy, and what the two raise.
    """
    now = rooms.of(Clock).now()
    async with rooms.of(Database).transaction() as conn:
        known = await _claimed(rooms, conn, write)
        if known is not None:
            return known
        begun = await begin(conn)
        named = {"scope": write.scope, "key": write.key, "request_hash": write.digest}
        await _begin_key(conn, **named, now=now, until=now + LOCKED_FOR)
    try:
        answer = await go_on(begun)
    except ServiceError:
        await _unlock(rooms, write)
        raise
    await _finish(rooms, write, answer)
    return answer


async def _claimed(rooms: Rooms, conn: Connection, write: Write) -> Answer | None:
    """The answer that was given; None where this transaction is the one that finds it."""
    if not await _try_key(conn, scope=write.scope, key=write.key):
        raise KeyBusy
    known = await _get_key(conn, scope=write.scope, key=write.key)
    if known is None:
        return None
    if known.request_hash != write.digest:
        raise IdempotencyMismatch
    if known.status_code is not None and known.response is not None:
        return Answer(known.status_code, known.response)
    if known.locked_until is not None and known.locked_until > rooms.of(Clock).now():
        raise KeyBusy
    return None


async def _finish(rooms: Rooms, write: Write, answer: Answer) -> None:
    if not answer.is_final:
        await _unlock(rooms, write)
        return
    async with rooms.of(Database).acquire() as conn:
        await _keep(rooms, conn, write, answer)


async def _keep(rooms: Rooms, conn: Connection, write: Write, answer: Answer) -> None:
    await _answer_key(
        conn,
        scope=write.scope,
        key=write.key,
        request_hash=write.digest,
        status_code=answer.status,
        response=answer.body,
        now=rooms.of(Clock).now(),
    )


async def _unlock(rooms: Rooms, write: Write) -> None:
    async with rooms.of(Database).acquire() as conn:
        await _unlock_key(conn, scope=write.scope, key=write.key)


async def forget_keys(rooms: Rooms) -> Counts:
    """Forget keys older than IDEMPOTENCY_TTL; one that somebody is at work for is kept."""
    now, forgotten = rooms.of(Clock).now(), 0
    before = now - timedelta(seconds=rooms.of(Config).idempotency_ttl)
    while True:
        async with rooms.of(Database).acquire() as conn:
            batch = await _forget_keys(conn, before=before, now=now, batch=FORGET_BATCH)
        forgotten += batch
        if batch < FORGET_BATCH:
            return {"forgotten": forgotten}


NEEDS = {
    "idempotency_keys": owns("scope", "key", "request_hash", "status_code", "response", "created_at", "locked_until")
}
JOB = Job("forget_keys", FORGET_EVERY_S, forget_keys)
