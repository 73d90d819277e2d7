"""Stand-ins for the payment processors: their APIs over real HTTP, their callbacks, and a page to pay on.

For development and tests only. It knows the processors' wire formats and must not know anything of the shop: the
shop knows of it as YOOKASSA_API_BASE, STRIPE_API_BASE and POLAR_API_BASE alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from service.sandbox.calls import Calls
from service.sandbox.processors.api import ApiCall, Faults, NotPayable
from service.sandbox.processors.callbacks import Callback, Postman, Schedule, resend_after
from service.sandbox.processors.doors import Doors
from service.sandbox.processors.polar.organization import Polar, PolarAccount
from service.sandbox.processors.stripe.account import Stripe, StripeAccount
from service.sandbox.processors.yookassa.shop import YooKassa, YooKassaAccount

__all__ = [
    "Accounts",
    "ApiCall",
    "Callback",
    "NotPayable",
    "PolarAccount",
    "Processors",
    "StripeAccount",
    "YooKassaAccount",
    "resend_after",
]


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the shop has at each processor. Made without a word it is a test shop that works."""

    yookassa: YooKassaAccount = field(default_factory=YooKassaAccount)
    stripe: StripeAccount = field(default_factory=StripeAccount)
    polar: PolarAccount = field(default_factory=PolarAccount)


class Processors:
    """The three emulators. Callbacks go to `webhook_base`/payments/{yookassa, stripe, polar}.

    webhook_base: the shop's address, or a function where it is known only later. clock: seconds since the epoch.
    schedule: seconds until a callback that failed n times is sent again, None to give it up.
    """

    def __init__(
        self,
        webhook_base: str | Callable[[], str],
        accounts: Accounts | None = None,
        *,
        clock: Callable[[], float] = time.time,
        schedule: Schedule = resend_after,
    ) -> None:
        accounts = accounts or Accounts()
        base = webhook_base if callable(webhook_base) else lambda: webhook_base
        self._postman = Postman(base, clock, schedule)
        self.yookassa = YooKassa(accounts.yookassa, self._postman.post, clock)
        self.stripe = Stripe(accounts.stripe, self._postman.post, clock)
        self.polar = Polar(accounts.polar, self._postman.post, clock)
        emulators = {one.name: one for one in (self.yookassa, self.stripe, self.polar)}
        self._doors = Doors(emulators, self._postman, clock)

    def routes(self, prefix: str = "/sandbox") -> list[web.RouteDef]:
        """APIs at `prefix`/yookassa/v3, `prefix`/stripe and `prefix`/polar; the page below `prefix`/pay."""
        return self._doors.routes(prefix)

    def mount(self, app: web.Application, prefix: str = "/sandbox") -> None:
        """Serve from this app, and stop with it."""
        app.add_routes(self.routes(prefix))

        async def on_shutdown(_: web.Application) -> None:
            await self.stop()

        app.on_shutdown.append(on_shutdown)

    async def stop(self) -> None:
        """Let go everything that waits. Callbacks that nobody acknowledged are lost."""
        self.faults.clear()
        await self._postman.stop()

    @property
    def calls(self) -> Calls[ApiCall]:
        """The last calls of the shop, oldest first."""
        return self._doors.calls

    @property
    def faults(self) -> Faults:
        return self._doors.faults

    @property
    def callbacks(self) -> list[Callback]:
        """The last callbacks, oldest first, whatever became of them."""
        return list(self._postman.log)

    @property
    def pending(self) -> list[Callback]:
        """Those that are neither acknowledged nor given up nor held."""
        return self._postman.pending

    @property
    def held(self) -> list[Callback]:
        """Those that came since hold(), for a test to deliver: in any order, as often as it likes."""
        return self._postman.held

    def hold(self) -> None:
        """Send nothing from now on but by deliver()."""
        self._postman.holding = True

    def release(self) -> None:
        """Hold no longer; what was held and not acknowledged is sent the normal way."""
        self._postman.release()

    async def deliver(self, callback: Callback) -> int:
        """One attempt, now; the status of the answer, 0 when there was none."""
        return await self._postman.deliver(callback)

    async def settled(self, timeout: float = 5.0) -> None:
        """Return when nothing is pending; TimeoutError after `timeout` seconds."""
        await self._postman.settled(timeout)
