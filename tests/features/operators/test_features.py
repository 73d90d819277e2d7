"""/features: every feature as it stands, for operators, with nothing but the process itself."""

from __future__ import annotations

from dataclasses import replace

import asyncpg

from service.features import FEATURES
from tests.cast import OPERATOR, PAYER
from tests.outage import away
from tests.serving import Served, serving
from tests.waiting import until

RUSSIAN = replace(OPERATOR, language_code="ru")


async def test_each_feature_is_there_with_its_reason(served: Served, raw: asyncpg.Connection) -> None:
    await raw.execute("DROP TABLE generation_events")
    await served.operations.switchboard.refresh()
    lines = (await served.says(OPERATOR, "/features"))["text"].splitlines()
    assert len(lines) == 2 + len(FEATURES)
    assert lines[2] == "⛔ Generation diagnostics: generation_events table missing"
    assert "✅ Users" in lines
    states = served.operations.switchboard.states
    off = [name for name, state in states.items() if state.state == "off"]
    assert len([line for line in lines if line.startswith("⛔")]) == len(off)
    assert lines[0].startswith(f"{len(off)} feature")


async def test_in_the_operators_language(served: Served) -> None:
    lines = (await served.says(RUSSIAN, "/features"))["text"].splitlines()
    assert "✅ Пользователи" in lines
    assert "✅ Диагностика генераций" in lines


async def test_what_nobody_asked_for_comes_after_what_is_broken(database_url: str, raw: asyncpg.Connection) -> None:
    await raw.execute("DROP TABLE generation_events")
    async with serving(database_url, YOOKASSA_SHOP_ID="") as served:
        lines = (await served.says(OPERATOR, "/features"))["text"].splitlines()
        broken = next(at for at, line in enumerate(lines) if "generation_events" in line)
        chosen = next(at for at, line in enumerate(lines) if "YOOKASSA" in line)
        on = next(at for at, line in enumerate(lines) if line.startswith("✅"))
        assert broken < chosen < on


async def test_without_a_database(database_url: str, raw: asyncpg.Connection) -> None:
    await raw.close()
    async with serving(database_url) as served, away(database_url):
        await until(lambda: not served.operations.database.reachable)
        assert "✅ Users" in (await served.says(OPERATOR, "/features"))["text"]


async def test_for_anybody_else_it_does_not_exist(served: Served) -> None:
    assert "Users" not in (await served.says(PAYER, "/features"))["text"]
