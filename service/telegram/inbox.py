"""Which updates have had their effect, and which could not be handled: two small tables, each optional.

It knows processed_updates and failed_updates, and what stands in for either while it is missing; it knows
nothing of what an update means.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from cachetools import LRUCache

from service.config import Config
from service.errors import NotFound
from service.feature import Erasing, Feature, Gauges, Offer, Rooms, Sample, owns
from service.kernel import metrics, queries
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.kernel.jobs import Counts, Job
from service.kernel.log import Log
from service.text import Text

SQL = queries.room("telegram")
_claim_update = SQL.value("claim_update", bool)
_store_reply = SQL.exec("store_reply")
_get_reply = SQL.value("get_reply", bytes)
_prune_processed = SQL.exec("prune_processed")
_record_failure = SQL.value("record_failure", bool)
_mark_replayed = SQL.exec("mark_replayed")
_prune_failures = SQL.exec("prune_failures")

# Telegram keeps an update for 24 h; twice that survives any clock.
KEEP_PROCESSED = timedelta(hours=48)
# A failure that mended itself on the second try is of no interest after a day.
KEEP_MENDED = timedelta(hours=24)
PRUNE_EVERY_S = 300.0
PRUNE_BATCH = 5_000
# Three tries rule out a passing fault; more would hold up everything else of that person.
PARK_AFTER = 3
# Counted in memory while failed_updates is missing; more than fail at once in any healthy bot.
COUNTED_MAX = 10_000
PAGE = 50
NEWEST = (datetime.max.replace(tzinfo=UTC), 0)

log = Log("telegram")


class FailedUpdate(msgspec.Struct, frozen=True):
    """A row of failed_updates. Parked: acknowledged to Telegram, and waiting for an operator."""

    update_id: int
    body: bytes
    error: str
    attempts: int
    created_at: datetime
    failed_at: datetime
    parked_at: datetime | None
    replayed_at: datetime | None


_get_failed = SQL.one("get_failed", FailedUpdate)
_list_failed = SQL.many("list_failed", FailedUpdate)


class Parked(msgspec.Struct, frozen=True):
    """How many wait for an operator, counted up to a bound, and the oldest of them in seconds."""

    updates: int
    oldest_s: float


_measure_parked = SQL.one("measure_parked", Parked)


class Claims:
    """Makes an update's effect happen once: the claim commits with the effect.

    This one stands in while the table is missing, and lets everything through: the dispatcher's memory of recent
    updates is all there is then.
    """

    async def claim(self, conn: Connection, update_id: int) -> bool:
        """Whether this transaction is the one that handles the update."""
        return True

    async def stored_reply(self, conn: Connection, update_id: int) -> bytes:
        """The answer of the transaction that did."""
        return b""

    async def store_reply(self, conn: Connection, update_id: int, reply: bytes) -> None:
        """Keep the answer beside the claim."""


class ClaimsInTable(Claims):
    """processed_updates. Ids are one bot's, so a database that changes bots does not mix them up."""

    def __init__(self, bot_id: int) -> None:
        self._bot_id = bot_id

    async def claim(self, conn: Connection, update_id: int) -> bool:
        return bool(await _claim_update(conn, bot_id=self._bot_id, update_id=update_id))

    async def stored_reply(self, conn: Connection, update_id: int) -> bytes:
        return await _get_reply(conn, bot_id=self._bot_id, update_id=update_id) or b""

    async def store_reply(self, conn: Connection, update_id: int, reply: bytes) -> None:
        await _store_reply(conn, bot_id=self._bot_id, update_id=update_id, reply=reply)


class Failures:
    """Where updates go that cannot be handled. This one stands in while the table is missing: it only counts."""

    durable = False

    def __init__(self) -> None:
        self._counts: LRUCache[int, int] = LRUCache(COUNTED_MAX)

    async def record(self, update_id: int, body: bytes, error: str, *, park_after: int = PARK_AFTER) -> bool:
        """Count a failure; True once it is time to acknowledge the update, so that it blocks nobody."""
        count = self._counts[update_id] = self._counts.get(update_id, 0) + 1
        log.error("no table to keep a failed update in", update_id=update_id, attempts=count)
        return count >= park_after


class FailuresInTable(Failures):
    """failed_updates, over connections of its own: the transaction that failed is gone."""

    durable = True

    def __init__(self, database: Database, bot_id: int) -> None:
        super().__init__()
        self._database = database
        self._bot_id = bot_id

    async def record(self, update_id: int, body: bytes, error: str, *, park_after: int = PARK_AFTER) -> bool:
        """Keep the update whole beside the count."""
        async with self._database.acquire() as conn:
            parked = await _record_failure(
                conn, bot_id=self._bot_id, update_id=update_id, body=body, error=error, park_after=park_after
            )
        if parked:
            metrics.UPDATES_POISON.inc()
        return parked

    async def get(self, update_id: int) -> FailedUpdate:
        """Raises NotFound."""
        async with self._database.acquire() as conn:
            failed = await _get_failed(conn, bot_id=self._bot_id, update_id=update_id)
        if failed is None:
            raise NotFound("There is no such failed update.")
        return failed

    async def page(self, after: tuple[datetime, int] = NEWEST, size: int = PAGE) -> list[FailedUpdate]:
        """Parked ones, newest first, after the (parked_at, update_id) of the previous page's last."""
        async with self._database.acquire() as conn:
            return await _list_failed(conn, bot_id=self._bot_id, before_at=after[0], before_id=after[1], page=size)

    async def mark_replayed(self, update_id: int) -> None:
        async with self._database.acquire() as conn:
            await _mark_replayed(conn, bot_id=self._bot_id, update_id=update_id)


async def prune_processed(rooms: Rooms) -> Counts:
    """Forget claims that no redelivery can meet any more."""
    before = rooms.of(Clock).now() - KEEP_PROCESSED
    async with rooms.of(Database).acquire() as conn:
        return {"pruned": await _prune_processed(conn, before=before, batch=PRUNE_BATCH)}


async def prune_failures(rooms: Rooms) -> Counts:
    """Forget failures that a later try has mended. Parked ones stay."""
    before = rooms.of(Clock).now() - KEEP_MENDED
    async with rooms.of(Database).acquire() as conn:
        return {"pruned": await _prune_failures(conn, before=before, batch=PRUNE_BATCH)}


async def measure_parked(rooms: Rooms, conn: Connection) -> list[Sample]:
    parked = await _measure_parked(conn, bot_id=rooms.of(Config).bot_id, now=rooms.of(Clock).now(), most=COUNTED_MAX)
    assert parked is not None, "a count has a row"
    return [(metrics.UPDATES_PARKED, (), parked.updates), (metrics.UPDATES_PARKED_OLDEST, (), parked.oldest_s)]


PROCESSED = Feature(
    name="processed_updates",
    title=Text(en="Memory of processed updates", ru="Память об обработанных обновлениях"),
    needs={"processed_updates": owns("bot_id", "update_id", "reply", "created_at")},
    erases={"processed_updates": Erasing(blanks={"reply": None}, mentions=("reply",))},
    offers=(Offer(Claims, lambda rooms: ClaimsInTable(rooms.of(Config).bot_id), lambda _: Claims()),),
    jobs=(Job("prune_processed_updates", PRUNE_EVERY_S, prune_processed),),
)

FAILED = Feature(
    name="failed_updates",
    title=Text(en="Updates that could not be handled", ru="Обновления, которые не удалось обработать"),
    needs={
        "failed_updates": owns(
            "bot_id", "update_id", "body", "error", "attempts", "created_at", "failed_at", "parked_at", "replayed_at"
        )
    },
    offers=(
        Offer(
            Failures,
            lambda rooms: FailuresInTable(rooms.of(Database), rooms.of(Config).bot_id),
            lambda _: Failures(),
        ),
    ),
    erases={"failed_updates": Erasing(removes=True, mentions=("body",))},
    jobs=(Job("prune_failed_updates", PRUNE_EVERY_S, prune_failures),),
    gauges=(Gauges((metrics.UPDATES_PARKED, metrics.UPDATES_PARKED_OLDEST), measure_parked),),
)
