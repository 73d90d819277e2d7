"""The path of an update from a door to its answer.

It knows the order of things: memory, flood guard, user, claim, handler, apology, poison. It knows no handler by
name and no HTTP; webhook, polling and an operator's replay all come in here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from cachetools import LRUCache

from service import errors
from service.feature import Off
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.log import Log
from service.switchboard import Switchboard
from service.telegram import reply, texts
from service.telegram.inbox import Claims, Failures
from service.telegram.pacing import FloodGuard
from service.telegram.reply import NOTHING, Call, Reply
from service.telegram.router import Context, Route
from service.telegram.update import NUL, Sender, Undecodable, Update, decode
from service.text import Language, Text
from service.users.people import People
from service.users.user import Profile

# Updates remembered with their answers, about a kilobyte each: several minutes of a busy bot, and far longer than
# copies of one update are apart while the sender waits for an answer.
REMEMBERED_MAX = 4_096
# What fails for a reason that may be gone the next moment is tried once more within the same request.
HEALABLE = (errors.SchemaDrift, errors.UserMissing, errors.TransactionConflict, errors.ConnectionLost)
# Keeping a failure must not outlast the patience of whoever sent the update.
RECORD_TIMEOUT_S = 2.0
ERROR_LENGTH_MAX = 500

log = Log("telegram")


class Answer(NamedTuple):
    """The body of the response (a method call, or empty), and what the log says about how it came about."""

    body: bytes
    kind: str
    route: str
    result: str  # handled, repeated, ignored, flood, away, refused, parked


@dataclass(slots=True, kw_only=True)
class Dispatcher:
    """Handles updates. Raises Invalid for what is no update, Unavailable for what must be sent again.

    `bot_username` is learnt after the start; until then a command for any bot in a group counts as ours.
    """

    switchboard: Switchboard
    database: Database
    people: People
    guard: FloodGuard
    clock: Clock
    budget_s: float
    send_later: Callable[[Call], None]
    bot_username: str | None = None
    recent: LRUCache[int, asyncio.Future[Answer]] = field(default_factory=lambda: LRUCache(REMEMBERED_MAX))

    async def answer(self, body: bytes) -> Answer:
        """Handle an update, unless it is being or has just been handled: then its answer is given again."""
        try:
            update = decode(body)
        except Undecodable as error:
            return await self._park_undecodable(error, body)
        first = self.recent.get(update.update_id)
        if first is not None:
            return (await asyncio.shield(first))._replace(result="repeated")
        return await self._remembering(update, body)

    async def replay(self, body: bytes) -> Answer:
        """Handle an update again, whatever memory says; a claim that was committed still holds."""
        update = decode(body)
        self.recent.pop(update.update_id, None)
        return await self._remembering(update, body)

    async def _remembering(self, update: Update, body: bytes) -> Answer:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.recent[update.update_id] = future
        try:
            answer = await self._handle(update, body)
        except BaseException as error:
            self.recent.pop(update.update_id, None)
            future.set_exception(error if isinstance(error, Exception) else errors.Unavailable())
            future.exception()  # told to those who wait for it; with nobody waiting it is no news
            raise
        future.set_result(answer)
        return answer

    async def _handle(self, update: Update, body: bytes) -> Answer:
        self._require_essential()
        route, sender = self._match(update), update.sender
        if route is None or sender is None:
            return Answer(b"", update.kind, "", "ignored")
        if route.when_away != "retry" and not self.guard.allows(sender.id, self.clock.monotonic()):
            return Answer(_toast(update, texts.TOO_FAST).body(), update.kind, route.name, "flood")
        try:
            async with asyncio.timeout(self.budget_s):
                return Answer(await self._run_healing(update, sender), update.kind, route.name, "handled")
        except (errors.Unavailable, TimeoutError) as error:
            return await self._without_database(update, sender, route, error)
        except errors.ServiceError as error:
            if not error.permanent:
                return await self._record_failure(update, body, route, error)
            log.info("update refused", update_id=update.update_id, route=route.name, reason=error.message)
            return Answer(_say(update, texts.REFUSED).body(), update.kind, route.name, "refused")
        except Exception as error:  # a handler's fault: counted, and parked before it blocks the person
            return await self._record_failure(update, body, route, error)

    async def _run_healing(self, update: Update, sender: Sender) -> bytes:
        try:
            return await self._run(update, sender)
        except HEALABLE as error:
            if isinstance(error, errors.SchemaDrift):
                await self.switchboard.refresh()
            if isinstance(error, errors.UserMissing):
                self.people.forget(sender.id)
        return await self._run(update, sender)

    async def _run(self, update: Update, sender: Sender) -> bytes:
        """Routes are looked up anew: healing may have changed what is mounted."""
        self._require_essential()
        route = self._match(update)
        if route is None:
            return b""
        user = await self.people.ensure_user_exists(_profile(sender))
        if not user.is_active and update.my_chat_member is None:
            await self.people.mark_active(sender.id, True)  # whoever writes can be written to
        context = self._context(update, sender, user.speaks)
        if route.writes:
            return await self._run_once(route, context, update)
        return self._first(await route.handler(context, update))

    async def _run_once(self, route: Route, context: Context, update: Update) -> bytes:
        """Claim, effect and answer in one transaction: on either side of its commit a crash is harmless."""
        claims = context.of(Claims)
        async with self.database.transaction() as conn:
            if not await claims.claim(conn, update.update_id):
                return await claims.stored_reply(conn, update.update_id)
            made = await route.handler(context.in_transaction(conn), update)
            await claims.store_reply(conn, update.update_id, made.body())
        self.people.forget(context.user_id)  # the handler may have changed him
        return self._first(made)

    async def _without_database(self, update: Update, sender: Sender, route: Route, error: Exception) -> Answer:
        """What the route says is to be done: work without it, have it sent again, or say so."""
        self._require_essential()
        log.info("update met an unavailable database", update_id=update.update_id, reason=type(error).__name__)
        if route.when_away == "retry":
            raise error if isinstance(error, errors.Unavailable) else errors.DeadlineExceeded()
        if route.when_away == "run":
            made = await route.handler(self._context(update, sender, sender.language), update)
            return Answer(self._first(made), update.kind, route.name, "away")
        return Answer(_say(update, texts.UNAVAILABLE).body(), update.kind, route.name, "away")

    async def _record_failure(self, update: Update, body: bytes, route: Route, error: Exception) -> Answer:
        """Raises the error, so that the update is sent again, until it has failed often enough to be parked."""
        log.exception("update failed", error, update_id=update.update_id, route=route.name)
        failures = self.switchboard.mounted.rooms.of(Failures)
        parked = await self._record(failures, update.update_id, body, error)
        if not parked or (route.when_away == "retry" and not failures.durable):
            raise error
        return Answer(b"", update.kind, route.name, "parked")

    async def _park_undecodable(self, error: Undecodable, body: bytes) -> Answer:
        """Telegram would send it for a day and hold up that person; a try more would not make it readable."""
        log.error("update not understood", update_id=error.update_id, reason=error.message)
        failures = self.switchboard.mounted.rooms.of(Failures)
        if failures.durable and not await self._record(failures, error.update_id, body, error, park_after=1):
            raise errors.Unavailable
        return Answer(b"", "unknown", "", "parked")

    async def _record(self, failures: Failures, update_id: int, body: bytes, error: Exception, **how: int) -> bool:
        sentence = f"{type(error).__name__}: {error}"[:ERROR_LENGTH_MAX]
        try:
            async with asyncio.timeout(RECORD_TIMEOUT_S):
                return await failures.record(update_id, body, sentence, **how)
        except (errors.ServiceError, TimeoutError):
            return False

    def _match(self, update: Update) -> Route | None:
        return self.switchboard.mounted.router.match(update, self.bot_username)

    def _require_essential(self) -> None:
        essential = self.switchboard.mounted.essential
        if isinstance(essential, Off):
            raise errors.FeatureOff(essential.reason)

    def _context(self, update: Update, sender: Sender, language: Language) -> Context:
        return Context(self.switchboard.mounted.rooms, language, update.chat_id or sender.id, sender.id)

    def _first(self, made: Reply) -> bytes:
        """The first call rides on the response; the others follow on their own."""
        for call in made.calls[1:]:
            self.send_later(call)
        return made.body()


def _profile(sender: Sender) -> Profile:
    """Without the one character that PostgreSQL cannot hold."""
    names = (sender.username, sender.first_name, sender.last_name, sender.language_code)
    return Profile(sender.id, *(name.replace(NUL, "") if name else name for name in names))


def _toast(update: Update, text: Text) -> Reply:
    """A word above the chat for a pressed button; nothing for a message."""
    query = update.callback_query
    return NOTHING if query is None else reply.answer_callback(query.id, text.in_(query.sender.language))


def _say(update: Update, text: Text) -> Reply:
    sender = update.sender
    if sender is None or update.my_chat_member is not None:
        return NOTHING
    sentence = text.in_(sender.language)
    if update.pre_checkout_query is not None:
        return reply.answer_pre_checkout(update.pre_checkout_query.id, sentence)
    return _toast(update, text) if update.callback_query else reply.send(update.chat_id, sentence)
