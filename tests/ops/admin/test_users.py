"""Finding people and seeing one."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from tests.serving import Served, serving

PEOPLE = """
    INSERT INTO users (user_id, username, first_name, is_active, created_at)
    SELECT n, format('person_%s', n), '<b>', n % 3 <> 0, timestamptz '2026-01-01' + (n / 2) * interval '1 minute'
    FROM generate_series(1, 23) AS n
"""


@pytest.fixture
async def people(raw: asyncpg.Connection) -> None:
    await raw.execute(PEOPLE)


async def walk(served: Served, query: str) -> list[int]:
    """The ids of all pages, one after the other."""
    ids: list[int] = []
    after = ""
    while True:
        status, body = await served.get(f"/admin/users?{query}{after}", admin=True)
        assert status == 200
        ids += [item["user_id"] for item in body["items"]]
        if body["next"] is None:
            return ids
        after = f"&after={quote(body['next'])}"


@pytest.mark.usefixtures("people")
async def test_pages_go_from_the_newest_to_the_oldest(served: Served) -> None:
    everybody = list(range(23, 0, -1))
    assert await walk(served, "limit=4") == everybody
    assert await walk(served, "limit=23") == everybody
    assert await walk(served, "limit=5&active=true") == [n for n in everybody if n % 3]
    assert await walk(served, "limit=5&active=false") == [n for n in everybody if not n % 3]


@pytest.mark.usefixtures("people")
async def test_somebody_new_moves_no_page(served: Served, raw: asyncpg.Connection) -> None:
    _, first = await served.get("/admin/users?limit=10", admin=True)
    await raw.execute("INSERT INTO users (user_id) VALUES (100)")
    _, second = await served.get(f"/admin/users?limit=10&after={first['next']}", admin=True)
    assert [item["user_id"] for item in second["items"]] == list(range(13, 3, -1))


@pytest.mark.usefixtures("people")
async def test_search_by_username(served: Served) -> None:
    assert await walk(served, "query=PERSON_1&limit=3") == [1, *range(10, 20)]
    assert await walk(served, "query=@person_1&active=false&limit=2") == [12, 15, 18]
    assert await walk(served, "query=%25") == []
    assert await walk(served, "query=person%251") == []


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    "query",
    ["after=junk", "limit=0", "limit=501", "limit=x", "active=maybe", "query=a&after=bm8", "query=%00", "after=%ff"],
)
async def test_junk_is_refused(served: Served, query: str) -> None:
    status, body = await served.get(f"/admin/users?{query}", admin=True)
    assert (status, body["error"]["code"]) == (400, "invalid")


@pytest.mark.usefixtures("people")
async def test_one_list_does_not_take_the_other_ones_cursor(served: Served) -> None:
    _, newest = await served.get("/admin/users?limit=2", admin=True)
    _, found = await served.get("/admin/users?limit=2&query=person", admin=True)
    assert (await served.get(f"/admin/users?query=person&after={newest['next']}", admin=True))[0] == 400
    assert (await served.get(f"/admin/users?after={found['next']}", admin=True))[0] == 400


@pytest.mark.usefixtures("people")
async def test_one_person(served: Served) -> None:
    status, body = await served.get("/admin/users/7", admin=True)
    assert (status, body["user_id"], body["username"]) == (200, 7, "person_7")
    assert body["created_at"] == "2026-01-01T00:03:00Z"
    for path, expected in (("/admin/users/24", 404), ("/admin/users/abc", 404), (f"/admin/users/{10**19 - 1}", 400)):
        assert (await served.get(path, admin=True))[0] == expected


async def test_reads_are_bounded_in_time(database_url: str, raw: asyncpg.Connection) -> None:
    async with serving(database_url, DOOR_TIMEOUT="0.3") as served, raw.transaction():
        await raw.execute("LOCK TABLE users")
        body: Any
        status, body = await served.get("/admin/users", admin=True)
        assert (status, body["error"]["code"]) == (503, "deadline_exceeded")
