"""A project's page and its end; and that nobody else's is ever there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cast import FRIEND, PAYER, STRANGER
from tests.features.projects.shelf import buttons, kept, made, project
from tests.serving import Served, message, pressed

DAY = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def test_what_is_in_it(served: Served, raw: Any) -> None:
    number = await project(raw)
    await kept(raw, number, created_at=DAY)
    await kept(raw, number, created_at=DAY + timedelta(days=1), inputs='{"prompt": "two\\nlines of a prompt"}')
    await kept(raw, number, created_at=DAY + timedelta(days=2), model_id="gone-model", inputs="{}", status="failed")
    _, shown = await served.post(pressed(PAYER, f"project:{number}"))
    assert shown["text"].splitlines() == [
        "💼 Cats · 3 results",
        "",
        "1. 2026-11-22  gone-model ⚠️",
        "2. 2026-11-21  Text card: two lines of a prompt",
        "3. 2026-11-20  Text card: a tale",
        "",
        "Press a number to see it again.",
    ]
    assert list(buttons(shown)) == ["1", "2", "3", "✏️ Rename", "🗑 Delete", "« My projects"]


async def test_in_russian(served: Served, raw: Any) -> None:
    number = await project(raw, "Коты", FRIEND.user_id)
    await kept(raw, number, created_at=DAY, inputs='{"prompt": "' + "сказка " * 50 + '"}')
    _, shown = await served.post(pressed(FRIEND, f"project:{number}"))
    first = shown["text"].splitlines()[2]
    assert first.startswith("1. 20.11.2026  Открытка: сказка сказка")
    assert first.endswith("…")
    assert len(first) < 90


async def test_pages(served: Served, raw: Any) -> None:
    """Newest first, also among those of one moment."""
    number = await project(raw)
    ids = [await kept(raw, number, created_at=DAY + timedelta(microseconds=at // 2)) for at in range(25)]
    shown, data = [], f"project:{number}"
    for page in range(3):
        _, body = await served.post(pressed(PAYER, data))
        found = buttons(body)
        shown += [int(data.rpartition(":")[2]) for label, data in found.items() if label.isdecimal()]
        assert found.get("« Newest") == (f"project:{number}" if page else None)
        assert all(len(data.encode()) <= 64 for data in found.values())
        data = found.get("Older »", "")
    assert (shown, data) == (ids[::-1], "")


def test_the_largest_numbers_fit_into_a_button() -> None:
    assert len(f"project:{10**18 - 1}:{10**16}:{10**18 - 1}") <= 64
    assert len(f"save:{'0' * 36}:{10**18 - 1}") <= 64


async def test_it_is_deleted_with_what_is_in_it_once_that_is_sure(served: Served, raw: Any) -> None:
    number, other = await project(raw), await project(raw, "Dogs")
    for project_id in (number, number, other):
        await kept(raw, project_id)
    _, asked = await served.post(pressed(PAYER, f"project_delete:{number}"))
    assert asked["text"] == "Delete “Cats” with everything in it (2 results)? There is no way back."
    found = buttons(asked)
    assert list(found) == ["Yes, delete", "Cancel"]
    _, shown = await served.post(pressed(PAYER, found["Cancel"]))
    assert shown["text"].startswith("💼 Cats · 2 results")
    _, told = await served.post(pressed(PAYER, found["Yes, delete"]))
    assert told["text"] == "“Cats” is deleted."
    assert [row["project_id"] for row in await raw.fetch("SELECT project_id FROM project_history")] == [other]
    assert await raw.fetchval("SELECT array_agg(name) FROM projects") == ["Dogs"]
    _, told = await served.post(pressed(PAYER, found["Yes, delete"]))
    assert told["text"] == "There is no such project."


async def test_the_question_in_russian(served: Served, raw: Any) -> None:
    number = await project(raw, "Коты", FRIEND.user_id)
    _, asked = await served.post(pressed(FRIEND, f"project_delete:{number}"))
    assert asked["text"].startswith("Удалить «Коты» со всем содержимым (0 результатов)?")
    assert list(buttons(asked)) == ["Да, удалить", "Отмена"]


FORGED = (
    *("project:{project}", "project:{project}:1:1", "project_name:{project}", "project_delete:{project}"),
    *("project_erase:{project}", "project_result:{result}", "project_forget:{result}"),
    *("save:{job}", "save:{job}:{project}", "save:{job}:p0", "save:{job}:new", "save:{own}:{project}"),
    "/renameproject {project} Mine",
)


@pytest.mark.parametrize("line", FORGED)
async def test_what_is_somebody_elses_is_not_there(served: Served, raw: Any, line: str) -> None:
    """The answer is the same as for what nobody has, and nothing changes."""
    number = await project(raw)
    his = {"project": number, "result": await kept(raw, number), "job": await made(raw)}
    nobodys = {"project": 10**18 - 1, "result": 10**18 - 1, "job": "00000000-0000-4000-8000-000000000000"}
    own = await made(raw, STRANGER.user_id)
    everything = "SELECT projects, project_history FROM projects LEFT JOIN project_history ON projects.id = project_id"
    before = await raw.fetch(everything)
    answers = []
    for ids in (his, nobodys):
        said = line.format(**ids, own=own)
        status, body = await served.post((message if said.startswith("/") else pressed)(STRANGER, said))
        answers.append((status, body))
    assert answers[0] == answers[1]
    assert answers[0][0] == 200
    assert await raw.fetch(everything) == before


@pytest.mark.parametrize(
    "data",
    [
        *("projects:", "projects:x", "projects:-1", "projects:99999", "project", "project:", "project:x", "project:-1"),
        *("project:1:2", "project:1:2:3:4", "project:" + "9" * 19, "project:1:" + "9" * 18 + ":1", "project_name"),
        *("project_delete:", "project_erase", "project_erase:1:yes", "project_result:1 OR 1", "project_forget:١"),
        *("save", "save:", "save:1", "save:" + "-" * 36, "save:00000000-0000-4000-8000-000000000000:all"),
    ],
)
async def test_what_no_button_says(served: Served, data: str) -> None:
    status, body = await served.post(pressed(PAYER, data))
    assert (status, body["text"]) == (200, "That did not work: it is out of date or not valid.")
