"""One visit of everybody: a person who orders, one who pays, an operator, a processor, a maker; and what they must see.

It holds the house against a row of what is promised; it takes no table away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from service.sandbox.processors import Callback
from tests.cast import Person
from tests.degrade.house import PRICE, PURSE, STARS_CREDIT, STRIPE_CREDIT, House, Runs, runs
from tests.degrade.promised import PROMISED, SORRY, Row, together
from tests.payments.money import BROKEN
from tests.serving import message
from tests.waiting import until

QR, CARD = "🎨 QR-код", "🎨 Открытка"
ACCEPTED = "{title}: принято, результат придёт сюда."
# What is said, and how the answer begins while nothing is missing that it needs.
PEOPLES_WORDS = {
    "/start": "Здравствуйте, Кто-то!",
    "/help": "Вот что я понимаю:",
    "/models": "Что создадим?",
    "✨ Модели": "Что создадим?",
    "/balance": "Баланс: 0 ₽",
    "💰 Баланс": "Баланс: 0 ₽",
    "/topup": "На сколько пополнить?",
    "/paysupport": "Что-то не так с оплатой?",
    "/projects": "💼 Мои проекты\n\nПроектов пока нет.",
    "💼 Мои проекты": "💼 Мои проекты\n\nПроектов пока нет.",
    "/newproject Кошки": "💼 Кошки",
    "/partner": "Приглашайте друзей",
    "🤝 Партнёрка": "Приглашайте друзей",
}
OPERATORS_WORDS = {"/stats": "📊 За последние 24 часа", "/failures": "❌ Ошибки за последние 24 часа:"}
# An operator's pages that a switch closes, as promises name them.
PAGES = {
    "/admin/failures": "GET /admin/failures",
    "/admin/users/{}/stats": "GET /admin/users/{user_id}/stats",
    "/admin/users/{}/ledger": "GET /admin/users/{user_id}/ledger",
    "/admin/payments": "GET /admin/payments",
    "/admin/payments/review": "GET /admin/payments/review",
    "/admin/jobs": "GET /admin/jobs",
}
OPEN_PAGES = ("/admin", "/admin/features", "/admin/tables", "/metrics", "/health/live")
MADE = """
INSERT INTO generation_jobs
    (job_id, user_id, chat_id, model_id, prompt, timeout_s, place, status, finished_at, delivered_at)
VALUES ($1, $2, $2, 'qr', 'a cat', 20, now(), 'success', now(), now())
"""


@dataclass
class Guests:
    """Who comes; invited while everything is there."""

    payer: Person
    buyer: Person
    callback: Callback
    admirer: Person
    stars: dict[str, Any]
    job_id: UUID
    paid: int = 0  # pictures that the payer paid for


async def invited(house: House) -> Guests:
    (payer,), buyer, admirer, job_id = await house.payers(1), house.somebody(), house.somebody(), uuid4()
    callback, stars = await house.bought(buyer), await house.starred(admirer)
    await house.raw.execute(MADE, job_id, payer.user_id)
    return Guests(payer, buyer, callback, admirer, stars, job_id)


async def everybody_is_served(house: House, guests: Guests, *relations: str, all_words: bool = True) -> None:
    """As it is promised, while these tables are missing."""
    row = together(PROMISED[relation] for relation in relations)
    await health_says(house, row, *relations)
    if row.shut:
        await nobody_comes_in(house, guests)
        return
    await asyncio.gather(
        free_work_is_done(house, kept="generation_jobs" not in row.off),
        paid_work_is_done_or_not(house, guests, row),
        words_are_answered(house, row, all_words=all_words),
        operators_are_answered(house, row, *relations, all_words=all_words),
        money_is_taken_in(house, guests, row),
        makers_are_heard(house, guests, row),
    )
    assert {job for job, may_run in house.jobs().items() if not may_run} == row.rests


async def health_says(house: House, row: Row, *relations: str) -> None:
    """Which switches are off and why; of the others nothing."""
    status, health = await house.served.get("/health")
    off = {name: told for name, told in health["features"].items() if told["missing"]}
    assert {told["state"] for told in off.values()} == {"off"}
    assert off.keys() == row.off
    for name, told in off.items():
        because = {relation for relation in relations if name in PROMISED[relation].off}
        assert set(told["missing"]) == because
        assert set(told["reason"].split(", ")) == {f"{relation} table missing" for relation in because}
    assert (status, health["status"]) == ((503, "unhealthy") if row.shut else (200, "degraded"))
    assert (await house.served.get("/health/live"))[0] == 200
    assert (await house.served.get("/health/ready"))[0] == (503 if row.shut else 200)


async def nobody_comes_in(house: House, guests: Guests) -> None:
    """Both doors are shut; what comes is kept by whoever sends it."""
    for text in ("/start", "/generate qr кот", "💼 Мои проекты"):
        assert await house.asks(house.somebody(), text) == (503, "")
    assert await house.stands.processors.deliver(guests.callback) == 503
    assert (await house.served.post(guests.stars))[0] == 503


async def free_work_is_done(house: House, *, kept: bool) -> None:
    """A picture, once, however often Telegram tells of the order. What has a row can be called off."""
    person = house.somebody()
    update = message(person, "/generate qr кот")
    first = await house.served.post(update)
    assert (first[0], first[1]["text"]) == (200, ACCEPTED.format(title=QR))
    assert ("reply_markup" in first[1]) == kept
    assert await house.served.post(update) == first, "the same update has the same answer"
    await house.sees(person, QR)


async def paid_work_is_done_or_not(house: House, guests: Guests, row: Row) -> None:
    answer = await house.asks(guests.payer, "/generate card кот")
    if row.paid:
        assert answer == (200, ACCEPTED.format(title=CARD))
        guests.paid += 1
        await until(lambda: len(house.pictures(guests.payer)) == guests.paid, 10)
    else:
        assert answer == (200, SORRY)


async def words_are_answered(house: House, row: Row, *, all_words: bool) -> None:
    for text, beginning in PEOPLES_WORDS.items() if all_words else ():
        status, said = await house.asks(house.somebody(), text)
        if text.split()[0] in row.says or text in row.says:
            assert (status, said) == (200, SORRY), text
        else:
            assert (status, said[: len(beginning)]) == (200, beginning), text


async def operators_are_answered(house: House, row: Row, *relations: str, all_words: bool) -> None:
    operator = house.operator()
    status, said = await house.asks(operator, "/features")
    assert (status, "⛔" in said) == (200, True)
    assert all(f"{relation} table missing" in said for relation in relations)
    for text, beginning in OPERATORS_WORDS.items() if all_words else ():
        status, said = await house.asks(operator, text)
        assert (status, said if text in row.says else said[: len(beginning)]) == (
            200,
            SORRY if text in row.says else beginning,
        )
    for path, name in PAGES.items():
        expected = 503 if name in row.closed else 200
        assert await house.status("GET", path.format(operator.user_id)) == expected, path
    for path in OPEN_PAGES if all_words else ():
        assert await house.status("GET", path) == 200, path
    failed = await house.status("GET", "/admin/updates/failed")
    assert failed == (503 if "failed_updates" in relations else 200)
    key, given = {"Idempotency-Key": str(uuid4())}, {"amount_rub": "1.00", "reason": "a test"}
    adjusted = await house.status("POST", f"/admin/users/{operator.user_id}/adjust", headers=key, json=given)
    assert adjusted == (503 if "POST /admin/users/{user_id}/adjust" in row.closed else 200)


async def money_is_taken_in(house: House, guests: Guests, row: Row) -> None:
    """Or refused, so that it is told again."""
    expected = 503 if row.money == "refused" else 200
    assert await house.stands.processors.deliver(guests.callback) == expected
    assert (await house.served.post(guests.stars))[0] == expected
    if row.money == "credited":
        assert await house.balance(guests.buyer) == STRIPE_CREDIT
        assert await house.balance(guests.admirer) == STARS_CREDIT


async def makers_are_heard(house: House, guests: Guests, row: Row) -> None:
    closed = "POST /generation/callback/{provider}" in row.closed
    assert await house.calls_back(guests.job_id) == (503 if closed else 200)


async def jobs_run_and_rest(house: House, row: Row) -> None:
    """Every job that may run is done when it is poked, and none of them fails; the others are not begun."""
    await _ran(house)  # what was under way when the table went may still end
    before, after = await _ran(house)
    begun = {job for job in after if after[job] != before[job]}
    failed = {job for job in after if after[job].failed != before[job].failed}
    assert begun == before.keys() - row.rests
    assert failed <= row.puts_off


async def _ran(house: House) -> tuple[Mapping[str, Runs], Mapping[str, Runs]]:
    """How often jobs had run before and after each was poked, and had time for it."""
    jobs = house.jobs()
    before = runs(jobs)
    for job in jobs:
        house.served.operations.jobs.poke(job)
    awake = [job for job, may_run in jobs.items() if may_run]
    await until(lambda: all(count != before[job] for job, count in runs(awake).items()), 20)
    return before, runs(jobs)


async def everything_is_back(house: House, guests: Guests, *relations: str) -> None:
    """What was kept is credited, once; what was refused is told again; nobody paid for what he did not get."""
    row = together(PROMISED[relation] for relation in relations)
    if row.money == "refused":
        assert await house.stands.processors.deliver(guests.callback) == 200
        assert (await house.served.post(guests.stars))[0] == 200
    answer = await house.asks(guests.payer, "/generate card кот")
    assert answer == (200, ACCEPTED.format(title=CARD))
    guests.paid += 1
    await until(lambda: len(house.pictures(guests.payer)) == guests.paid, 10)
    assert await house.balance(guests.payer) == PURSE - PRICE * guests.paid
    await until(lambda: credited(house, guests), 15)
    await until(lambda: books_agree(house), 15)


async def credited(house: House, guests: Guests) -> bool:
    came = await house.balance(guests.buyer), await house.balance(guests.admirer)
    return came == (STRIPE_CREDIT, STARS_CREDIT)


async def books_agree(house: House) -> bool:
    return not await house.raw.fetch(BROKEN)
