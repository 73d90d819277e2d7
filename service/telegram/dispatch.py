"""The path of an update from a door to its answer.

It knows the order of things: memory, flood guard, user, claim, handler, apology, poison. It knows no handler by
name and no HTTP; webhook, polling and an operator's replay all come in here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from typing import NamedTuple

from prometheus_client import Counter

from service import errors
from service.feature import NOBODY, Event, Off, tell
from service.kernel import metrics
from service.kernel.budget import Budget
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.log import Log
from service.kernel.once import Once
from service.switchboard import Switchboard
from service.telegram import reply, texts
from service.telegram.inbox import Claims, Failures
from service.telegram.pacing import FloodGuard
from service.telegram.reply import NOTHING, Call, Reply
from service.telegram.router import Context, Route
from service.telegram.update import Sender, Undecodable, Update, decode
from service.text import Language, storable
from service.users.people import People
from service.users.user import Profile

# Updates remembered with their answers, about a kilobyte each: several minutes of a busy bot, and far longer than
# copies of one update are apart while the sender waits for an answer.
REMEMBERED_MAX = 4_096
# What fails for a reason that may be gone the next moment is tried once more within the same request.
HEALABLE = (errors.SchemaDrift, errors.UserMissing, errors.TransactionConflict, errors.ConnectionLost)
# A rival that waits for our rows must wake before we take them again, or it collides with us once more.
AFTER_CONFLICT_S = 0.05
# What people send as fast as they tap. Money, checkouts and blocks are never dropped.
CHATTER = frozenset({"message", "group_message", "callback_query"})
# Answers that did nothing. When the update comes again all the same, they did not arrive: it gets another chance.
FORGOTTEN = frozenset({"flood", "apology"})
# With the budget spent, keeping a failure or a last answer must not outlast the patience of the sender.
LAST_WORD_S = 2.0
ERROR_LENGTH_MAX = 500

log = Log("telegram")


class Answer(NamedTuple):
    """The body of the response (a method call, or empty), and what the log says about how it came about.

    result: handled, away (handled without the database), apology, repeated, ignored, flood, refused or parked.
    """

    body: bytes
    kind: str
    route: str
    result: str

    def log_fields(self) -> dict[str, object]:
        return {"kind": self.kind, "route": self.route, "result": self.result}


# What was raised instead of an answer is measured as this.
FAILED = Answer(b"", "unknown", "", "failed")


@dataclass(slots=True, kw_only=True)
class Dispatcher:
    """Handles updates. Raises Invalid for what is no update, any other ServiceError for what must be sent again.

    `bot_username` is learnt after the start; until then a command for any bot in a group counts as ours.
    """

    switchboard: Switchboard
    database: Database
    people: People
    guard: FloodGuard
    clock: Clock
    budget: Budget
    send_later: Callable[[Call], None]
    operators: frozenset[int] = frozenset()
    bot_username: str | None = None
    recent: Once[int, Answer] = field(default_factory=lambda: Once(REMEMBERED_MAX, worth_it=_worth_repeating))

    async def answer(self, body: bytes) -> Answer:
        """Handle an update, unless it is being or has just been handled: then its answer is given again."""
        answer = FAILED
        try:
            update = decode(body)
            answer, repeated = await self.recent.answer(update.update_id, partial(self._handle, update, body))
            if repeated:
                answer = answer._replace(result="repeated")
        except Undecodable as error:  # a try more would not make it readable
            self._require_essential()
            answer = await self._park(error.update_id, body, error, money=error.may_be_money)
        finally:
            _counter(answer.kind, answer.result).inc()
        return answer

    async def replay(self, body: bytes) -> Answer:
        """Handle an update again, whatever memory says; a claim that was committed still holds.

        Raises Unavailable when there would be nothing but an apology. "parked": it failed again.
        """
        update = decode(body)
        self.recent.forget(update.update_id)
        answer, _ = await self.recent.answer(update.update_id, partial(self._handle, update, body))
        if answer.result in FORGOTTEN:
            raise errors.Unavailable
        return answer

    async def _handle(self, update: Update, body: bytes) -> Answer:
        self._require_essential()
        route, sender, kind = self._match(update), update.sender, update.kind
        if route is None or sender is None:
            if kind == "money":
                return await self._park(update.update_id, body, errors.Invalid("Money of nobody."), money=True)
            return Answer(b"", kind, "", "ignored")
        if kind in CHATTER and not self.guard.allows(sender.id, self.clock.monotonic()):
            toast = _toast(update, texts.TOO_FAST.in_(self._language(sender)))
            return Answer(toast.body(), kind, route.name, "flood")
        try:
            answer = await self.budget.spend(self._run_healing(update, sender, route))
            return Answer(answer, kind, route.name, "handled")
        except Exception as error:  # whoever is to blame: the database, the handler, or what the person asked for
            return await self._instead(update, sender, body, error)

    async def _instead(self, update: Update, sender: Sender, body: bytes, error: Exception) -> Answer:
        """What is answered where the handler could not. Raises what makes Telegram send the update again."""
        try:
            if isinstance(error, errors.Unavailable):
                return await self._without_database(update, sender, error)
        except errors.Unavailable:
            raise
        except Exception as failure:  # of the handler, this time without the database
            error = failure
        return await self._failed(update, sender, body, error)

    async def _run_healing(self, update: Update, sender: Sender, route: Route) -> bytes:
        try:
            return await self._run(update, sender, route)
        except HEALABLE as error:
            if isinstance(error, errors.SchemaDrift):
                await self.switchboard.refresh()
            if isinstance(error, errors.UserMissing):
                self.people.forget(sender.id)
            if isinstance(error, errors.TransactionConflict):
                await asyncio.sleep(AFTER_CONFLICT_S)
        self._require_essential()
        return await self._run(update, sender, self._route(update))

    async def _run(self, update: Update, sender: Sender, route: Route) -> bytes:
        user = self.people.known(sender.id)
        if user is None or not user.agrees_with(sender):
            user = await self.people.ensure_user_exists(_profile(sender))
        if not user.is_active and update.in_private:
            await self.people.mark_active(sender.id, True)  # whoever writes can be written to
        context = self._context(update, sender, user.speaks)
        if route.writes:
            return await self._run_once(route, context, update)
        return self._finish(context, await route.handler(context, update))

    async def _run_once(self, route: Route, context: Context, update: Update) -> bytes:
        """Claim, effect and answer in one transaction: on either side of its commit a crash is harmless."""
        claims = context.of(Claims)
        async with self.database.transaction() as conn:
            if not await claims.claim(conn, update.update_id):
                return await claims.stored_reply(conn, update.update_id)
            made = await route.handler(context.in_transaction(conn), update)
            await claims.store_reply(conn, update.update_id, made.body())
        self.people.forget(context.user_id)  # the handler may have changed him
        return self._finish(context, made)

    async def _without_database(self, update: Update, sender: Sender, error: errors.Unavailable) -> Answer:
        """What the route says is to be done: work without it, have the update sent again, or say so."""
        self._require_essential()
        log.info("update met an unavailable database", update_id=update.update_id, reason=error.code)
        route, language = self._route(update), self._language(sender)
        if route.when_away == "retry":
            raise error
        if route.when_away == "run":
            with suppress(errors.Unavailable, TimeoutError):
                context = self._context(update, sender, language)
                async with asyncio.timeout(LAST_WORD_S):
                    made = await route.handler(context, update)
                return Answer(self._finish(context, made), update.kind, route.name, "away")
        sorry = _say(update, texts.UNAVAILABLE.in_(language))
        return Answer(sorry.body(), update.kind, route.name, "apology")

    async def _failed(self, update: Update, sender: Sender, body: bytes, error: Exception) -> Answer:
        """Raises ServiceError, so that the update is sent again, until it has failed often enough to be parked."""
        route, money = self._route(update), update.kind == "money"
        if isinstance(error, errors.ServiceError) and error.permanent and not money:
            log.info("update refused", update_id=update.update_id, route=route.name, reason=error.message)
            refusal = _say(update, texts.REFUSED.in_(self._language(sender)))
            return Answer(refusal.body(), update.kind, route.name, "refused")
        log.exception("update failed", error, update_id=update.update_id, route=route.name)
        failures = self._failures()
        if await self._record(failures, update.update_id, body, error) and (failures.durable or not money):
            self._tell_parked(update.update_id, update.kind, error, sender.id)
            return Answer(b"", update.kind, route.name, "parked")
        raise errors.ServiceError from error

    async def _park(self, update_id: int, body: bytes, error: errors.ServiceError, *, money: bool) -> Answer:
        """Set aside at once what no try can handle. Raises Unavailable for money that cannot be kept."""
        log.error("update not understood", update_id=update_id, reason=error.message)
        failures = self._failures()
        if money and not failures.durable:
            raise errors.Unavailable
        await self._record(failures, update_id, body, error, park_after=1)
        self._tell_parked(update_id, "unknown", error)
        return Answer(b"", "unknown", "", "parked")

    async def _record(self, failures: Failures, update_id: int, body: bytes, error: Exception, **how: int) -> bool:
        """Whether the update is parked now. Raises Unavailable when the failure can be neither kept nor counted."""
        sentence = storable(f"{type(error).__name__}: {error}")[:ERROR_LENGTH_MAX]
        try:
            async with asyncio.timeout(LAST_WORD_S):
                return await failures.record(update_id, body, sentence, **how)
        except TimeoutError:
            raise errors.DeadlineExceeded from error
        except errors.SchemaDrift:
            await self.switchboard.refresh()  # the next try is counted in memory
            raise

    def _tell_parked(self, update_id: int, kind: str, error: Exception, user_id: int = NOBODY) -> None:
        told = {"update_id": update_id, "kind": kind, "error": type(error).__name__}
        tell(self.switchboard.mounted.rooms, Event("update_parked", user_id, told))

    def _failures(self) -> Failures:
        return self.switchboard.mounted.rooms.of(Failures)

    def _match(self, update: Update) -> Route | None:
        return self.switchboard.mounted.router.match(update, self.bot_username, self.operators)

    def _route(self, update: Update) -> Route:
        """Looked up anew at each step: healing may have changed what is mounted, though never what is matched."""
        route = self._match(update)
        assert route is not None, "an update without a route is not handled"
        return route

    def _require_essential(self) -> None:
        essential = self.switchboard.mounted.essential
        if isinstance(essential, Off):
            raise errors.FeatureOff(essential.reason)

    def _context(self, update: Update, sender: Sender, language: Language) -> Context:
        return Context(self.switchboard.mounted.rooms, language, update.chat_id or sender.id, sender.id)

    def _language(self, sender: Sender) -> Language:
        """What he chose, as far as that is remembered: not worth a statement."""
        known = self.people.known(sender.id)
        return known.speaks if known else sender.language

    def _finish(self, context: Context, made: Reply) -> bytes:
        """Afterwards is now. The first call rides on the response, the others follow on their own."""
        for act in context.afterwards:
            act()
        for call in made.calls[1:]:
            self.send_later(call)
        return made.body()


@cache
def _counter(kind: str, result: str) -> Counter:
    """Bound once for each of the few words there are: looking a counter up costs more than counting."""
    return metrics.UPDATES.labels(kind, result)


def _worth_repeating(answer: Answer) -> bool:
    return answer.result not in FORGOTTEN


def _profile(sender: Sender) -> Profile:
    names = (sender.username, sender.first_name, sender.last_name, sender.language_code)
    return Profile(sender.id, *(name and storable(name) for name in names))


def _toast(update: Update, sentence: str) -> Reply:
    """A word above the chat for a pressed button; nothing for a message."""
    query = update.callback_query
    return NOTHING if query is None else reply.answer_callback(query.id, sentence)


def _say(update: Update, sentence: str) -> Reply:
    if update.pre_checkout_query is not None:
        return reply.answer_pre_checkout(update.pre_checkout_query.id, sentence)
    if update.my_chat_member is not None:
        return NOTHING
    return _toast(update, sentence) if update.callback_query else reply.send(update.chat_id, sentence)
