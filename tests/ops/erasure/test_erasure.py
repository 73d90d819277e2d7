"""Erased, nothing of a person is found in a dump but what the books keep, and that is nobody's."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from service.features import FEATURES
from service.ops import catalog
from service.ops.erasure import erasure
from tests.payments.money import BROKEN
from tests.payments.operators.desk import Desk, code
from tests.serving import Served, serving

HIM, FRIEND, REFERRER = 7_100_000_001, 7_100_000_002, 7_100_000_003
WORDS = (
    "zz_username",
    "Zzfirst",
    "Zzlast",
    "zz@mail.example",
    "zz prompt",
    "zz output",
    "zz project",
    "zz reply",
    "zz-url",
)
# Longer than his, with his inside of it: it is somebody else's.
LONGER = HIM * 10 + 5
PAYMENT = "0b9f3c1e-0000-4000-8000-000000000001"
FILL = f"""
INSERT INTO users (user_id, username, first_name, last_name, language_code, started_with, started_at) VALUES
    ({HIM}, 'zz_username', 'Zzfirst', 'Zzlast', 'ru', 'ref_{REFERRER}', now()),
    ({FRIEND}, 'friend', 'Friend', NULL, 'en', 'ref_{HIM}', now()),
    ({REFERRER}, 'other', 'Other', NULL, 'en', '', now()),
    ({LONGER}, 'longer', 'Longer', NULL, 'en', 'ref_{LONGER}', now());
INSERT INTO balances (user_id, balance_rub, booked_in)
SELECT n, 85, 'payment_transactions'::regclass::oid FROM unnest(ARRAY[{HIM}, {REFERRER}]) AS n;
INSERT INTO payment_reservations (reservation_id, user_id, amount_rub, status, purpose, expires_at)
VALUES (gen_random_uuid(), {HIM}, 10, 'held', 'generation', now() + interval '1 hour');
INSERT INTO payments (payment_id, user_id, provider, provider_payment_id, status, amount, credit_rub, pack_id, pay_url,
    expires_at, settled_at)
VALUES ('{PAYMENT}', {HIM}, 'yookassa', 'yk-1', 'succeeded', 90, 90, 'p', 'https://pay.example/zz-url', now(), now());
INSERT INTO payment_references (provider, reference, payment_id) VALUES ('yookassa', 'yk-1', '{PAYMENT}');
INSERT INTO payment_events (provider, delivery_key, name, reference, body, status, payment_id, finished_at) VALUES
    ('yookassa', 'a', 'payment.succeeded', 'yk-1', '{{"receipt": "zz@mail.example"}}', 'applied', '{PAYMENT}', now()),
    ('yookassa', 'b', 'payment.pending', 'yk-1', '{{"receipt": "zz@mail.example"}}', 'ignored', NULL, now()),
    ('telegram', 'c', 'message', NULL, '{{"from": {{"id": {HIM}, "first_name": "Zzfirst"}}}}', 'ignored', NULL, now()),
    ('telegram', 'd', 'message', NULL, '{{"from": {{"id": {LONGER}}}}}', 'ignored', NULL, now());
INSERT INTO payment_refunds (refund_id, payment_id, provider, status, amount, reason)
VALUES (gen_random_uuid(), '{PAYMENT}', 'yookassa', 'failed', 5, 'Zzfirst wanted it');
INSERT INTO payment_transactions (user_id, amount_rub, type, reason, effect_key, payment_id) VALUES
    ({HIM}, 90, 'topup', '', 'yookassa:payment:yk-1', '{PAYMENT}'),
    ({HIM}, 5, 'adjustment', 'gift', 'adjust:{HIM}:k', NULL),
    ({REFERRER}, 85, 'referral', '{HIM}', 'referral:{HIM}', NULL);
INSERT INTO payment_effects (effect_key, user_id) VALUES
    ('adjust:{HIM}:k', {HIM}), ('referral:{HIM}', {REFERRER}), ('adjust:{LONGER}:k', {LONGER});
INSERT INTO idempotency_keys (scope, key, request_hash, status_code, response) VALUES
    ('adjust:{HIM}', 'k', '', 200, '{{}}'), ('adjust:x', 'k', '', 200, '{{"user_id":{HIM}}}'),
    ('adjust:{LONGER}', 'k', '', 200, '{{}}');
INSERT INTO generation_jobs (job_id, user_id, chat_id, model_id, prompt, timeout_s, place, status, outputs, file)
VALUES (gen_random_uuid(), {HIM}, {HIM}, 'm', 'zz prompt', 5, now(), 'success', '["zz output"]', 'zz output');
INSERT INTO generation_events (user_id, chat_id, model_id, category, status, is_free_applied, price_rub)
VALUES ({HIM}, {HIM}, 'm', 'text', 'success', false, 5), ({FRIEND}, {FRIEND}, 'm', 'text', 'success', false, 5);
INSERT INTO projects (user_id, name) VALUES ({HIM}, 'zz project'), ({FRIEND}, 'another');
INSERT INTO project_history (project_id, user_id, model_id, inputs, outputs, status)
SELECT id, user_id, 'm', '{{"prompt": "zz prompt"}}', '["zz output"]', 'success' FROM projects WHERE user_id = {HIM};
INSERT INTO referrals (referrer_id, referred_id) VALUES ({HIM}, {FRIEND}), ({REFERRER}, {HIM});
INSERT INTO processed_updates (bot_id, update_id, reply) VALUES
    (1, 1, '{{"chat_id":{HIM},"text":"zz reply"}}'), (1, 2, '{{"chat_id":{LONGER}}}');
INSERT INTO failed_updates (bot_id, update_id, body, error) VALUES
    (1, 1, '{{"from":{{"id":{HIM},"first_name":"Zzfirst"}}}}', 'e'), (1, 2, '{{"from":{{"id":{LONGER}}}}}', 'e');
INSERT INTO broadcasts (broadcast_id, text, segment, next_at, created_at)
VALUES ('{PAYMENT}', 'x', '{{}}', now(), now());
INSERT INTO broadcast_recipients (broadcast_id, user_id) VALUES ('{PAYMENT}', {HIM}), ('{PAYMENT}', {FRIEND});
INSERT INTO tail_events (key, name, instance, user_id, told, happened_at)
VALUES (gen_random_uuid(), 'generation', 'i', {HIM}, '{{"what": "zz tail"}}', now());
"""
TABLES = """
SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""


@pytest.fixture
async def desk(database_url: str, raw: Any) -> Any:
    await raw.execute(FILL)
    async with serving(database_url) as served:
        yield Desk(served)


async def dump(raw: Any) -> dict[str, list[str]]:
    """Every row of every table, with what is in bytes as text."""
    tables = [row["relname"] for row in await raw.fetch(TABLES)]
    await raw.execute("SET bytea_output = 'escape'")
    return {table: [row[0] for row in await raw.fetch(f'SELECT told::text FROM "{table}" AS told')] for table in tables}


def found(dumped: dict[str, list[str]], value: str) -> set[str]:
    """The tables that have it."""
    pattern = re.compile(rf"(?<!\d){re.escape(value)}(?!\d)" if value.isdigit() else re.escape(value))
    return {table for table, rows in dumped.items() if any(pattern.search(row) for row in rows)}


async def test_a_dump_has_nothing_of_him(desk: Desk, raw: Any) -> None:
    before = await dump(raw)
    for value in (str(HIM), *WORDS):
        assert found(before, value), f"{value} is there to be erased"
    status, told = await desk.post(f"/admin/users/{HIM}/erase", {})
    assert status == 200, told
    after = await dump(raw)
    for value in (str(HIM), *WORDS):
        assert found(after, value) == set(), f"{value} is left"
    for other in (FRIEND, REFERRER, LONGER):
        assert found(after, str(other)) == found(before, str(other))


async def test_the_books_are_kept_and_are_nobodys(desk: Desk, raw: Any) -> None:
    sums = "SELECT sum(amount_rub), count(*) FROM payment_transactions"
    before = tuple(await raw.fetchrow(sums))
    await desk.post(f"/admin/users/{HIM}/erase", {})
    assert tuple(await raw.fetchrow(sums)) == before
    assert await raw.fetch(BROKEN) == []
    whose = await raw.fetchval("SELECT user_id FROM payments")
    assert whose >= erasure.STAND_INS
    rows = await raw.fetch("SELECT amount_rub FROM payment_transactions WHERE user_id = $1 ORDER BY id", whose)
    assert [row["amount_rub"] for row in rows] == [Decimal("90.00"), Decimal("5.00")]
    assert await raw.fetchval("SELECT balance_rub FROM balances WHERE user_id = $1", whose) == Decimal("85.00")
    person = await raw.fetchrow(
        "SELECT username, first_name, last_name, is_active FROM users WHERE user_id = $1", whose
    )
    assert tuple(person) == (None, None, None, False)
    referred = await raw.fetchrow("SELECT referrer_id FROM referrals WHERE referred_id = $1", FRIEND)
    assert referred["referrer_id"] == whose
    assert await raw.fetchval("SELECT started_with FROM users WHERE user_id = $1", FRIEND) == f"ref_{whose}"


async def test_once_more_is_nothing(desk: Desk, raw: Any) -> None:
    _, first = await desk.post(f"/admin/users/{HIM}/erase", {})
    assert first["erased_before"] is None
    before = await dump(raw)
    status, told = await desk.post(f"/admin/users/{HIM}/erase", {})
    assert (status, told["rows"]) == (200, {})
    assert told["erased_before"] is not None
    after = await dump(raw)
    for table in after.keys() - {"admin_log", "idempotency_keys"}:
        assert sorted(after[table]) == sorted(before[table]), table
    assert code(await desk.post("/admin/users/424242/erase", {})) == (404, "not_found")


async def test_who_comes_back_is_new(desk: Desk, raw: Any) -> None:
    served: Served = desk.served
    await served.operations.people.get(HIM)  # he is in the cache
    await desk.post(f"/admin/users/{HIM}/erase", {})
    await raw.execute("INSERT INTO users (user_id, first_name) VALUES ($1, 'Again')", HIM)
    status, ledger = await served.get(f"/admin/users/{HIM}/ledger", admin=True)
    assert (status, ledger["items"], ledger["balance"]["balance_rub"]) == (200, [], "0.00")
    status, told = await desk.post(f"/admin/users/{HIM}/erase", {})
    assert (status, told["rows"]) == (200, {"users": 1})
    assert await raw.fetchval("SELECT count(*) FROM erased_people") == 1


async def test_not_while_his_money_is_under_way(desk: Desk, raw: Any) -> None:
    for status in ("waiting", "review"):
        await raw.execute("UPDATE payment_events SET status = $1, finished_at = NULL WHERE delivery_key = 'a'", status)
        assert code(await desk.post(f"/admin/users/{HIM}/erase", {})) == (409, "conflict")
    assert found(await dump(raw), "Zzfirst")


async def test_a_table_that_nobody_thought_of_stops_it(desk: Desk, raw: Any) -> None:
    await raw.execute("CREATE TABLE forgotten (whose bigint REFERENCES users (user_id))")
    status, told = await desk.post(f"/admin/users/{HIM}/erase", {})
    assert (status, "forgotten" in told["error"]["message"]) == (409, True)
    assert await raw.fetchval("SELECT count(*) FROM users WHERE user_id = $1", HIM) == 1


async def test_every_table_with_people_is_declared(conn: Any) -> None:
    """A new feature says what erasing a person means for its tables, and what it holds is exported."""
    personal = {table.relation for table in await erasure.list_personal_tables(conn)}
    assert {"users", "payments", "broadcast_recipients", "projects"} <= personal
    assert personal - {"users"} <= set(erasure.declared(FEATURES))
    exported = await catalog.export_person(conn, user_id=HIM)
    assert personal == {one.relation for one in exported}


async def test_what_is_declared_is_there(conn: Any) -> None:
    """Tables and columns, and one owner for each."""
    declared = [(relation, erasing) for feature in FEATURES for relation, erasing in feature.erases.items()]
    assert len(declared) == len({relation for relation, _ in declared})
    for relation, erasing in declared:
        columns = {*erasing.blanks, *erasing.names_him, *erasing.mentions, *(one[0] for one in erasing.refers)}
        there = await conn.fetch("SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1)", relation)
        assert columns <= {row["attname"] for row in there}, relation
        for _, table, column in erasing.refers:
            assert await conn.fetchval(
                "SELECT true FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2", table, column
            )


async def test_the_ledger_gives_up_nothing_but_whose_it_is(raw: Any) -> None:
    await raw.execute(FILL)
    for change in (
        "amount_rub = 1",
        "type = 'refund'",
        f"user_id = {FRIEND}",
        "reason = 'other'",
        "effect_key = 'x:1'",
    ):
        with pytest.raises(Exception, match="append-only"):
            await raw.execute(f"UPDATE payment_transactions SET {change} WHERE user_id = {HIM}")
    with pytest.raises(Exception, match="append-only"):
        await raw.execute("DELETE FROM payment_transactions")


async def test_the_log_names_who_stands_in_his_place(desk: Desk) -> None:
    await desk.post(f"/admin/users/{HIM}/erase", {})
    _, log = await desk.get("/admin/log")
    (entry,) = log["items"]
    assert (entry["what"], str(HIM) in msgspec.json.encode(entry).decode()) == ("erase", False)
