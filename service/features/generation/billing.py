"""What paid work costs: put aside before it is queued, spent with its success, given back with any other end.

It knows the wallet and the queue's door; it knows no provider. Each of it is in one transaction with the job.
"""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from service.catalog import Catalog
from service.errors import DatabaseAway, FeatureOff, NotFound
from service.feature import Rooms
from service.features.generation.bot import telling
from service.features.generation.queue.door import Queue
from service.features.generation.work import Claim, Ended, Order, Placed
from service.kernel.database import Connection, Database
from service.payments import wallet
from service.telegram.router import Context

FREE = Decimal(0)


class Lost(Exception):
    """What was put aside for a job is not held any more: it can be neither charged nor given."""


class Billing:
    """While there is no money, or no queue: nobody can order paid work, and what is queued waits.

    most_rub: the dearest work that can be charged.
    """

    most_rub = FREE

    async def place(self, ctx: Context, order: Order) -> Placed:
        """Put the price aside, and the order into the queue. Raises InsufficientBalance, Unavailable."""
        raise FeatureOff

    async def is_held(self, rooms: Rooms, claim: Claim) -> bool:
        """Whether the price is still put aside. Raises Unavailable."""
        raise FeatureOff

    async def settle(self, rooms: Rooms, conn: Connection, ended: Ended, claim: Claim) -> None:
        """Charge for a success, give back otherwise. Raises Lost, Unavailable."""
        raise FeatureOff

    async def release(self, rooms: Rooms, conn: Connection, job_id: UUID) -> None:
        """Give back. Raises Unavailable."""
        raise FeatureOff


class BillingByBalance(Billing):
    """Charges people's balances. The reservation of a job has the job's id."""

    most_rub = Decimal(10**12)  # what numeric(14, 2) cannot hold any more

    async def place(self, ctx: Context, order: Order) -> Placed:
        if ctx.conn is None:
            raise DatabaseAway
        await wallet.reserve(ctx.rooms, ctx.conn, _hold(order, order.model.id, order.model.price_rub))
        placed = await ctx.of(Queue).place(ctx, order)
        if placed.refused:
            await wallet.release(ctx.rooms, ctx.conn, order.job_id)
        return placed

    async def is_held(self, rooms: Rooms, claim: Claim) -> bool:
        async with rooms.of(Database).transaction() as conn:
            try:
                held = await wallet.reserve(rooms, conn, _hold(claim, claim.model_id, claim.price_rub))
            except (wallet.InsufficientBalance, wallet.ReservationMismatch):
                return False
        return held.status == "held"

    async def settle(self, rooms: Rooms, conn: Connection, ended: Ended, claim: Claim) -> None:
        """The person reads in his history what he paid for; the job is known by its reservation."""
        if ended.status != "success":
            await self.release(rooms, conn, ended.job_id)
            return
        title = telling.title_of(rooms.of(Catalog), claim.model_id, claim.language)
        try:
            await wallet.capture(rooms, conn, ended.job_id, claim.price_rub, title)
        except (NotFound, wallet.ReservationFinished, wallet.ReservationMismatch) as error:
            raise Lost from error

    async def release(self, rooms: Rooms, conn: Connection, job_id: UUID) -> None:
        try:
            await wallet.release(rooms, conn, job_id)
        except (NotFound, wallet.ReservationFinished):  # made anew, or spent: there is nothing to give back
            return


def _hold(asked: Order | Claim, model_id: str, price_rub: Decimal) -> wallet.Hold:
    return wallet.Hold(asked.job_id, asked.user_id, price_rub, f"generation: {model_id}")
