"""The tables generation_jobs and instances, as functions. Takes a connection, never opens or commits anything.

It knows leases and places in the queue; it knows no money and no provider. SQL is in sql/generation.sql.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import msgspec
import orjson

from service.errors import UserMissing
from service.features.generation.providers.provider import File, Output
from service.features.generation.work import Cancelled, Claim, Ended, Ending, Job, Order, Placed, Result
from service.kernel import queries
from service.kernel.database import Connection
from service.text import Language, storable

SQL = queries.room("generation", violations={"generation_jobs_user_known": UserMissing})


class Lease(msgspec.Struct, frozen=True):
    """What somebody holds: a job, by the number of the claim."""

    job_id: UUID
    lease: int


class Rescued(Claim, frozen=True):
    """A job taken from the dead: `waiting` for anybody, or `failed` because it was begun too often."""

    status: str


class Undelivered(msgspec.Struct, frozen=True):
    """A row that ended, and that nobody was told of."""

    job_id: UUID
    user_id: int
    chat_id: int
    language: Language
    model_id: str
    price_rub: Decimal
    status: Ending
    outputs: str | None
    file: bytes | None
    error_code: str | None
    progress_message_id: int | None
    deliveries: int

    @property
    def result(self) -> Result:
        return Result(
            job_id=self.job_id,
            user_id=self.user_id,
            chat_id=self.chat_id,
            language=self.language,
            model_id=self.model_id,
            price_rub=self.price_rub,
            status=self.status,
            output=_output(self.outputs, self.file),
            error_code=self.error_code,
            progress_message_id=self.progress_message_id,
        )


_lock_person = SQL.value("lock_person", bool)
_enqueue = SQL.one("enqueue", Placed)
_lock_limits = SQL.value("lock_limits", bool)
_claim_limited = SQL.many("claim_limited", Claim)
_disown = SQL.exec("disown")
_finish = SQL.value("finish", list[UUID])
_mark_delivered = SQL.exec("mark_delivered")

claim = SQL.many("claim", Claim)
put_off = SQL.exec("put_off")
cancel = SQL.one("cancel", Cancelled)
call_back = SQL.exec("call_back")
is_known = SQL.value("is_known", bool)
get_job = SQL.one("get_job", Job)
beat = SQL.exec("beat")
list_leases = SQL.many("list_leases", Lease)
leave = SQL.value("leave", int)
rescue = SQL.many("rescue", Rescued)
claim_undelivered = SQL.many("claim_undelivered", Undelivered)
list_paid = SQL.value("list_paid", list[UUID])
ring = SQL.value("ring", bool)
prune_jobs = SQL.exec("prune_jobs")
prune_instances = SQL.exec("prune_instances")


async def enqueue(conn: Connection, order: Order, now: datetime, most: int) -> Placed:
    """Put an order into the queue, unless its person has `most` open already. Raises UserMissing."""
    await _lock_person(conn, user_id=order.user_id)
    placed = await _enqueue(
        conn,
        job_id=order.job_id,
        user_id=order.user_id,
        chat_id=order.chat_id,
        language=order.language,
        model_id=order.model.id,
        price_rub=order.model.price_rub,
        prompt=order.prompt,
        timeout_s=order.model.timeout_s,
        at_once=order.model.at_once,
        now=now,
        most=most,
    )
    assert placed is not None, "the query has always one row"
    return placed


async def claim_limited(
    conn: Connection, instance_id: UUID, now: datetime, most_rub: Decimal, batch: int
) -> list[Claim]:
    """Take what models with a limit have room for. In a transaction: others who count wait until it ends."""
    await _lock_limits(conn)
    return await _claim_limited(conn, instance_id=instance_id, now=now, most_rub=most_rub, batch=batch)


async def disown(conn: Connection, instance_id: UUID, leases: Collection[Lease]) -> int:
    """Let whoever mends the queue take these."""
    job_ids, numbers = [one.job_id for one in leases], [one.lease for one in leases]
    return await _disown(conn, instance_id=instance_id, job_ids=job_ids, leases=numbers)


async def finish(conn: Connection, ended: Sequence[Ended], now: datetime) -> set[UUID]:
    """End these; the jobs that were still held by the leases that are named."""
    files = [one.output.file if one.output else None for one in ended]
    finished = await _finish(
        conn,
        job_ids=[one.job_id for one in ended],
        leases=[one.lease for one in ended],
        statuses=[one.status for one in ended],
        outputs=[_written(one.output) for one in ended],
        files=[file.body if file else None for file in files],
        error_codes=[one.error_code for one in ended],
        error_messages=[one.error_message for one in ended],
        due_ats=[one.due_at for one in ended],
        now=now,
    )
    return set(finished)


async def mark_delivered(conn: Connection, outputs: Mapping[UUID, Mapping[str, object] | None], now: datetime) -> int:
    """Their people were told; what is to be kept of each, or None for what is there."""
    kept = [orjson.dumps(one).decode() if one is not None else None for one in outputs.values()]
    return await _mark_delivered(conn, job_ids=list(outputs), outputs=kept, now=now)


def _written(output: Output | None) -> str | None:
    """The column `outputs`, beside which the file's bytes have a column of their own."""
    if output is None:
        return None
    file = {"name": storable(output.file.name), "media_type": output.file.media_type} if output.file else {}
    text = {"text": storable(output.text)} if output.text is not None else {}
    return orjson.dumps({**text, **file}).decode()


def _output(outputs: str | None, body: bytes | None) -> Output | None:
    """What `_written` wrote."""
    if outputs is None:
        return None
    read = orjson.loads(outputs)
    file = File(read["name"], read["media_type"], body) if body is not None else None
    return Output(read.get("text"), file)
