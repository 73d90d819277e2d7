"""The service with everything around it that people can see: Telegram, the processors, a purse for everybody.

It knows how a person, a processor and an operator ask, and what they see; it knows nothing of what they are promised.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from service.features.generation.callback import callback_url
from service.kernel import metrics
from service.sandbox import Message, Sandbox
from service.sandbox.processors import Callback
from tests.cast import OPERATOR, Person
from tests.e2e.processors import Market, Till, market, till
from tests.features.generation.bot.studio import CATALOG
from tests.payments.money import credit, order
from tests.serving import ADMIN_TOKEN, Served, message, serving, telegram
from tests.waiting import until

PUBLIC = "https://shop.example.org"
PURSE = Decimal("100.00")
PRICE = Decimal("12.50")  # of the card, in the studio's catalogue
STARS = 230
STARS_CREDIT, STRIPE_CREDIT = Decimal("300.00"), Decimal("450.00")
# Some who have a chat with the bot, and some who may ask what operators ask: each says little, so that the flood guard
# has no part in this.
CHATS = range(700_100_000, 700_101_000)
OPERATORS = range(OPERATOR.user_id, OPERATOR.user_id + 1_000)


def russian(user_id: int) -> Person:
    return Person(user_id, None, "Кто-то", None, "ru")


@dataclass
class House:
    sandbox: Sandbox
    stands: Market
    till: Till
    raw: asyncpg.Connection
    settings: Mapping[str, str]
    doors: list[Served] = field(default_factory=list)
    people: itertools.count[int] = field(default_factory=lambda: itertools.count(CHATS.start))
    operators: itertools.cycle[int] = field(default_factory=lambda: itertools.cycle(OPERATORS))

    @property
    def served(self) -> Served:
        """While it is open."""
        return self.doors[-1]

    @asynccontextmanager
    async def open(self, **settings: str) -> AsyncIterator[None]:
        """The service starts, and stops."""
        async with serving(**{**self.settings, **settings}) as served:
            self.doors.append(served)
            self.stands.webhooks[:] = [served.base]
            yield

    def somebody(self) -> Person:
        """Somebody with a chat, who has not said anything yet."""
        return russian(next(self.people))

    def operator(self) -> Person:
        return russian(next(self.operators))

    async def payers(self, count: int) -> list[Person]:
        """With a full purse each; to be called while all tables are there."""
        payers = [self.somebody() for _ in range(count)]
        for payer in payers:
            await credit(self.till.rooms, str(PURSE), user_id=payer.user_id)
        return payers

    def pictures(self, person: Person) -> list[Message]:
        """That have come into his chat."""
        return [one for one in self.sandbox.chats.of(person.user_id).messages.values() if "photo" in one.wire]

    async def sees(self, person: Person, caption: str, within: float = 10.0) -> None:
        """One picture, and no other."""
        await until(lambda: self.pictures(person), within)
        assert [one.text for one in self.pictures(person)] == [caption]

    async def asks(self, person: Person, text: str) -> tuple[int, str]:
        """The status, and what the bot says."""
        status, answer = await self.served.post(message(person, text))
        return status, (answer or {}).get("text", "")

    async def balance(self, person: Person) -> Decimal:
        """While the tables of money are there."""
        query = "SELECT balance_rub FROM balances WHERE user_id = $1"
        return Decimal(await self.raw.fetchval(query, person.user_id) or 0)

    async def bought(self, person: Person) -> Callback:
        """He pays at a processor's; the callback that is going to say so."""
        payment = await self.till.order("stripe", person.user_id)
        self.stands.pay(payment)
        told = self.stands.held("checkout.session.completed")
        return next(one for one in told if one.about == payment.provider_payment_id)

    async def starred(self, person: Person) -> dict[str, Any]:
        """The update that tells of Stars that he paid."""
        amount = {"amount": Decimal(STARS), "currency": "XTR", "credit_rub": STARS_CREDIT}
        payload = str(await order(self.raw, user_id=person.user_id, provider="telegram", **amount))
        payment = {"currency": "XTR", "total_amount": STARS, "invoice_payload": payload}
        ids = {"telegram_payment_charge_id": f"charge-{payload}", "provider_payment_charge_id": ""}
        return message(person, "", successful_payment={**payment, **ids})

    async def status(self, method: str, path: str, **how: Any) -> int:
        """Of what an operator asks for over HTTP."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", **how.pop("headers", {})}
        async with self.served.http.request(method, self.served.base + path, headers=headers, **how) as response:
            return response.status

    async def calls_back(self, job_id: Any) -> int:
        """As the maker of a model does."""
        url = callback_url(self.served.operations.config, "local", job_id)
        assert url is not None
        return await self.status("POST", url.removeprefix(PUBLIC), data=b"{}")

    def off(self) -> set[str]:
        """The switches that are off for want of a table."""
        return {name for name, state in self.served.operations.switchboard.states.items() if state.missing}

    def jobs(self) -> dict[str, bool]:
        """Those that the settings ask for, and whether each may run."""
        board = self.served.operations.switchboard
        wanted = [one for one in board.features if board.is_on(one.name) or board.states[one.name].missing]
        return {job.name: board.may_run(job) for one in wanted for job in one.jobs}


@asynccontextmanager
async def house_on(database_url: str, folder: Path) -> AsyncIterator[House]:
    """Not open yet. Everybody in it speaks Russian."""
    catalog = folder / "catalog.toml"
    catalog.write_text(CATALOG.format(jobs_per_person=10))
    users = {str(number): {"id": number, "is_bot": False, "first_name": "Кто-то"} for number in CHATS}
    told = {"database_url": database_url, "PUBLIC_URL": PUBLIC, "CATALOG": str(catalog)}
    told["ADMIN_IDS"] = ",".join(map(str, OPERATORS))
    async with telegram(users=users) as (sandbox, base), market() as stands, till(database_url, stands) as orders:
        stands.processors.hold()
        for chat in sandbox.chats:
            chat.started = True
        raw = await asyncpg.connect(database_url)
        yield House(sandbox, stands, orders, raw, {**told, **stands.settings, "TELEGRAM_API_BASE": base})
        await raw.close()


@asynccontextmanager
async def without(raw: asyncpg.Connection, *relations: str) -> AsyncIterator[None]:
    for relation in relations:
        await raw.execute(f'ALTER TABLE "{relation}" RENAME TO "{relation}_gone"')
    yield
    for relation in relations:
        await raw.execute(f'ALTER TABLE "{relation}_gone" RENAME TO "{relation}"')


class Runs(NamedTuple):
    """How often a job was done in this process, and how often it failed."""

    done: float
    failed: float


def runs(jobs: Iterable[str]) -> dict[str, Runs]:
    (family,) = metrics.JOB_RUNS.collect()
    totals = [one for one in family.samples if one.name.endswith("_total")]
    counts = {(one.labels["job"], one.labels["result"]): one.value for one in totals}
    return {job: Runs(counts.get((job, "done"), 0), counts.get((job, "failed"), 0)) for job in jobs}
