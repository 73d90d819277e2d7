"""«💼 Мои проекты»: whose they are, in which order, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cast import FRIEND, PAYER, STRANGER
from tests.features.projects.shelf import buttons, kept, project
from tests.serving import Served, pressed
from tests.waiting import until


async def test_nothing_yet(served: Served) -> None:
    shown = await served.says(PAYER, "💼 My projects")
    assert shown["text"].startswith("💼 My projects\n\nThere are no projects yet.")
    assert buttons(shown) == {"➕ New project": "project_new"}
    shown = await served.says(FRIEND, "💼 Мои проекты")
    assert "Проектов пока нет" in shown["text"]
    assert buttons(shown) == {"➕ Новый проект": "project_new"}


@pytest.mark.parametrize(
    ("results", "english", "russian"),
    [
        (0, "0 results", "0 результатов"),
        (1, "1 result", "1 результат"),
        (2, "2 results", "2 результата"),
        (5, "5 results", "5 результатов"),
        (21, "21 results", "21 результат"),
    ],
)
async def test_how_much_is_in_each(served: Served, raw: Any, results: int, english: str, russian: str) -> None:
    for person, name, count in ((PAYER, "Cats", english), (FRIEND, "Коты", russian)):
        number = await project(raw, name, person.user_id)
        for _ in range(results):
            await kept(raw, number)
        assert buttons(await served.says(person, "/projects"))[f"{name} · {count}"] == f"project:{number}"


async def test_pages_begin_with_what_changed_last(served: Served, raw: Any) -> None:
    for number in range(1, 26):
        await project(raw, f"p{number}")
    await project(raw, "not his", STRANGER.user_id)
    oldest = await raw.fetchval("UPDATE projects SET name = 'p1 again' WHERE name = 'p1' RETURNING id")
    expected = ["p1 again", *(f"p{number}" for number in range(25, 1, -1))]
    shown, data = [], "projects"
    for page in range(3):
        _, body = await served.post(pressed(PAYER, data))
        assert body["method"] == "editMessageText"
        found = buttons(body)
        shown += [label.removesuffix(" · 0 results") for label in found if label.endswith("results")]
        assert ("« Newest" in found) == (page > 0)
        assert all(len(data.encode()) <= 64 for data in found.values())
        data = found.get("Older »", "")
    assert (shown, data) == (expected, "")
    assert buttons(await served.says(PAYER, "/projects"))["p1 again · 0 results"] == f"project:{oldest}"


async def test_a_page_that_emptied_leads_back(served: Served) -> None:
    _, body = await served.post(pressed(PAYER, "projects:5"))
    assert list(buttons(body)) == ["« Newest", "➕ New project"]


@pytest.mark.parametrize("relation", ["projects", "project_history"])
async def test_without_a_table_the_button_says_so(served: Served, raw: Any, relation: str) -> None:
    await served.says(FRIEND, "/start")
    await raw.execute(f"ALTER TABLE {relation} RENAME TO gone")
    assert (await served.says(FRIEND, "💼 Мои проекты"))["text"] == "⚠️ База временно недоступна"
    assert (await served.says(PAYER, "💼 My projects"))["text"] == "⚠️ Database temporarily unavailable"
    states = served.operations.switchboard.states
    assert states["projects"].reason == states["project_saving"].reason == f"{relation} table missing"
    assert (await served.says(FRIEND, "/balance"))["text"].startswith("Баланс")
    await raw.execute(f"ALTER TABLE gone RENAME TO {relation}")
    await served.operations.switchboard.refresh()
    await until(lambda: served.operations.switchboard.states["projects"].state == "on")
    assert "Проектов пока нет" in (await served.says(FRIEND, "💼 Мои проекты"))["text"]


async def test_without_jobs_projects_are_there_all_the_same(served: Served, raw: Any) -> None:
    await project(raw)
    await raw.execute("ALTER TABLE generation_jobs RENAME TO gone")
    await served.operations.switchboard.refresh()
    assert "Cats · 0 results" in buttons(await served.says(PAYER, "/projects"))
    _, body = await served.post(pressed(PAYER, "save:00000000-0000-4000-8000-000000000000"))
    assert body["text"] == "⚠️ Database temporarily unavailable"
