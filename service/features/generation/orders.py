"""Orders and their end by whoever gave them: the door for free and for paid work.

It knows the queue, the billing and what is to be undone; it knows no message and no provider.
"""

from __future__ import annotations

from uuid import UUID

from service.catalog import Catalog
from service.features.generation.attempt import give_up
from service.features.generation.billing import Billing
from service.features.generation.in_process import InProcess
from service.features.generation.queue import table
from service.features.generation.queue.bell import Bell
from service.features.generation.queue.door import Queue
from service.features.generation.work import Cancelled, Job, Order, Placed
from service.kernel.clock import Clock
from service.telegram.router import Context


async def place(ctx: Context, order: Order) -> Placed:
    """Have it made after the commit. Raises InsufficientBalance, Unavailable where it is paid work and cannot be."""
    if order.model.is_free:
        return await ctx.of(Queue).place(ctx, order)
    return await ctx.of(Billing).place(ctx, order)


async def cancel(ctx: Context, job_id: UUID) -> Cancelled | None:
    """Call off an open job of this person, and give the money back; None where there is none. In his transaction."""
    now = ctx.of(Clock).now()
    cancelled = await table.cancel(ctx.transaction, job_id=job_id, user_id=ctx.user_id, now=now)
    if cancelled is None:
        return None
    if cancelled.price_rub:
        await ctx.of(Billing).release(ctx.rooms, ctx.transaction, job_id)
    ctx.afterwards.append(lambda: ctx.of(Bell).call_off(job_id))
    if cancelled.reference is not None:
        model, reference = ctx.of(Catalog).model(cancelled.model_id), cancelled.reference
        ctx.afterwards.append(lambda: ctx.of(InProcess).soon(give_up(ctx.rooms, cancelled, model, reference)))
    return cancelled


async def of(ctx: Context, job_id: UUID) -> Job | None:
    """A job of this person, however it stands. In his transaction."""
    return await table.get_job(ctx.transaction, job_id=job_id, user_id=ctx.user_id)
