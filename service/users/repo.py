"""The users table, as functions. Takes a connection, never opens or commits anything; SQL is in sql/users.sql."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from service.errors import Invalid
from service.kernel import queries
from service.kernel.database import Connection
from service.text import Language
from service.users.user import EnsuredUser, Languages, Profile, User

SQL = queries.room("users", violations={"users_language_spoken": Invalid})

_ensure_users = SQL.many("ensure_users", EnsuredUser)
_get_users = SQL.many("get_users", User)
_get_languages = SQL.many("get_languages", Languages)
_list_users = SQL.many("list_users", User)
_list_users_by_activity = SQL.many("list_users_by_activity", User)
_find_by_substring = SQL.many("find_users_by_substring", User)
_find_by_prefix = SQL.many("find_users_by_prefix", User)
_has_trigram_index = SQL.value("has_trigram_index", bool)

Position = tuple[datetime, int]
# Nobody is newer: where the first page begins.
NEWEST: Position = (datetime.max.replace(tzinfo=UTC), 0)
Name = tuple[str, int]
FIRST: Name = ("", 0)
PAGE = 50

choose_language = SQL.one("choose_language", User)
mark_active = SQL.exec("mark_active")
note_start = SQL.exec("note_start")
list_recent_users = SQL.many("list_recent_users", User)
stand_in = SQL.exec("stand_in")
name_stand_in = SQL.exec("name_stand_in")
remove_user = SQL.exec("remove_user")
count_users = SQL.value("count_users", int)


async def ensure_users(conn: Connection, profiles: Sequence[Profile]) -> dict[int, EnsuredUser]:
    """One statement for any number of people. Somebody inserted at this very moment elsewhere may be left out."""
    columns = zip(*(_columns(profile) for profile in profiles), strict=True)
    names = ("user_ids", "usernames", "first_names", "last_names", "language_codes")
    rows = await _ensure_users(conn, **dict(zip(names, map(list, columns), strict=True)))
    return {user.user_id: user for user in rows}


async def get_languages(conn: Connection, user_ids: Iterable[int]) -> dict[int, Language]:
    """What to speak to these people, those of them who exist."""
    return {row.user_id: row.speaks for row in await _get_languages(conn, user_ids=list(user_ids))}


async def get_users(conn: Connection, user_ids: Iterable[int]) -> dict[int, User]:
    return {user.user_id: user for user in await _get_users(conn, user_ids=list(user_ids))}


async def list_users(
    conn: Connection, *, active: bool | None = None, after: Position = NEWEST, page: int = PAGE
) -> list[User]:
    """Newest first; `after` is the (created_at, user_id) of the last one on the previous page."""
    before_at, before_id = after
    if active is None:
        return await _list_users(conn, before_at=before_at, before_id=before_id, page=page)
    return await _list_users_by_activity(conn, is_active=active, before_at=before_at, before_id=before_id, page=page)


async def find_users(
    conn: Connection, *, term: str, active: bool | None = None, after: Name = FIRST, page: int = PAGE
) -> list[User]:
    """By a part of the username where the trigram index is, else by its beginning. % and _ are themselves.

    In the order of names; `after` is the (username, user_id) of the last one on the previous page.
    """
    name, user_id = after
    here = {"is_active": active, "after_name": name, "after_id": user_id, "page": page}
    if await _has_trigram_index(conn):
        literal = term.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        return await _find_by_substring(conn, pattern=f"%{literal}%", **here)
    return await _find_by_prefix(conn, prefix=term.lower(), **here)


def _columns(profile: Profile) -> tuple[object, ...]:
    return profile.user_id, profile.username, profile.first_name, profile.last_name, profile.language_code
