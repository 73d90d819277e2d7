"""Names: asked for by a question that needs no memory, refused with the reason, and never too many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.features.projects import repo
from service.kernel.database import Database
from tests.cast import FRIEND, PAYER, STRANGER
from tests.features.projects.shelf import buttons, project, reply_to
from tests.serving import Served, message, pressed

NAMES = "SELECT name FROM projects WHERE user_id = $1 ORDER BY id"


async def names(raw: Any, user_id: int = PAYER.user_id) -> list[str]:
    return [name for (name,) in await raw.fetch(NAMES, user_id)]


async def test_the_reply_to_the_question_is_the_name(served: Served, raw: Any) -> None:
    _, asked = await served.post(pressed(PAYER, "project_new"))
    assert asked["text"].endswith("\n/newproject")
    assert asked["reply_markup"] == {"force_reply": True, "input_field_placeholder": "Name of the project"}
    update = reply_to(asked, PAYER, "  Cats 🐈 ")
    _, shown = await served.post(update)
    assert shown["text"].startswith("💼 Cats 🐈 · 0 results\n\nNothing is in here yet")
    assert (await served.post(update))[1] == shown
    assert await names(raw) == ["Cats 🐈"]
    owner, created, updated = await raw.fetchrow("SELECT user_id, created_at, updated_at FROM projects")
    assert (owner, created) == (PAYER.user_id, updated)


async def test_a_command_alone_asks(served: Served, raw: Any) -> None:
    assert (await served.says(FRIEND, "/newproject"))["text"].startswith("Как назвать проект?")
    assert (await served.says(FRIEND, "/newproject Коты"))["text"].startswith("💼 Коты · 0 результатов")
    assert await names(raw, FRIEND.user_id) == ["Коты"]


@pytest.mark.parametrize("name", ["x", "x" * 64, "👩‍👩‍👧‍👦 & <b>{n}</b> %s", "'; DROP TABLE projects; --"])
async def test_a_name_may_be(served: Served, raw: Any, name: str) -> None:
    _, asked = await served.post(pressed(PAYER, "project_new"))
    await served.post(reply_to(asked, PAYER, name))
    assert await names(raw) == [name]
    number = await raw.fetchval("SELECT id FROM projects")
    for data in (f"project:{number}", f"project_name:{number}", f"project_delete:{number}"):
        assert name in (await served.post(pressed(PAYER, data)))[1]["text"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x" * 65, "A name has at most 64 characters, this one has 65."),
        ("two\nlines", "A name is one line of plain characters."),
        ("a\x01b", "A name is one line of plain characters."),
        ("a\x1b[31mb", "A name is one line of plain characters."),
        ("a\u2028b", "A name is one line of plain characters."),
    ],
)
async def test_a_name_may_not_be(served: Served, raw: Any, name: str, why: str) -> None:
    """And the question is there again, to be replied to."""
    number = await project(raw)
    for data in ("project_new", f"project_name:{number}"):
        _, asked = await served.post(pressed(PAYER, data))
        _, told = await served.post(reply_to(asked, PAYER, name))
        assert told["text"].startswith(why)
        assert told["text"].rpartition("\n")[2] == asked["text"].rpartition("\n")[2]
        assert told["reply_markup"]["force_reply"]
    assert await names(raw) == ["Cats"]


async def test_another_name(served: Served, raw: Any) -> None:
    number = await project(raw)
    await project(raw, "Dogs")
    _, asked = await served.post(pressed(PAYER, f"project_name:{number}"))
    assert asked["text"].startswith("What is “Cats” to be called")
    assert asked["text"].endswith(f"\n/renameproject {number}")
    _, shown = await served.post(reply_to(asked, PAYER, "Lions"))
    assert shown["text"].startswith("💼 Lions · 0 results")
    assert await names(raw) == ["Lions", "Dogs"]
    created, updated = await raw.fetchrow("SELECT created_at, updated_at FROM projects WHERE id = $1", number)
    assert created < updated
    assert list(buttons(await served.says(PAYER, "/projects")))[:2] == ["Lions · 0 results", "Dogs · 0 results"]


@pytest.mark.parametrize(
    "line", ["/renameproject", "/renameproject Lions", "/renameproject 1x Lions", "/renameproject -1 x"]
)
async def test_which_one_must_be_said(served: Served, line: str) -> None:
    assert (await served.says(PAYER, line))["text"] == "There is no such project."


async def test_there_are_no_more_than_fifty(served: Served, raw: Any) -> None:
    for number in range(repo.PROJECTS_MAX):
        await project(raw, f"p{number}")
    await project(raw, "not his", STRANGER.user_id)
    told = await served.says(PAYER, "/newproject one more")
    assert told["text"] == "You have 50 projects, and there can be no more. Delete one first: /projects"
    await raw.execute("DELETE FROM projects WHERE name = 'p7'")
    assert (await served.says(PAYER, "/newproject one more"))["text"].startswith("💼 one more")
    assert len(await names(raw)) == repo.PROJECTS_MAX


async def test_nor_when_many_are_begun_at_once(db: Database, raw: Any) -> None:
    for number in range(repo.PROJECTS_MAX - 5):
        await project(raw, f"p{number}")

    async def begin(number: int) -> int | None:
        async with db.transaction() as conn:
            return await repo.create_project(conn, PAYER.user_id, f"new{number}")

    numbers = await asyncio.gather(*(begin(number) for number in range(15)))
    assert len([number for number in numbers if number is not None]) == 5
    assert len(await names(raw)) == repo.PROJECTS_MAX


async def test_a_person_who_was_deleted_by_hand_begins_anew(served: Served, raw: Any) -> None:
    await served.says(PAYER, "/start")
    await raw.execute("DELETE FROM users")
    status, shown = await served.post(message(PAYER, "/newproject Cats"))
    assert (status, shown["text"][:6]) == (200, "💼 Cats")
