"""The projects of a generation bot's database: every row shows, whatever is missing of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from service.kernel import migrate
from tests.cast import PAYER
from tests.features.projects.shelf import buttons
from tests.migrating import ROOT, rows, run_psql
from tests.serving import Served, pressed, serving

OWNER = replace(PAYER, language_code="ru")


@pytest.fixture
async def served(empty_database_url: str) -> AsyncIterator[Served]:
    """On a database that was a generation bot's."""
    done = run_psql(empty_database_url, "-v", "ON_ERROR_STOP=1", "-f", ROOT / "tests/data/generation_bot.sql")
    assert (done.returncode, done.stderr) == (0, "")
    migrate.up(empty_database_url)
    async with serving(empty_database_url) as running:
        yield running


async def test_adopted_projects_show(served: Served) -> None:
    found = buttons(await served.says(OWNER, "💼 Мои проекты"))
    assert found["Мой проект · 2 результата"] == "project:1"
    assert found["(без названия) · 0 результатов"] == "project:2"
    _, page = await served.post(pressed(OWNER, "project:1"))
    lines = page["text"].splitlines()
    assert lines[0] == "💼 Мой проект · 2 результата"
    assert {re.sub(r"^\d\. \d\d\.\d\d\.\d{4}  ", "", line) for line in lines[2:4]} == {
        "image-large: кот ⚠️",
        "image-large",
    }
    assert all(re.match(r"\d\. \d\d\.\d\d\.\d{4}  ", line) for line in lines[2:4])


async def test_adopted_results_show(served: Served) -> None:
    _, without = await served.post(pressed(OWNER, "project_result:1"))
    assert without["text"] == "От этого результата ничего не сохранилось."
    _, linked = await served.post(pressed(OWNER, "project_result:2"))
    assert linked["text"] == "https://example.org/1.png"


async def test_adopted_projects_are_changed_like_others(served: Served, empty_database_url: str) -> None:
    """Their numbers go on, also past the end of a SERIAL, and no two are the same."""
    assert (await served.says(OWNER, "/renameproject 2 Назван"))["text"].startswith("💼 Назван")
    assert (await served.says(OWNER, "/newproject Новый"))["text"].startswith("💼 Новый · 0 результатов")
    sequence = rows(empty_database_url, "SELECT pg_get_serial_sequence('projects', 'id')")[0][0]
    rows(empty_database_url, f"SELECT setval('{sequence}', 2147483647)")
    shown = await served.says(OWNER, "/newproject Большой")
    assert buttons(shown)["🗑 Удалить"] == f"project_delete:{2**31}"
    await served.post(pressed(OWNER, "project_erase:1"))
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT array_agg(id ORDER BY id) FROM projects") == [2, 3, 2**31]
    assert await connection.fetchval("SELECT count(*) FROM project_history") == 0
    await connection.close()
