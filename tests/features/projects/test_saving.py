"""The button under a result: kept once, in a project of whoever it was made for."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import orjson
import pytest

from service.feature import Menu
from service.features import FEATURES
from service.features.projects import repo
from service.kernel.database import Database
from tests.cast import FRIEND, PAYER, STRANGER
from tests.features.projects.shelf import PHOTO, buttons, made, project
from tests.serving import Served, pressed

HISTORY = "SELECT project_id, user_id, model_id, inputs, outputs, status, job_id FROM project_history ORDER BY id"


def test_every_result_has_the_button() -> None:
    assert [word for text, word in Menu.of(FEATURES).under_result if text.ru == "💾 Сохранить"] == ["save"]


async def test_into_a_project(served: Served, raw: Any) -> None:
    number, job_id = await project(raw), await made(raw, outputs=PHOTO, prompt='a "cat"')
    await project(raw, "Dogs")
    _, offered = await served.post(pressed(PAYER, f"save:{job_id}"))
    assert (offered["method"], offered["text"]) == ("sendMessage", "Save into which project?")
    found = buttons(offered)
    assert list(found) == ["Dogs · 0 results", "Cats · 0 results", "➕ Text card"]
    assert all(len(data.encode()) <= 64 for data in found.values())
    _, told = await served.post(pressed(PAYER, found["Cats · 0 results"]))
    assert (told["method"], told["text"]) == ("editMessageText", "✅ Saved in “Cats”.")
    assert buttons(told) == {"Open the project": f"project:{number}"}
    (row,) = await raw.fetch(HISTORY)
    assert tuple(row) == (
        number,
        PAYER.user_id,
        "text-card",
        '{"prompt": "a \\"cat\\""}',
        row["outputs"],
        "success",
        job_id,
    )
    assert orjson.loads(row["outputs"]) == PHOTO
    assert next(iter(buttons(await served.says(PAYER, "/projects")))) == "Cats · 1 result", "it changed last"


async def test_pressed_twice_it_is_saved_once(served: Served, raw: Any) -> None:
    number, other, job_id = await project(raw), await project(raw, "Dogs"), await made(raw)
    for data in (f"save:{job_id}:{number}", f"save:{job_id}:{number}", f"save:{job_id}:{other}"):
        assert "Saved" in (await served.post(pressed(PAYER, data)))[1]["text"]
    assert [row["project_id"] for row in await raw.fetch(HISTORY)] == [number, other]
    changed = "SELECT updated_at FROM projects WHERE id = $1"
    before = await raw.fetchval(changed, number)
    await served.post(pressed(PAYER, f"save:{job_id}:{number}"))
    assert await raw.fetchval(changed, number) == before, "nothing changed"


async def test_at_the_same_moment_it_is_saved_once(db: Database, raw: Any) -> None:
    number, job_id = await project(raw), await made(raw)

    async def save() -> str | None:
        async with db.transaction() as conn:
            return await repo.save_result(conn, job_id=job_id, project_id=number, user_id=PAYER.user_id)

    assert set(await asyncio.gather(*(save() for _ in range(10)))) == {"Cats"}
    assert len(await raw.fetch(HISTORY)) == 1


async def test_into_a_new_project_called_like_the_model(served: Served, raw: Any) -> None:
    first, second = await made(raw, FRIEND.user_id), await made(raw, FRIEND.user_id)
    _, offered = await served.post(pressed(FRIEND, f"save:{first}"))
    assert buttons(offered) == {"➕ Открытка": f"save:{first}:new"}
    for job_id in (first, second, second):
        _, told = await served.post(pressed(FRIEND, f"save:{job_id}:new"))
        assert told["text"] == "✅ Сохранено в «Открытка»."
    assert await raw.fetchval("SELECT array_agg(name) FROM projects") == ["Открытка"]
    assert [row["job_id"] for row in await raw.fetch(HISTORY)] == [first, second]


async def test_no_new_one_beyond_the_fiftieth(served: Served, raw: Any) -> None:
    for number in range(repo.PROJECTS_MAX):
        await project(raw, f"p{number}")
    job_id = await made(raw)
    _, told = await served.post(pressed(PAYER, f"save:{job_id}:new"))
    assert told["text"].startswith("You have 50 projects")
    assert len(told["text"]) <= 200, "Telegram shows no more above a chat"
    assert await raw.fetch(HISTORY) == []


async def test_pages_of_projects(served: Served, raw: Any) -> None:
    for number in range(25):
        await project(raw, f"p{number}")
    job_id, shown = await made(raw), []
    data = f"save:{job_id}"
    for page in range(3):
        _, body = await served.post(pressed(PAYER, data))
        found = buttons(body)
        assert body["method"] == ("editMessageText" if page else "sendMessage"), "the result itself stays"
        assert "➕ Text card" in found
        shown += [label.partition(" ")[0] for label in found if label.endswith("results")]
        data = found.get("Older »", "")
    assert shown == [f"p{number}" for number in range(24, -1, -1)]
    assert found["« Newest"] == f"save:{job_id}:p0"


@pytest.mark.parametrize("status", ["success", "failed", "timeout", "running", "cancelled"])
async def test_only_what_is_delivered_is_saved(served: Served, raw: Any, status: str) -> None:
    """Until it is, nobody knows by which id the file is seen again; afterwards the same button saves it whole."""
    number = await project(raw)
    job_id = await made(raw, outputs={"name": "card.png"}, status=status, delivered_at=None)
    late = "This result is still on its way. Press again in a moment."
    expected = late if status == "success" else "This result cannot be saved any more."
    for rest in ("", f":{number}", ":new", ":p0"):
        _, told = await served.post(pressed(PAYER, f"save:{job_id}{rest}"))
        assert (told["method"], told["text"]) == ("answerCallbackQuery", expected)
    await raw.execute("UPDATE generation_jobs SET delivered_at = now(), outputs = $1", orjson.dumps(PHOTO).decode())
    _, told = await served.post(pressed(PAYER, f"save:{job_id}:{number}"))
    assert ("Saved" in told["text"]) == (status == "success")
    assert [orjson.loads(row["outputs"]) for row in await raw.fetch(HISTORY)] == [PHOTO] * (status == "success")


async def test_the_statement_asks_for_both_owners(db: Database, raw: Any) -> None:
    his, hers = await project(raw), await project(raw, "Hers", STRANGER.user_id)
    job_id, other = await made(raw), await made(raw, STRANGER.user_id)

    async def save(job: UUID, project_id: int, user_id: int) -> str | None:
        async with db.transaction() as conn:
            return await repo.save_result(conn, job_id=job, project_id=project_id, user_id=user_id)

    assert await save(job_id, hers, PAYER.user_id) is None
    assert await save(job_id, hers, STRANGER.user_id) is None
    assert await save(other, his, PAYER.user_id) is None
    assert await save(other, his, STRANGER.user_id) is None
    assert await raw.fetch(HISTORY) == []
    assert await save(job_id, his, PAYER.user_id) == "Cats"


async def test_what_was_saved_outlives_its_job(served: Served, raw: Any) -> None:
    number, job_id = await project(raw), await made(raw)
    await served.post(pressed(PAYER, f"save:{job_id}:{number}"))
    await raw.execute("DELETE FROM generation_jobs")
    _, told = await served.post(pressed(PAYER, f"save:{job_id}"))
    assert told["text"] == "This result cannot be saved any more."
    _, shown = await served.post(
        pressed(PAYER, f"project_result:{await raw.fetchval('SELECT id FROM project_history')}")
    )
    assert shown["text"] == "Once upon a time."
