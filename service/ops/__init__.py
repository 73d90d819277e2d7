"""What operators see and steer: health, metrics, admin. It reads other rooms and owns no table."""

from aiohttp import web

from service.ops import admin, health, metrics
from service.ops.operations import Operations


def routes(operations: Operations) -> list[web.RouteDef]:
    """Everything that is served beside the doors."""
    return [*health.routes(operations), *metrics.routes(operations), *admin.routes(operations)]
