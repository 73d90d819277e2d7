"""The whole database is stopped: free models answer with their result, what costs money waits, and it heals alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web

from service.kernel import migrate
from tests.cast import Person
from tests.degrade.house import PRICE, PURSE, House, house_on
from tests.degrade.promised import SORRY, SORRY_IN_ENGLISH
from tests.degrade.visit import ACCEPTED, CARD, QR, books_agree, credited, invited
from tests.postgres import Cluster
from tests.serving import listening, message
from tests.waiting import until

KEY, MADE = "sk-nobody-may-see-this", "Вот ваш кот."
SLOW, SLOW_PRICE = "🎨 Делают не здесь", Decimal("1.00")  # of another maker, in the studio's catalogue
NOTICED_WITHIN_S, BACK_WITHIN_S, SLACK_S = 3.0, 2.0, 3.0
ORDERED = "SELECT count(*) FROM generation_jobs WHERE user_id = $1"
ENTRIES = "SELECT type, amount_rub FROM payment_transactions WHERE user_id = $1 ORDER BY id"
ENDS = "SELECT status, attempts FROM generation_jobs WHERE user_id = $1"
# What everybody, operators among them, can do without; and how it begins.
GOES_ON = {"/help": "Вот что я понимаю:", "/models": "Что создадим?", "✨ Модели": "Что создадим?"}
SAYS_SORRY = (
    *("/start", "/menu", "/language", "/balance", "💰 Баланс", "/topup", "/paysupport", "/projects", "💼 Мои проекты"),
    *("/newproject Кошки", "/partner", "🤝 Партнёрка", "/generate card кот"),
)


@pytest.fixture
async def house(own_cluster: Cluster, tmp_path: Path) -> AsyncIterator[House]:
    await asyncio.to_thread(migrate.up, own_cluster.dsn())
    async with house_on(own_cluster.dsn(), tmp_path) as house:
        yield house


@asynccontextmanager
async def stopped(cluster: Cluster, house: House) -> AsyncIterator[None]:
    """Nothing listens there any more, for as long as the block; left when the service is back."""
    database = house.served.operations.database
    await house.raw.close()
    await asyncio.to_thread(cluster.stop)
    await until(lambda: not database.reachable, NOTICED_WITHIN_S + SLACK_S)
    yield
    await asyncio.to_thread(cluster.start)
    await until(lambda: database.reachable, BACK_WITHIN_S + SLACK_S)
    house.raw = await asyncpg.connect(cluster.dsn())


async def test_free_models_answer_and_money_waits(own_cluster: Cluster, house: House) -> None:
    guests = await invited(house)
    async with house.open():
        regular = house.somebody()
        await makes(house, regular, kept=True)
        async with stopped(own_cluster, house):
            await asyncio.gather(makes(house, regular, kept=False), makes(house, house.somebody(), kept=False))
            await nothing_else_answers(house)
            assert await house.stands.processors.deliver(guests.callback) == 503
            assert (await house.served.post(guests.stars))[0] == 503
            assert await house.calls_back(guests.job_id) == 503
        await paid_models_work(house, guests.payer)
        await makes(house, house.somebody(), kept=True)
        assert await house.raw.fetchval(ORDERED, regular.user_id) == 1, "what was made without a row has none"
        assert await house.stands.processors.deliver(guests.callback) == 200
        assert (await house.served.post(guests.stars))[0] == 200
        await until(lambda: credited(house, guests))
        assert await house.calls_back(guests.job_id) == 200
        assert await books_agree(house)
        assert (await house.served.get("/health"))[1]["status"] == "healthy"


async def makes(house: House, person: Person, *, kept: bool) -> None:
    """A picture for nothing, once, although Telegram tells of the order several times.

    Another order after it is made later, so with its picture all pictures of the first are there.
    """
    before, update = len(house.pictures(person)), message(person, "/generate qr кот")
    answers = await asyncio.gather(*(house.served.post(update) for _ in range(3)))
    await until(lambda: len(house.pictures(person)) > before)
    answers.append(await house.served.post(update))
    for status, answer in answers:
        assert (status, answer["text"]) == (200, ACCEPTED.format(title=QR))
        assert ("reply_markup" in answer) == kept, "what has a row can be called off"
    later = house.somebody()
    await house.asks(later, "/generate qr кот")
    await house.sees(later, QR)
    assert [one.text for one in house.pictures(person)][before:] == [QR]


async def nothing_else_answers(house: House) -> None:
    for text in SAYS_SORRY:
        assert await house.asks(house.somebody(), text) == (200, SORRY), text
    english = Person(house.somebody().user_id, None, "Somebody", None, "en")
    assert await house.asks(english, "/generate card a cat") == (200, SORRY_IN_ENGLISH)
    for text, beginning in GOES_ON.items():
        status, said = await house.asks(house.somebody(), text)
        assert (status, said[: len(beginning)]) == (200, beginning)
    operator = house.operator()
    assert await house.asks(operator, "/stats") == (200, SORRY)
    assert await house.asks(operator, "/failures") == (200, SORRY)
    assert "✅ Платные модели" in (await house.asks(operator, "/features"))[1], "nobody knows of a missing table"
    for path in ("/admin/failures", f"/admin/users/{operator.user_id}/stats", "/admin/payments", "/admin/jobs"):
        assert await house.status("GET", path) == 503
    statuses = [(await house.served.get(path))[0] for path in ("/health/live", "/health/ready", "/health")]
    assert statuses == [200, 503, 503]


async def paid_models_work(house: House, payer: Person) -> None:
    assert await house.asks(payer, "/generate card кот") == (200, ACCEPTED.format(title=CARD))
    await house.sees(payer, CARD)
    assert await house.balance(payer) == PURSE - PRICE


@dataclass
class Gate:
    """A maker that answers when it is let."""

    base: str = ""
    asked: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()

    async def make(_: web.Request) -> web.Response:
        """https://platform.openai.com/docs/api-reference/chat/object"""
        gate.asked += 1
        await gate.opened.wait()
        message = {"role": "assistant", "content": MADE}
        return web.json_response({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", make)
    async with listening(app) as base:
        gate.base = f"{base}/v1"
        yield gate
        gate.opened.set()


@pytest.mark.parametrize("made", ["meanwhile", "afterwards"])
async def test_paid_work_that_is_under_way_ends_once(own_cluster: Cluster, house: House, gate: Gate, made: str) -> None:
    """It is charged for once, and nobody is asked to make it twice."""
    (payer,) = await house.payers(1)
    async with house.open(GENERATION_API_BASE=gate.base, GENERATION_API_KEY=KEY):
        assert await house.asks(payer, "/generate elsewhere кот") == (200, ACCEPTED.format(title=SLOW))
        await until(lambda: gate.asked)
        async with stopped(own_cluster, house):
            if made == "meanwhile":
                gate.opened.set()
            await makes(house, house.somebody(), kept=False)
            assert results(house, payer) == [], "nothing is given that is not charged for"
        gate.opened.set()
        await until(lambda: results(house, payer), 20)
        assert MADE in results(house, payer)[0]
        assert await house.balance(payer) == PURSE - SLOW_PRICE
        await paid_models_work_again(house, payer)
        assert len(results(house, payer)) == gate.asked == 1
        assert sorted(map(tuple, await house.raw.fetch(ENDS, payer.user_id))) == [("success", 1)] * 2
        entries = [tuple(row) for row in await house.raw.fetch(ENTRIES, payer.user_id)]
        assert entries == [("adjustment", PURSE), ("deduction", -SLOW_PRICE), ("deduction", -PRICE)]
        assert await books_agree(house)


async def paid_models_work_again(house: House, payer: Person) -> None:
    assert await house.asks(payer, "/generate card кот") == (200, ACCEPTED.format(title=CARD))
    await house.sees(payer, CARD)
    await until(lambda: house.raw.fetchval("SELECT count(*) = 2 FROM generation_jobs WHERE status = 'success'"))


def results(house: House, payer: Person) -> list[str]:
    """Texts that were made for him: they stand with the title of the model."""
    said = [one for one in house.sandbox.chats.of(payer.user_id).messages.values() if one.buttons]
    return [one.text for one in said if "photo" not in one.wire]
