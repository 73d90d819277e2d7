"""Killed after each step of whatever moves money, then asked again and recovered: nothing is lost or double.

Which steps there are nobody says here: a process dies one step later than the last, until one of them gets to the end.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from service.kernel.clock import Clock
from service.kernel.database import Database
from service.payments import inbox, wallet
from service.payments.event import Payment
from service.payments.operators import refunding
from service.payments.operators.refunding import Asked
from service.payments.providers import Providers
from service.sandbox.processors import Callback
from tests.cast import PAYER
from tests.e2e.conftest import Start
from tests.e2e.process import PRODUCTION, ROOT, SERVICE, Process
from tests.e2e.processors import Market, Till, till
from tests.e2e.test_money import EVENT, bot, delivered, give_back, stands, told_of, verified
from tests.payments.money import BROKEN, balance_of, entries_of, settle
from tests.postgres import Cluster
from tests.proxy import Proxy
from tests.serving import ADMIN_TOKEN, PROCESSORS
from tests.waiting import until

__all__ = ["bot", "stands"]

KILLED = -signal.SIGKILL
STEPS_MOST = 60
# Where there are twenty steps and more, a run dies at every third, beginning anywhere; the long form at each.
STRIDE = 1 if os.environ.get("CHAOS") == "long" else 3


def strides() -> Iterator[tuple[int, int]]:
    """(how manieth, at which step)"""
    return enumerate(range(random.randint(1, STRIDE), STEPS_MOST, STRIDE), 1)


# As if all that is to be done later were to be done now.
LATER = """
UPDATE payment_events SET due_at = now() WHERE status = 'waiting';
UPDATE payments SET check_at = now() - interval '1 second' WHERE check_at IS NOT NULL;
UPDATE payment_refunds SET check_at = now() - interval '1 second' WHERE check_at IS NOT NULL;
UPDATE idempotency_keys SET locked_until = now() - interval '1 second' WHERE locked_until IS NOT NULL;
"""


class Nursery:
    """Begins processes of tests/e2e/mortal.py."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, environ: dict[str, str]) -> None:
        self._process, self._folder, self._environ = process, folder, environ
        self._turn = asyncio.Lock()
        self._numbers = itertools.count(1)
        self.alive: set[int] = set()

    async def _ask(self, told: dict[str, Any]) -> int:
        async with self._turn:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            return int(await self._process.stdout.readline())

    async def begin(self, crash_in: str, crash_at: int, *run: str) -> Mortal:
        output = self._folder / f"mortal-{next(self._numbers)}.log"
        output.touch()
        environ = self._environ | {"CRASH_IN": crash_in, "CRASH_AT": str(crash_at)}
        number = await self._ask({"output": str(output), "environ": environ, "run": run})
        self.alive.add(number)
        return Mortal(self, number, output)

    async def end_of(self, number: int) -> int:
        self.alive.discard(number)
        return await self._ask({"wait": number})

    async def ran(self, crash_in: str, crash_at: int, *run: str) -> int:
        """The exit code of something that ends by itself."""
        mortal = await self.begin(crash_in, crash_at, *run)
        code = await mortal.ended()
        assert code in (0, KILLED), mortal.output.read_text()
        return code


class Mortal:
    """One of them."""

    def __init__(self, nursery: Nursery, number: int, output: Path) -> None:
        self._nursery, self.number, self.output = nursery, number, output

    async def ended(self) -> int:
        return await self._nursery.end_of(self.number)

    async def base(self) -> str:
        """Where it listens."""
        await until(lambda: self._told("serving") or self._told("Traceback"), 30)
        (line,) = self._told("serving") or [self.output.read_text()]
        return f"http://127.0.0.1:{json.loads(line)['port']}"

    def _told(self, word: str) -> list[str]:
        lines = self.output.read_text().splitlines()
        return [line for line in lines if f'"msg":"{word}"' in line.replace('": ', '":') or line.startswith(word)]


@pytest.fixture
async def nursery(tmp_path: Path, database_url: str, stands: Market) -> AsyncIterator[Nursery]:
    # Nothing there speaks as Telegram does; what refuses is not asked again.
    telegram = {"TELEGRAM_API_BASE": f"{stands.base}/telegram"}
    environ = {**PRODUCTION, **PROCESSORS, **stands.settings, **telegram, "DATABASE_URL": database_url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.mortal"),
        cwd=ROOT,
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    nursery = Nursery(process, tmp_path, environ)
    yield nursery
    for number in nursery.alive:
        os.kill(number, signal.SIGKILL)
    process.kill()
    await process.wait()


async def doomed(nursery: Nursery, crash_in: str, step: int) -> Mortal:
    """One that serves, until it has done so many steps there. Nothing is left for its recovery to do at its start."""
    mortal = await nursery.begin(crash_in, step, "serve")
    await mortal.base()
    return mortal


async def killed_by(mortal: Mortal, stands: Market, callback: Callback) -> bool:
    """Deliver to it; whether it died of that, instead of answering."""
    stands.webhooks[:] = [await mortal.base()]
    status = await stands.processors.deliver(callback)
    if status:
        assert status == 200
        os.kill(mortal.number, signal.SIGKILL)
    assert await mortal.ended() == KILLED
    return status == 0


@pytest.fixture
async def survivor(start: Start, database_url: str, stands: Market) -> Process:
    return await start(database_url, SERVICE, **(PROCESSORS | stands.settings))


@pytest.mark.parametrize("provider", ["yookassa", "stripe"])
async def test_killed_at_any_step_of_a_settlement(
    nursery: Nursery, survivor: Process, stands: Market, bot: Till, raw: Any, provider: str, database_url: str
) -> None:
    """Case 10: before the commit nothing is stored, after it the redelivery is known: once in either case.

    Case 11: killed between any two statements.
    """
    for step in range(1, STEPS_MOST):
        mortal = await doomed(nursery, f"/payments/{provider}", step)
        payment = await bot.order(provider)
        stands.pay(payment)
        (told,) = told_of(stands, payment, EVENT[provider])
        died = await killed_by(mortal, stands, told)
        assert await raw.fetch(BROKEN) == [], step
        stands.webhooks[:] = [survivor.base]
        assert await delivered(stands, [told] * 2) == {200: 2}
        assert await entries_of(raw) == [("topup", payment.credit_rub)] * step
        if not died:
            break
    assert 5 < step < STEPS_MOST - 1
    await verified(database_url)


@pytest.mark.parametrize("provider", ["yookassa", "stripe"])
async def test_killed_at_any_step_of_a_refund_that_is_told(
    nursery: Nursery, survivor: Process, stands: Market, bot: Till, raw: Any, provider: str, database_url: str
) -> None:
    """Case 10, and Case 11, of money that goes: a refund at YooKassa, a dispute at Stripe."""
    for step in range(1, STEPS_MOST):
        payment = await bot.order(provider)
        stands.pay(payment)
        stands.webhooks[:] = [survivor.base]
        assert await delivered(stands, told_of(stands, payment, EVENT[provider])) == {200: 1}
        mortal = await doomed(nursery, f"/payments/{provider}", step)
        if provider == "yookassa":
            await give_back(stands, payment)
        else:
            session = stands.processors.stripe.sessions[str(payment.provider_payment_id)]
            dispute = stands.processors.stripe.dispute(session["payment_intent"])
            stands.processors.stripe.withdraw(dispute["id"])
        told = stands.held("refund.succeeded", "charge.dispute.funds_withdrawn")[-1]
        died = await killed_by(mortal, stands, told)
        assert await raw.fetch(BROKEN) == [], step
        stands.webhooks[:] = [survivor.base]
        assert await delivered(stands, [told] * 2) == {200: 2}
        assert await balance_of(raw) == 0
        if not died:
            break
    assert 5 < step < STEPS_MOST - 1
    kinds = [kind for kind, _ in await entries_of(raw)]
    assert kinds == ["topup", "chargeback"] * step
    await verified(database_url)


@pytest.mark.parametrize("what", ["reserve", "capture"])
async def test_killed_at_any_step_of_a_reservation(nursery: Nursery, raw: Any, what: str, database_url: str) -> None:
    """Case 44: whoever reserves or captures does it again after a crash, under the same name, and it is done once.

    Case 45: thirty of fifty are spent, the rest is back at once.
    """
    await raw.execute("INSERT INTO users (user_id) VALUES ($1)", PAYER.user_id)
    await raw.execute("INSERT INTO balances (user_id, balance_rub) VALUES ($1, 10000)", PAYER.user_id)
    await raw.execute(
        "INSERT INTO payment_transactions (user_id, amount_rub, type) VALUES ($1, 10000, 'adjustment')", PAYER.user_id
    )
    await raw.execute("UPDATE balances SET booked_in = 'payment_transactions'::regclass::oid")
    for step in range(1, STEPS_MOST):
        asked = (str(PAYER.user_id), str(uuid4()))
        if what == "capture":
            await nursery.ran("", 0, "reserve", *asked)
        died = await nursery.ran("", step, what, *asked) == KILLED
        assert await raw.fetch(BROKEN) == [], step
        for _ in range(2):
            assert await nursery.ran("", 0, what, *asked) == 0
        taken = 30 if what == "capture" else 50
        assert await balance_of(raw) == 10000 - taken * step
        if not died:
            break
    assert 3 < step < STEPS_MOST - 1
    assert await raw.fetchval("SELECT count(*) FROM payment_reservations") == step
    await verified(database_url)


GIVEN_BACK = {"stripe": "stripe POST /v1/refunds", "yookassa": "yookassa POST /refunds"}


@pytest.mark.parametrize("provider", list(GIVEN_BACK))
async def test_killed_at_any_step_of_a_refund_that_an_operator_asks_for(
    nursery: Nursery, survivor: Process, stands: Market, bot: Till, raw: Any, provider: str, database_url: str
) -> None:
    """Case 42: before the call, after it, and after its answer is stored: the money moves once.

    Asked again with the same key by every other one; what the others leave, recovery finishes.
    """
    for turn, step in strides():
        payment = await bot.order(provider)
        stands.pay(payment)
        stands.webhooks[:] = [survivor.base]
        assert await delivered(stands, told_of(stands, payment, EVENT[provider])) == {200: 1}
        path = f"/admin/payments/{payment.payment_id}/refund"
        mortal = await doomed(nursery, path, step)
        status = await asked_for(await mortal.base() + path)
        if status:
            os.kill(mortal.number, signal.SIGKILL)
        assert await mortal.ended() == KILLED
        assert await raw.fetch(BROKEN) == [], step
        await raw.execute(LATER)
        if turn % 2:
            assert await asked_for(survivor.base + path) == 200
        else:
            await nursery.ran("", 0, "recover")
        await raw.execute(LATER)
        assert await asked_for(survivor.base + path) == 200
        given = stands.processors.stripe.refunds if provider == "stripe" else stands.processors.yookassa.refunds
        assert len(given) == turn
        assert await balance_of(raw) == 0
        if status:
            break
    assert 10 < step < STEPS_MOST - 1
    assert [kind for kind, _ in await entries_of(raw)] == ["topup", "chargeback"] * turn
    await verified(database_url)


async def asked_for(url: str) -> int:
    """The status; 0 where there was no answer."""
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Idempotency-Key": "the-same"}
    try:
        async with aiohttp.request("POST", url, json={"reason": "a test"}, headers=headers) as response:
            return response.status
    except aiohttp.ClientError:
        return 0


RECOVERED = (
    "apply_waiting_events",
    "settle_open_orders",
    "pursue_refunds",
    "find_missed_payments",
    "expire_reservations",
)


@pytest.mark.parametrize("job", RECOVERED)
async def test_killed_at_any_step_of_recovery(
    nursery: Nursery, stands: Market, bot: Till, raw: Any, job: str, database_url: str
) -> None:
    """Case 15: what one that was killed had claimed, the next one does; whatever it had done stays done, once."""
    for turn, step in strides():
        payment = await work_for(job, bot, stands, raw)
        died = await nursery.ran(job, step, "recover") == KILLED
        assert await raw.fetch(BROKEN) == [], (turn, step)
        await raw.execute(LATER)
        assert await nursery.ran("", 0, "recover") == 0
        row = await raw.fetchrow("SELECT * FROM payments WHERE payment_id = $1", payment.payment_id)
        assert row["status"] == "succeeded"
        assert (row["refunded_rub"] == row["credit_rub"]) is (job == "pursue_refunds")
        if not died:
            break
    assert 4 < step < STEPS_MOST - 1
    kinds = [kind for kind, _ in await entries_of(raw)]
    assert kinds.count("topup") == turn
    assert kinds.count("chargeback") == (turn if job == "pursue_refunds" else 0)
    assert await balance_of(raw) == (0 if job == "pursue_refunds" else turn * payment.credit_rub)
    await verified(database_url)


async def work_for(job: str, bot: Till, stands: Market, raw: Any) -> Payment:
    """Something that this job is the first to see to: a payment that is paid in the end."""
    stands.processors.stripe.events.clear()  # else there would be more to read from turn to turn
    payment = await bot.order("stripe")
    stands.pay(payment)
    (told,) = told_of(stands, payment, EVENT["stripe"])
    rooms = bot.rooms
    report = rooms.of(Providers).get("stripe").parse(told.body)
    if job == "apply_waiting_events":
        async with rooms.of(Database).transaction() as conn:
            await inbox.store(conn, report, rooms.of(Clock).now())
        return payment
    if job == "find_missed_payments":
        await raw.execute("UPDATE payments SET check_at = now() + interval '1 day'")
        return payment
    if job == "settle_open_orders":
        await raw.execute(LATER)
        return payment
    await settle(rooms, report)
    asked = Asked(payment.payment_id, "key", None, "a test")
    if job == "pursue_refunds":
        async with rooms.of(Database).transaction() as conn:
            await refunding.begin(rooms, conn, asked)
        await raw.execute(LATER)
        return payment
    async with rooms.of(Database).transaction() as conn:
        await wallet.reserve(rooms, conn, wallet.Hold(uuid4(), PAYER.user_id, Decimal("50.00"), "a test"))
    await raw.execute("UPDATE payment_reservations SET expires_at = now() WHERE status = 'held'")
    return payment


@pytest.mark.parametrize(("cuts", "told"), [(1, {200, 503}), (math.inf, {503})], ids=["one reply", "every reply"])
async def test_a_lost_reply_to_commit_is_no_lie_and_no_second_credit(
    start: Start, own_cluster: Cluster, stands: Market, cuts: float, told: set[int]
) -> None:
    """Case 10: the server has committed, and nobody knows; the redelivery is told the truth."""
    async with Proxy(own_cluster.port) as proxy:
        settings = PROCESSORS | stands.settings
        process = await start(proxy.dsn(), SERVICE, MIGRATE_ON_START="on", **settings)
        stands.webhooks[:] = [process.base]
        raw = await asyncpg.connect(own_cluster.dsn())
        async with till(own_cluster.dsn(), stands) as bot:
            for provider in EVENT:
                payment = await bot.order(provider)
                stands.pay(payment)
                (callback,) = told_of(stands, payment, EVENT[provider])
                proxy.cut_after, proxy.cuts = b"COMMIT", cuts
                assert await stands.processors.deliver(callback) in told
                proxy.cut_after = None
                await until(process.is_ready, 10)
                assert await delivered(stands, [callback] * 3) == {200: 3}
        assert [kind for kind, _ in await entries_of(raw)] == ["topup"] * 3
        assert await raw.fetch(BROKEN) == []
        await raw.close()
