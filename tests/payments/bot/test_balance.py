"""/balance and /paysupport: what a person sees of his own money, and of nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cast import PAYER
from tests.payments.bot.shop import Shop, invoice_for, open_shop
from tests.serving import pressed


async def entries(raw: Any, user_id: int, count: int, **columns: Any) -> None:
    """Deductions of 1 to `count` roubles, one a minute, out of a balance that had enough."""
    await raw.execute("INSERT INTO users (user_id) VALUES ($1) ON CONFLICT DO NOTHING", user_id)
    await raw.execute(
        "INSERT INTO payment_transactions (user_id, amount_rub, type, reason, created_at)"
        " SELECT $1, -number, 'deduction', 'job ' || number, '2026-11-01'::timestamptz + number * interval '1 minute'"
        " FROM generate_series(1, $2::int) AS number",
        user_id,
        count,
    )
    await raw.execute(
        "INSERT INTO balances (user_id, balance_rub, booked_in)"
        " SELECT $1, sum(amount_rub), 'payment_transactions'::regclass::oid FROM payment_transactions"
        " WHERE user_id = $1",
        user_id,
    )


async def test_nothing_yet(shop: Shop) -> None:
    await shop.payer.says("💰 Balance")
    heard = await shop.payer.hears("Balance: 0 ₽")
    assert heard.text.endswith("Nothing has happened here yet.")
    await shop.friend.says("/balance")
    assert (await shop.friend.hears("Баланс: 0 ₽")).text.endswith("Операций пока не было.")
    await shop.friend.presses("➕ Пополнить")
    await shop.friend.hears("На сколько пополнить?")


async def test_pages(shop: Shop, raw: Any) -> None:
    await entries(raw, shop.payer.id, 25)
    await entries(raw, shop.friend.id, 1)
    await shop.payer.says("/balance")
    page = await shop.payer.hears("Balance: -325 ₽")
    assert page.text.splitlines()[2:] == [f"2026-11-01  -{n} ₽  spent: job {n}" for n in range(25, 15, -1)]
    assert [one["text"] for one in page.buttons] == ["Older »", "➕ Top up"]
    assert all(len(one["callback_data"].encode()) <= 64 for one in page.buttons)
    await shop.payer.presses("Older »")
    page = await shop.payer.hears("job 15")
    assert page.text.splitlines()[2:] == [f"2026-11-01  -{n} ₽  spent: job {n}" for n in range(15, 5, -1)]
    assert [one["text"] for one in page.buttons] == ["« Newest", "Older »", "➕ Top up"]
    await shop.payer.presses("Older »")
    page = await shop.payer.hears("job 5")
    assert page.text.splitlines()[2:] == [f"2026-11-01  -{n} ₽  spent: job {n}" for n in range(5, 0, -1)]
    await shop.payer.presses("« Newest")
    await shop.payer.hears("job 25")


async def test_what_is_put_aside(shop: Shop, raw: Any) -> None:
    link = await invoice_for(shop.friend)
    await shop.friend.pays(link)
    await shop.friend.hears("Поступило")
    await raw.execute(
        "WITH held AS (INSERT INTO payment_reservations (reservation_id, user_id, amount_rub, purpose)"
        " VALUES (gen_random_uuid(), $1, 12.50, 'job')) UPDATE balances SET balance_rub = balance_rub - 12.50",
        shop.friend.id,
    )
    await shop.friend.says("/balance")
    heard = await shop.friend.hears("Отложено")
    first, second, _, entry = heard.text.splitlines()
    assert (first, second) == ("Баланс: 287.50 ₽", "Отложено: 12.50 ₽")
    assert entry.endswith("  +300 ₽  пополнение")


async def test_without_the_ledger_the_balance_is_told_all_the_same(shop: Shop, raw: Any) -> None:
    await raw.execute("ALTER TABLE payment_transactions RENAME TO gone")
    await shop.payer.says("/balance")
    assert (await shop.payer.hears("Balance: 0 ₽")).text.endswith("The history is not available now.")
    await raw.execute("ALTER TABLE gone RENAME TO payment_transactions")


@pytest.mark.parametrize("data", ["balance:", "balance:1", "balance:-1:2", "balance:x:y", "balance:1:" + "9" * 19])
async def test_a_page_that_never_was(shop: Shop, data: str) -> None:
    status, body = await shop.served.post(pressed(PAYER, data))
    assert (status, body["text"]) == (200, "That did not work: it is out of date or not valid.")


async def test_support_knows_the_last_payments(shop: Shop, raw: Any) -> None:
    await shop.payer.says("/paysupport")
    assert (await shop.payer.hears("the owner of this bot")).text.endswith("You have not paid here yet.")
    await shop.payer.pays(await invoice_for(shop.payer))
    await shop.payer.hears("arrived")
    await invoice_for(shop.payer)
    await shop.payer.says("/paysupport")
    lines = (await shop.payer.hears("Your last payments")).text.splitlines()
    rows = await raw.fetch("SELECT payment_id, status, created_at FROM payments ORDER BY created_at DESC")
    words = {"pending": "not paid", "succeeded": "paid"}
    assert lines[3:] == [
        f"{row['payment_id'].hex[:8]}  {row['created_at']:%Y-%m-%d}  230 ⭐  {words[row['status']]}" for row in rows
    ]
    assert [row["status"] for row in rows] == ["pending", "succeeded"]
    await shop.friend.says("/paysupport")
    assert (await shop.friend.hears("Что-то не так")).text.endswith("Вы здесь ещё не платили.")


async def test_whom_to_write_to_stands_in_the_catalogue(database_url: str, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.toml"
    catalog.write_text('support = "@some_support"\n')
    async with open_shop(database_url, CATALOG=str(catalog)) as shop:
        await shop.payer.says("/paysupport")
        await shop.payer.hears("Write to @some_support. ")
