"""What a person sees of his link, and how a friend who comes by it and pays becomes his reward."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from service.catalog import Catalog
from service.config import Config
from service.telegram.texts import UNAVAILABLE
from tests.cast import FRIEND, PAYER, STRANGER
from tests.features.referrals.programme import CAME, REFERRALS, linked, topped_up
from tests.payments.bot.shop import Shop, invoice_for, open_shop
from tests.payments.money import balance_of, entries_of
from tests.serving import Served
from tests.waiting import until

NAME = "sandbox_bot"


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    async with open_shop(database_url, PROBE_INTERVAL="1") as opened:
        opened.served.operations.bot.username = NAME
        yield opened


def shared(answer: Any) -> dict[str, list[str]]:
    """What the share button sends."""
    ((button,),) = answer["reply_markup"]["inline_keyboard"]
    address = urlsplit(button["url"])
    assert (address.netloc, address.path) == ("t.me", "/share/url")
    return parse_qs(address.query)


async def rewarded(raw: Any, friends: int, kopeks: int = 1500) -> None:
    """So many of them have paid, a day apart."""
    await raw.execute(
        "UPDATE referrals SET reward_rub = $1 / 100.0, rewarded_at = created_at + id * interval '1 day'"
        " WHERE id IN (SELECT id FROM referrals ORDER BY id LIMIT $2)",
        kopeks,
        friends,
    )


@pytest.mark.parametrize("text", ["/partner", "🤝 Партнёрка", "🤝 Referrals"])
async def test_the_link_and_a_button_to_share_it(served: Served, text: str) -> None:
    served.operations.bot.username = NAME
    answer = await served.says(PAYER, text)
    link = f"https://t.me/{NAME}?start=ref_{PAYER.user_id}"
    assert link in answer["text"].splitlines()
    assert shared(answer) == {"url": [link], "text": ["Have a look at this bot."]}
    assert "10 %" in answer["text"]
    assert "0 friends have come" in answer["text"]
    assert "earned" not in answer["text"]


async def test_in_the_sandbox_the_link_is_the_pages_own(served: Served) -> None:
    page = "http://127.0.0.1:8080/sandbox"
    here = replace(served.operations.config, public_url="http://127.0.0.1:8080", telegram_api_base=page)
    served.operations.switchboard.replace(Config, here)
    answer = await served.says(PAYER, "/partner")
    assert f"{page}?start=ref_{PAYER.user_id}" in answer["text"]


async def test_before_our_name_is_known_there_is_no_link(served: Served) -> None:
    answer = await served.says(FRIEND, "/partner")
    assert "Ссылка ещё не готова" in answer["text"]
    assert "t.me" not in str(answer)


@pytest.mark.parametrize(
    ("friends", "paid", "russian", "english"),
    [
        (
            1,
            1,
            "По ней пришёл 1 друг.\nПополнил баланс 1 из них.",
            "1 friend has come by it.\n1 of them has topped up.",
        ),
        (3, 2, "По ней пришли 3 друга.\nПополнили баланс 2 из них.", "3 friends have come by it.\n2 of them have"),
        (5, 5, "По ней пришло 5 друзей.\nПополнили баланс 5 из них.", "5 friends have come by it.\n5 of them have"),
        (21, 0, "По ней пришёл 21 друг.", "21 friends have come by it."),
    ],
)
async def test_how_many_came_and_paid(
    served: Served, raw: Any, friends: int, paid: int, russian: str, english: str
) -> None:
    for person in (PAYER, FRIEND):
        await raw.execute("DELETE FROM referrals")
        await linked(raw, *range(10_000, 10_000 + friends), referrer=person.user_id)
        await rewarded(raw, paid)
        expected = english if person is PAYER else russian
        assert expected in (await served.says(person, "/partner"))["text"]
    assert "0 friends" in (await served.says(STRANGER, "/partner"))["text"], "he brought nobody"


async def test_what_it_earned(served: Served, raw: Any) -> None:
    """Nobody is named: a friend did not ask for that. Void rows count for nothing."""
    await linked(raw, *range(10_000, 10_007))
    await rewarded(raw, 6, kopeks=1250)
    await linked(raw, FRIEND.user_id)
    await raw.execute("UPDATE users SET first_name = 'Secret', username = 'secret' WHERE user_id >= 10000")
    void = "UPDATE referrals SET void_reason = 'second referrer', reward_rub = 999 WHERE referred_id = $1"
    await raw.execute(void, FRIEND.user_id)
    text = (await served.says(PAYER, "/partner"))["text"]
    assert "You have earned 75 ₽." in text
    assert "7 friends have come by it.\n6 of them have topped up." in text
    *_, heading, first, second, third, fourth, fifth = text.splitlines()
    assert heading == "The last rewards:"
    days = await raw.fetch(
        "SELECT rewarded_at FROM referrals WHERE reward_rub = 12.5 ORDER BY rewarded_at DESC LIMIT 5"
    )
    assert [first, second, third, fourth, fifth] == [f"{day[0]:%Y-%m-%d}  +12.50 ₽" for day in days]
    assert "ecret" not in text


@pytest.mark.parametrize(("percent", "said"), [("7.50", "7.5 %"), ("100.00", "100 %"), ("0.00", "by your link")])
async def test_the_percent_is_the_catalogues(served: Served, percent: str, said: str) -> None:
    served.operations.switchboard.replace(Catalog, Catalog(packs=(), referral_percent=Decimal(percent)))
    text = (await served.says(PAYER, "/partner"))["text"]
    assert said in text
    assert ("%" in text) is bool(Decimal(percent))


async def test_without_its_table_the_partner_page_alone_is_off(served: Served, raw: Any) -> None:
    """S3-69, S3-70."""
    await raw.execute("ALTER TABLE referrals RENAME TO gone")
    for text in ("/partner", "🤝 Партнёрка"):
        assert (await served.says(FRIEND, text))["text"] == UNAVAILABLE.ru
    states = served.operations.switchboard.states
    needing = {"referrals", "referral_rewards"}
    assert {name for name, state in states.items() if "referrals table missing" in state.reason} == needing
    assert "Здравствуйте" in (await served.says(FRIEND, f"/start ref_{PAYER.user_id}"))["text"]
    assert await raw.fetchval("SELECT started_with FROM users WHERE user_id = $1", FRIEND.user_id)


async def test_a_friend_comes_and_pays(shop: Shop, raw: Any) -> None:
    """From the link to the reward, and the referrer hears of it; the friend's second payment is his own affair."""
    await shop.payer.says("/start")
    await shop.friend.says(f"/start ref_{shop.payer.id}")
    await until(lambda: raw.fetchval("SELECT count(*) FROM referrals"))
    assert tuple(await raw.fetchrow(REFERRALS)) == (shop.payer.id, shop.friend.id, 0)
    for turn in range(2):
        await shop.friend.pays(await invoice_for(shop.friend))
        await until(lambda turn=turn: _count(raw, shop.friend.id, turn + 1), within=10)
    await shop.payer.hears("Your friend has topped up: 30 ₽ of it is yours.")
    await until(lambda: raw.fetchval("SELECT bool_and(tell_at IS NULL) FROM referrals"))
    assert await entries_of(raw, shop.payer.id) == [("referral", 30)]
    assert await balance_of(raw, shop.friend.id) == 600
    await shop.payer.says("/partner")
    await shop.payer.hears("You have earned 30 ₽.")


async def _count(raw: Any, user_id: int, payments: int) -> bool:
    query = "SELECT count(*) FROM payments WHERE user_id = $1 AND status = 'succeeded'"
    return await raw.fetchval(query, user_id) == payments


@pytest.mark.parametrize("table", ["referrals", "balances", "payments"])
async def test_what_happened_while_a_table_was_away_is_caught_up(shop: Shop, raw: Any, table: str) -> None:
    """He came and paid long ago: neither poke found the table."""
    await shop.payer.says("/start")
    await raw.execute(f"ALTER TABLE {table} RENAME TO gone")
    switchboard = shop.served.operations.switchboard
    await until(lambda: not switchboard.is_on("referral_rewards"))
    await shop.friend.says(f"/start ref_{shop.payer.id}")
    long_ago = CAME - timedelta(days=random.randint(1, 300))
    await raw.execute("UPDATE users SET created_at = $1, started_at = $1", long_ago)
    if table != "payments":
        await topped_up(raw, shop.friend.id, at=long_ago)
    await raw.execute(f"ALTER TABLE gone RENAME TO {table}")
    if table == "payments":
        await topped_up(raw, shop.friend.id, at=long_ago)
    await until(lambda: raw.fetchval("SELECT count(*) FROM referrals WHERE rewarded_at IS NOT NULL"), within=10)
    await shop.payer.hears("15 ₽ of it is yours.")
    assert await entries_of(raw, shop.payer.id) == [("referral", 15)]
