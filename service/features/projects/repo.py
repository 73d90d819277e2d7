"""Projects in the database: sql/projects.sql with types. It takes connections and never opens a transaction.

What belongs to somebody else is answered like what does not exist.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec

from service.errors import NotFound, UserMissing
from service.kernel import queries
from service.kernel.database import Connection

SQL = queries.room(
    "projects",
    violations={
        "projects_user_known": UserMissing,
        "project_history_user_known": UserMissing,
        "project_history_project_known": NotFound,  # deleted while something was saved into it
    },
)

PROJECTS_MAX = 50  # of one person: few enough to find one by turning pages
Place = tuple[datetime, int]
# Where the first page begins: nothing is newer.
NEWEST: Place = (datetime.max.replace(tzinfo=UTC), 0)


class Project(msgspec.Struct, frozen=True):
    """A project, and how much is in it. An adopted one may have any name, even none."""

    id: int
    name: str
    results: int


class Saved(msgspec.Struct, frozen=True):
    """A line of a project's page. `prompt` is its beginning."""

    id: int
    model_id: str
    prompt: str | None
    status: str
    created_at: datetime


class Kept(msgspec.Struct, frozen=True):
    """Something in a project. `outputs` is JSON: {"text"} or {"file_id", "method"}, or what an older bot wrote."""

    id: int
    model_id: str
    prompt: str | None
    outputs: str | None


class Made(msgspec.Struct, frozen=True):
    """A result that may be saved once it is delivered."""

    model_id: str
    is_delivered: bool


# None where there is none.
Number = Callable[..., Awaitable[int | None]]
Name = Callable[..., Awaitable[str | None]]

_lock_person = SQL.value("lock_person", bool)
_create_project: Number = SQL.value("create_project", int)
_find_project: Number = SQL.value("find_project", int)
_list_results = SQL.many("list_results", Saved)

rename_project = SQL.exec("rename_project")
delete_project: Name = SQL.value("delete_project", str)
list_projects = SQL.many("list_projects", Project)
get_project = SQL.one("get_project", Project)
get_result = SQL.one("get_result", Kept)
remove_result: Name = SQL.value("remove_result", str)
get_made = SQL.one("get_made", Made)
save_result: Name = SQL.value("save_result", str)


async def create_project(conn: Connection, user_id: int, name: str) -> int | None:
    """Its number; None where the person has PROJECTS_MAX already."""
    await _lock_person(conn, user_id=user_id)
    return await _create_project(conn, user_id=user_id, name=name, most=PROJECTS_MAX)


async def ensure_project(conn: Connection, user_id: int, name: str) -> int | None:
    """The person's project of that name, begun where there is none; None where there cannot be another one."""
    await _lock_person(conn, user_id=user_id)
    found = await _find_project(conn, user_id=user_id, name=name)
    return found or await _create_project(conn, user_id=user_id, name=name, most=PROJECTS_MAX)


async def list_results(conn: Connection, project_id: int, *, after: Place = NEWEST, page: int) -> list[Saved]:
    """Newest first; `after` is the (created_at, id) of the last one on the previous page."""
    return await _list_results(conn, project_id=project_id, before_at=after[0], before_id=after[1], page=page)
