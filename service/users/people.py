"""Who somebody is, made sure of before anything refers to him.

It knows the cache in front of the users table and when an entry is stale; it knows no Telegram. Everything that
leads to a row with a user_id comes through `ensure_user_exists` first.
"""

from __future__ import annotations

from collections.abc import Sequence

from cachetools import TTLCache
from msgspec.structs import replace

from service.errors import NotFound, TransactionConflict
from service.kernel.clock import Clock
from service.kernel.coalesce import Coalesced
from service.kernel.database import Connection, Database
from service.kernel.log import Log
from service.text import Language
from service.users import repo
from service.users.user import EnsuredUser, Profile, User

# NOTIFY from the table's trigger: comma-separated user ids, or * when too many changed at once.
CHANGED = "users_changed"

# About 30 MB at a kilobyte each; more people than talk to a bot within the cache's time.
CACHE_MAX = 30_000

log = Log("users")


class People:
    """Ensures, reads and forgets users. Calls under way at the same moment share a statement."""

    def __init__(self, database: Database, clock: Clock, *, cache_ttl_s: float) -> None:
        self._database = database
        self._known: TTLCache[int, EnsuredUser] = TTLCache(CACHE_MAX, cache_ttl_s, timer=clock.monotonic)
        self._changes = 0
        deadline_s = database.settings.door_timeout
        self._ensure: Coalesced[Profile, EnsuredUser] = Coalesced(self._ensure_many, deadline_s=deadline_s)
        self._language: Coalesced[int, Language] = Coalesced(self._languages_of, deadline_s=deadline_s)
        database.listen(CHANGED, self._changed)

    async def ensure_user_exists(self, profile: Profile) -> EnsuredUser:
        """The person's row, made or brought up to date when it must be; `created` says that it was made just now.

        No statement for somebody who is known and unchanged. Raises Unavailable.
        """
        known = self.known(profile.user_id)
        if known is not None and known.agrees_with(profile):
            return known
        changes = self._changes
        ensured = await self._ensure(profile) or await self._ensure(profile)
        if ensured is None:  # deleted and inserted again around both statements
            raise TransactionConflict
        if changes == self._changes:  # else what was read may be older than what a notification told
            self._known[ensured.user_id] = replace(ensured, created=False)
        self._log(ensured, known)
        return ensured

    async def ensure_on(self, conn: Connection, profile: Profile) -> None:
        """The same on the caller's transaction, for a row that is about to refer to him; nothing is remembered."""
        if self.known(profile.user_id) is None:
            await repo.ensure_users(conn, [profile])

    def known(self, user_id: int) -> EnsuredUser | None:
        """What is remembered of him, without asking the database."""
        try:
            return self._known[user_id]  # a third of what get() costs, for every update
        except KeyError:
            return None

    async def get(self, user_id: int) -> User:
        """The row as it is now, past the cache. Raises NotFound, Unavailable."""
        async with self._database.acquire() as conn:
            users = await repo.get_users(conn, [user_id])
        if user_id not in users:
            raise NotFound("There is no such user.")
        return users[user_id]

    async def language_of(self, user_id: int) -> Language:
        """What to speak to him as of now, past the cache. Raises NotFound, Unavailable."""
        language = await self._language(user_id)
        if language is None:
            raise NotFound("There is no such user.")
        return language

    async def mark_active(self, user_id: int, is_active: bool) -> None:
        """Note whether the bot can write to him. Raises Unavailable."""
        async with self._database.acquire() as conn:
            await repo.mark_active(conn, user_id=user_id, is_active=is_active)
        self.forget(user_id)

    def forget(self, user_id: int) -> None:
        """What is cached or being read of him is wrong; the next one who asks reads the table."""
        self._changes += 1
        self._known.pop(user_id, None)

    def _log(self, ensured: EnsuredUser, known: User | None) -> None:
        if ensured.created:
            log.info("user created", user_id=ensured.user_id)
        elif known is not None:
            log.info("user updated", user_id=ensured.user_id)

    def _changed(self, payload: str | None) -> None:
        """A notification; None after a reconnect, when some may have been missed."""
        try:
            changed = [int(user_id) for user_id in (payload or "").split(",")]
        except ValueError:  # anything but ids means everybody
            self._changes += 1
            self._known.clear()
            return
        for user_id in changed:
            self.forget(user_id)

    async def _ensure_many(self, profiles: Sequence[Profile]) -> dict[Profile, EnsuredUser]:
        async with self._database.acquire() as conn:
            users = await repo.ensure_users(conn, profiles)
        return {profile: users[profile.user_id] for profile in profiles if profile.user_id in users}

    async def _languages_of(self, user_ids: Sequence[int]) -> dict[int, Language]:
        async with self._database.acquire() as conn:
            return await repo.get_languages(conn, user_ids)
