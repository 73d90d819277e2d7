"""GET /metrics: the registry as Prometheus reads it, and the figures that somebody must look for.

It knows what is alive and the loop it runs in; what is counted elsewhere is counted there. Open, as /health is:
labels are words of the code, and tell nothing of people or addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from service import http
from service.feature import Off
from service.kernel import metrics
from service.ops.metrics.stock import Stock
from service.ops.operations import Operations

# Often enough to meet a stall of a tenth of a second now and then, rare enough to cost nothing.
SAMPLE_EVERY_S = 0.5


def routes(operations: Operations) -> list[web.RouteDef]:
    stock = Stock(operations)

    async def show(_request: web.Request) -> web.Response:
        await stock.take()
        _take_stock(operations)
        http.observations.settle()
        return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})

    return [web.get("/metrics", show)]


async def loop_lag(_app: web.Application) -> AsyncIterator[None]:
    """For cleanup_ctx: measures the event loop for as long as the application runs."""
    sampling = asyncio.create_task(_sample())
    yield
    sampling.cancel()


async def _sample() -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + SAMPLE_EVERY_S
        await asyncio.sleep(SAMPLE_EVERY_S)
        metrics.LOOP_LAG.observe(max(0.0, loop.time() - due))


def _take_stock(operations: Operations) -> None:
    """What is a state and no event is read when it is asked for."""
    status = operations.database.status()
    metrics.DB_REACHABLE.set(status.reachable)
    connections = {"idle": status.idle, "used": status.connections - status.idle, "max": status.maximum}
    for which, count in connections.items():
        metrics.DB_POOL_CONNECTIONS.labels(which).set(count)
    metrics.DB_POOL_WAITING.set(status.waiting)
    for name, state in operations.switchboard.states.items():
        metrics.FEATURE_ENABLED.labels(name).set(state.state == "on")
        metrics.FEATURE_DEGRADED.labels(name).set(isinstance(state, Off) and not state.is_chosen)
