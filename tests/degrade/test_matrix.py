"""Whatever table is missing, and whichever two: people get what they are promised, in Russian, and nothing else.

What is promised stands in promised.py, written by hand. tests/test_degrade.py walks through every route there is; here
people order, pay, are paid, and get what they ordered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cast import Person
from tests.degrade.house import PRICE, PURSE, House, house_on, without
from tests.degrade.promised import PROMISED, SORRY
from tests.degrade.visit import (
    ACCEPTED,
    CARD,
    QR,
    books_agree,
    everybody_is_served,
    everything_is_back,
    invited,
    jobs_run_and_rest,
)
from tests.waiting import until

RELATIONS = sorted(PROMISED)
PROBE_INTERVAL_S = 1
SLACK_S = 4  # what a busy machine may take beyond it


def warned(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """The features that were said to be off, and in which words."""
    lines = [one for one in caplog.records if one.name == "features" and one.levelno >= logging.WARNING]
    return sorted((str(getattr(one, "fields")["feature"]), one.getMessage()) for one in lines)  # noqa: B009


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[House]:
    async with house_on(database_url, tmp_path) as house:
        yield house


@pytest.mark.parametrize("relation", RELATIONS)
async def test_missing_at_the_start(house: House, relation: str, caplog: pytest.LogCaptureFixture) -> None:
    guests, row = await invited(house), PROMISED[relation]
    async with without(house.raw, relation), house.open():
        await everybody_is_served(house, guests, relation)
        await jobs_run_and_rest(house, row)
    assert warned(caplog) == [(name, f"{relation} table missing") for name in sorted(row.off)]
    assert errors(caplog) == []


@pytest.mark.parametrize("relation", RELATIONS)
async def test_taken_away_under_traffic_and_given_back(
    house: House, relation: str, caplog: pytest.LogCaptureFixture
) -> None:
    guests, row = await invited(house), PROMISED[relation]
    async with house.open(PROBE_INTERVAL=str(PROBE_INTERVAL_S)):
        async with traffic(house) as got:
            await until(lambda: got.pictures > 5, 20)
            async with without(house.raw, relation):
                await until(lambda: house.off() == row.off)
                await everybody_is_served(house, guests, relation)
                await jobs_run_and_rest(house, row)
            await until(lambda: not house.off(), PROBE_INTERVAL_S + SLACK_S)
            await everything_is_back(house, guests, relation)
            more = got.pictures + 5
            await until(lambda: got.pictures > more, 20)
        await until(lambda: all_have_what_they_paid_for(house, got), 20)
    assert bool(got.refused) <= row.shut
    assert bool(got.sorry) <= (not row.paid)
    assert warned(caplog) == [(name, f"{relation} table missing") for name in sorted(row.off)]
    assert errors(caplog) == []


@pytest.mark.parametrize("first", RELATIONS[:-1])
async def test_every_pair(house: House, first: str) -> None:
    async with house.open():
        for second in RELATIONS[RELATIONS.index(first) + 1 :]:
            guests = await invited(house)
            async with without(house.raw, first, second):
                await house.served.operations.switchboard.refresh()
                await everybody_is_served(house, guests, first, second, all_words=False)
            await house.served.operations.switchboard.refresh()
            assert house.off() == set()
            await everything_is_back(house, guests, first, second)


@dataclass
class Traffic:
    """What those got who ordered all the while."""

    pictures: int = 0
    sorry: int = 0
    refused: set[str] = field(default_factory=set)  # what was answered with a 503
    payers: list[Person] = field(default_factory=list)


@asynccontextmanager
async def traffic(house: House) -> AsyncIterator[Traffic]:
    """One after another orders a free picture, and a few others paid ones; each waits for what he was promised."""
    got = Traffic(payers=await house.payers(4))

    async def one_after_another() -> None:
        while True:
            await _order(house, got, house.somebody(), "/generate qr кот", QR)
            await asyncio.sleep(0.05)  # a closed door is not hammered at

    async def as_long_as_it_lasts(payer: Person) -> None:
        while len(house.pictures(payer)) < PURSE // PRICE:
            await _order(house, got, payer, "/generate card кот", CARD)
            await asyncio.sleep(0.5)  # the flood guard lets two a second pass

    orders = [one_after_another(), *(as_long_as_it_lasts(payer) for payer in got.payers)]
    tasks = [asyncio.create_task(one) for one in orders]
    yield got
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [one for one in outcomes if isinstance(one, Exception)] == []


async def all_have_what_they_paid_for(house: House, got: Traffic) -> bool:
    """And have paid for what they have."""
    owed = [PURSE - PRICE * len(house.pictures(payer)) - await house.balance(payer) for payer in got.payers]
    return not any(owed) and await books_agree(house)


async def _order(house: House, got: Traffic, person: Person, text: str, title: str) -> None:
    before = len(house.pictures(person))
    status, said = await house.asks(person, text)
    if (status, said) == (200, SORRY):
        assert title == CARD, "what is free is always made"
        got.sorry += 1
    elif status == 503:
        got.refused.add(text)
    else:
        assert (status, said) == (200, ACCEPTED.format(title=title))
        await until(lambda: len(house.pictures(person)) == before + 1, 30)
        got.pictures += 1
