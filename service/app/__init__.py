"""The composition root: puts the rooms together, in a staircase to be started and a mirror of it to be stopped.

The only room that sees every other. It decides nothing; it knows who needs whom, and in which order.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from service import http
from service.app import doors
from service.app.assembly import ASSEMBLY, assemble, sold
from service.app.staircase import STEPS
from service.catalog import Catalog
from service.config import Config, ConfigError
from service.feature import Feature
from service.features import FEATURES
from service.kernel import log as logs
from service.kernel.clock import Clock
from service.ops.streaming import STREAMS, Streams
from service.telegram import webhook

__all__ = ["ASSEMBLY", "assemble", "build", "reload_catalog"]

log = logs.Log("app")


def build(config: Config, *, features: Sequence[Feature] = FEATURES, clock: Clock | None = None) -> web.Application:
    """The application, ready to be started by a runner. To be called inside a running event loop."""
    assembly = assemble(config, features, clock or Clock())
    operations = assembly.operations
    app = web.Application(client_max_size=webhook.BODY_MAX)
    app[ASSEMBLY] = assembly
    streams = app[STREAMS] = Streams()
    app.router.add_routes([http.observed(route) for route in doors.routes(operations, features)])
    doors.stand_ins(config, app)
    app.router.add_routes([http.observed(web.route("*", "/{path:.*}", http.not_found))])
    app.on_shutdown.append(streams.end)
    app.cleanup_ctx.extend(STEPS)
    return app


def reload_catalog(app: web.Application) -> None:
    """Sell what the file says now; one with faults changes nothing."""
    operations = app[ASSEMBLY].operations
    try:
        taken = sold(operations.config)
    except ConfigError as error:
        log.warning("catalogue not taken", faults="; ".join(error.faults))
        return
    operations.switchboard.replace(Catalog, taken)
    log.info("catalogue taken", models=len(taken.models), packs=len(taken.packs))
