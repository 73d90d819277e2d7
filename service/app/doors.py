"""What is served: the doors, what features serve, what operators see, and in development the world outside.

It knows where a route meets its switch; it knows nothing of what a route does.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from service import development, ops
from service.config import Config
from service.errors import FeatureOff, SchemaDrift
from service.feature import Feature, HttpRoute, Off, Rooms
from service.ops.admin.guard import Guard
from service.ops.operations import Operations
from service.sandbox import Sandbox
from service.sandbox.generation import Generation
from service.sandbox.processors import Accounts, PolarAccount, Processors, StripeAccount, YooKassaAccount
from service.switchboard import Switchboard
from service.telegram import webhook


def routes(operations: Operations, features: Sequence[Feature]) -> list[web.RouteDef]:
    """The doors, what features serve, and what operators see."""
    secret = operations.config.telegram_webhook_secret or ""
    guard = Guard(operations.config.admin_token, operations.clock)
    routes = (
        web.post(webhook.PATH, webhook.door(operations.dispatcher, secret)),
        *(_gated(feature, route, operations.switchboard) for feature in features for route in feature.routes),
        *ops.routes(operations),
    )
    return guard.around(routes)


def stand_ins(config: Config, app: web.Application) -> None:
    """Telegram, the processors and the models, where development has none of its own."""
    if development.uses_sandbox(config):
        Sandbox(development.SANDBOX_TOKEN).mount(app)
        _processors(config).mount(app)
        Generation(development.SANDBOX_KEY).mount(app)


def _processors(config: Config) -> Processors:
    """The stand-ins of the payment processors, with the accounts that the settings name."""
    return Processors(
        config.public_url or "",
        accounts=Accounts(
            yookassa=YooKassaAccount(config.yookassa_shop_id or "", config.yookassa_secret_key or ""),
            stripe=StripeAccount(config.stripe_secret_key or "", (config.stripe_webhook_secret or ("",))[0]),
            polar=PolarAccount(config.polar_access_token or "", config.polar_webhook_secret or ""),
        ),
    )


def _gated(feature: Feature, route: HttpRoute, switchboard: Switchboard) -> web.RouteDef:
    """The one place where a route meets its switch."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await route.handler(request, _rooms_of(feature, switchboard))
        except SchemaDrift:  # a table went away since the last look
            await switchboard.refresh()
            return await route.handler(request, _rooms_of(feature, switchboard))

    return web.route(route.method, route.path, handle)


def _rooms_of(feature: Feature, switchboard: Switchboard) -> Rooms:
    """Raises FeatureOff: of this feature, or of one that is essential."""
    for state in (switchboard.mounted.essential, switchboard.states[feature.name]):
        if isinstance(state, Off):
            raise FeatureOff(state.reason)
    return switchboard.mounted.rooms
