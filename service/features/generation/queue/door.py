"""Where work comes in and is taken up: the table, or this process where there is none.

It knows both, and which of the models bear only so many at once; it knows no money.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from service.catalog import Catalog
from service.feature import Rooms
from service.features.generation.in_process import InProcess
from service.features.generation.queue import table
from service.features.generation.queue.bell import Bell
from service.features.generation.work import Claim, Order, Placed
from service.kernel.clock import Clock
from service.kernel.database import Connection, Database
from service.telegram.router import Context


class Wish(msgspec.Struct, frozen=True):
    """What a worker can take: so many, nothing dearer, from that place in the queue on.

    thorough: those of limited models as well, which costs statements of their own.
    """

    instance_id: UUID
    batch: int
    most_rub: Decimal
    since: datetime
    thorough: bool


class Queue:
    """While its tables are missing: free work is done in this process, and a crash forgets it."""

    async def place(self, ctx: Context, order: Order) -> Placed:
        """Take an order in, to be begun after the commit."""
        placed = ctx.of(InProcess).place(order)
        if placed.is_new:
            ctx.afterwards.append(lambda: ctx.of(InProcess).start(ctx.rooms, order))
        return placed

    async def attend(self, rooms: Rooms, instance_id: UUID, name: str) -> set[table.Lease]:
        """Say that this instance is alive, and hear what it still holds."""
        return set()

    async def disown(self, rooms: Rooms, instance_id: UUID, leases: Collection[table.Lease]) -> None:
        """This instance knows nothing of these: they are as those of the dead."""

    async def claim(self, rooms: Rooms, conn: Connection, wish: Wish) -> list[Claim]:
        """Take work. Raises Unavailable."""
        return []

    async def leave(self, rooms: Rooms, instance_id: UUID) -> int:
        """This instance ends: how many jobs it left to others."""
        return 0


class QueueInTable(Queue):
    """The real one. With the database away it takes free work in as if there were none."""

    async def place(self, ctx: Context, order: Order) -> Placed:
        if ctx.conn is None:
            return await super().place(ctx, order)
        most = ctx.of(Catalog).jobs_per_person
        bell = ctx.of(Bell)
        placed = await table.enqueue(ctx.conn, order, ctx.of(Clock).now(), most)
        if placed.is_new:
            ctx.afterwards.append(bell.wake if await bell.ring_with(ctx.conn) else bell.ring)
        return placed

    async def attend(self, rooms: Rooms, instance_id: UUID, name: str) -> set[table.Lease]:
        async with rooms.of(Database).acquire() as conn:
            await table.beat(conn, instance_id=instance_id, name=name, now=rooms.of(Clock).now())
            return set(await table.list_leases(conn, instance_id=instance_id))

    async def disown(self, rooms: Rooms, instance_id: UUID, leases: Collection[table.Lease]) -> None:
        async with rooms.of(Database).acquire() as conn:
            await table.disown(conn, instance_id, leases)

    async def claim(self, rooms: Rooms, conn: Connection, wish: Wish) -> list[Claim]:
        who: dict[str, Any] = {"instance_id": wish.instance_id, "now": rooms.of(Clock).now(), "most_rub": wish.most_rub}
        claims = await table.claim(conn, **who, since=wish.since, batch=wish.batch)
        if wish.thorough and len(claims) < wish.batch:
            async with conn.transaction():
                claims += await table.claim_limited(conn, **who, batch=wish.batch - len(claims))
        return claims

    async def leave(self, rooms: Rooms, instance_id: UUID) -> int:
        async with rooms.of(Database).acquire() as conn:
            return await table.leave(conn, instance_id=instance_id, now=rooms.of(Clock).now())
