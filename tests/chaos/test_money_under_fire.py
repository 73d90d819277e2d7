"""Whatever breaks while people pay: who paid has his money once, who got it back has not, and the books agree."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from service.kernel import migrate
from service.payments.event import Payment
from tests.chaos import test_chaos as chaos
from tests.chaos.test_chaos import LONG, RECOVERY_S, World
from tests.e2e.conftest import Start
from tests.e2e.process import PRODUCTION, ROOT, SERVICE, Process
from tests.e2e.processors import PRICES, Market, Till, market, till
from tests.e2e.test_money import give_back, verified
from tests.postgres import Cluster
from tests.serving import PROCESSORS
from tests.waiting import until

# Between two payments; each is told of by one callback to three, and every fourth is given back.
PACE_S = 0.05
ORDERS = 3000 if LONG else 300
GIVEN_BACK = 4
QUIET_S = 5 if LONG else 1  # before and after the fault
ACKNOWLEDGED_WITHIN_S = 40.0
FAULTS = chaos.FAULTS if LONG else (chaos.restart_the_server, chaos.kill_processes)

pytestmark = pytest.mark.timeout(600 if LONG else 120)


@dataclass
class Paying:
    """People who pay what they have ordered. `processes` may be changed meanwhile."""

    processes: list[Process]
    stands: Market
    ordered: list[Payment] = field(default_factory=list)
    paid: list[Payment] = field(default_factory=list)
    returned: list[Payment] = field(default_factory=list)

    def shop(self) -> str:
        return random.choice(self.processes).base

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Until the block ends, then until every callback is acknowledged."""
        paying = asyncio.create_task(self._pay())
        yield
        paying.cancel()
        await asyncio.wait([paying])
        assert paying.cancelled(), "there were orders enough"
        await self.stands.processors.settled(ACKNOWLEDGED_WITHIN_S)

    async def _pay(self) -> None:
        for number, payment in enumerate(self.ordered):
            self.stands.pay(payment)
            self.paid.append(payment)
            if payment.provider == "yookassa" and not number % GIVEN_BACK:
                await asyncio.shield(give_back(self.stands, payment))
                self.returned.append(payment)
            await asyncio.sleep(PACE_S)
        await asyncio.Event().wait()

    async def recovered(self) -> float:
        """Seconds until something is acknowledged that was said from now on."""
        now, known = time.monotonic(), len(self.stands.processors.callbacks)
        await until(lambda: any(one.acknowledged for one in self.stands.processors.callbacks[known:]), RECOVERY_S)
        return time.monotonic() - now

    @property
    def refused(self) -> int:
        tries = [one for callback in self.stands.processors.callbacks for one in callback.attempts]
        return len([one for one in tries if one.status != 200])


@pytest.fixture
async def stands() -> AsyncIterator[Market]:
    async with market() as stands:
        yield stands


@pytest.fixture
async def bot(own_cluster: Cluster, stands: Market) -> AsyncIterator[Till]:
    """On a server that keeps what it committed when it crashes, and has few connections to give."""
    own_cluster.settings |= {"synchronous_commit": "on", "max_connections": "60"}
    await asyncio.to_thread(own_cluster.restart)
    await asyncio.to_thread(migrate.up, own_cluster.dsn())
    async with till(own_cluster.dsn(), stands) as bot:
        yield bot


@pytest.fixture
async def world(own_cluster: Cluster, start: Start, stands: Market, bot: Till) -> World:
    paying = Paying([], stands)
    stands.shop = paying.shop  # type: ignore[method-assign]
    settings = PROCESSORS | stands.settings

    async def another() -> None:
        paying.processes.append(await start(own_cluster.dsn(), SERVICE, DB_POOL_MAX="12", **settings))

    await asyncio.gather(another(), another())
    for number in range(ORDERS):
        paying.ordered.append(await bot.order(list(PRICES)[number % 3], user_id=60_000 + number % 50))
    return World(own_cluster, paying, another)  # type: ignore[arg-type]


async def recovered(database_url: str, stands: Market) -> None:
    """Everything that is to be tried later, now."""
    raw = await asyncpg.connect(database_url)
    await raw.execute("UPDATE payment_events SET due_at = now() WHERE status = 'waiting'")
    await raw.close()
    environ = {**PRODUCTION, **PROCESSORS, **stands.settings, "DATABASE_URL": database_url}
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", "recover"), cwd=ROOT, env=environ, stdout=asyncio.subprocess.DEVNULL
        )
        assert await process.wait() in (0, 1)


async def differences(paying: Paying, raw: Any) -> tuple[int, int]:
    """How many payments have not had their effect, and how many effects are too many."""
    rows = await raw.fetch("SELECT payment_id, type, count(*) FROM payment_transactions GROUP BY payment_id, type")
    found = {(row["payment_id"], row["type"]): row["count"] for row in rows}
    due = [(one.payment_id, "topup") for one in paying.paid]
    due += [(one.payment_id, "chargeback") for one in paying.returned]
    return sum(one not in found for one in due), sum(found.values()) - sum(one in found for one in due)


def roubles(payments: Sequence[Payment]) -> Decimal:
    return sum((one.credit_rub for one in payments), Decimal(0))


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.__name__ for fault in FAULTS])
async def test_money_under_fire(
    world: World,
    stands: Market,
    fault: Callable[[World], Awaitable[None]],
    record_property: Callable[[str, object], None],
) -> None:
    """Case 10, under load: each callback is acknowledged in the end, has its effect once, and the balances agree."""
    paying: Any = world.storm
    async with paying.going_on():
        await asyncio.sleep(QUIET_S)
        await fault(world)
        recovery = await paying.recovered()
        await asyncio.sleep(QUIET_S)
    await recovered(world.cluster.dsn(), stands)
    raw = await asyncpg.connect(world.cluster.dsn())
    lost, double = await differences(paying, raw)
    total = await raw.fetchval("SELECT sum(balance_rub) FROM balances")
    await raw.close()
    assert (lost, double) == (0, 0)
    assert total == roubles(paying.paid) - roubles(paying.returned)
    await verified(world.cluster.dsn())
    name = f"money: {fault.__name__.replace('_', ' ')}"
    figures = (len(paying.paid) + len(paying.returned), lost, double, paying.refused)
    record_property("chaos", f"| {name} | {' | '.join(map(str, figures))} | | {recovery:.2f} s | | |")
