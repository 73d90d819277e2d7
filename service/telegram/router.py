"""Which handler an update belongs to. Pure.

It knows updates, routes and what a route may do; it knows no handler by name. A router is a value: rooms make
one each, and the switchboard merges those of the features that are on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import msgspec

from service.errors import FeatureOff
from service.feature import Rooms
from service.kernel.database import Connection
from service.telegram.reply import Reply
from service.telegram.update import Kind, Update
from service.text import Counted, Language, Text, storable

T = TypeVar("T")

WhenAway = Literal["run", "apologise", "retry"]
"""What a route does while the database is away: works without it, says so, or has Telegram keep the update."""


class Context(msgspec.Struct, frozen=True):
    """What a handler gets beside the update.

    `conn` carries the open transaction of a route that writes, and is None otherwise. `language` is what the
    person chose, or what Telegram says. What is put into `afterwards` is called once the answer stands: when the
    transaction is committed, where there is one.
    """

    rooms: Rooms
    language: Language
    chat_id: int
    user_id: int
    conn: Connection | None = None
    afterwards: list[Callable[[], object]] = msgspec.field(default_factory=list)

    def of(self, kind: type[T]) -> T:
        return self.rooms.of(kind)

    def say(self, text: Text, **values: object) -> str:
        return text.in_(self.language, **values)

    def count(self, text: Counted, n: int, **values: object) -> str:
        return text.in_(self.language, n, **values)

    def in_transaction(self, conn: Connection) -> Context:
        return msgspec.structs.replace(self, conn=conn)

    @property
    def transaction(self) -> Connection:
        """The transaction of a writing route."""
        assert self.conn is not None, "the route is not declared to write"
        return self.conn


Handler = Callable[[Context, Update], Awaitable[Reply]]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Route:
    """A handler and how it is run. A route that changes anything `writes`: it gets a transaction, once.

    One for operators does not exist for anybody else.
    """

    name: str
    handler: Handler
    writes: bool = False
    when_away: WhenAway = "apologise"
    for_operators: bool = False


async def _feature_off(_ctx: Context, _update: Update) -> Reply:
    raise FeatureOff


@dataclass(frozen=True, slots=True)
class Router:
    """Routes by what they match. Declared with the decorators, merged by the switchboard, asked by the doors."""

    routes: dict[Key, Route] = field(default_factory=dict)

    def command(self, name: str, **how: Any) -> Callable[[Handler], Handler]:
        """`/name`, alone or followed by a payload."""
        return self._add(("command", name), f"/{name}", how)

    def button(self, text: Text, **how: Any) -> Callable[[Handler], Handler]:
        """A message that is exactly this text, in any language: a button of the reply keyboard."""

        def add(handler: Handler) -> Handler:
            for variant in text.variants():
                self._add(("text", variant), text.en, how)(handler)
            return handler

        return add

    def callback(self, prefix: str, **how: Any) -> Callable[[Handler], Handler]:
        """An inline button whose data is `prefix` or begins with `prefix:`."""
        return self._add(("callback", prefix), f"callback {prefix}", how)

    def kind(self, kind: Kind, **how: Any) -> Callable[[Handler], Handler]:
        """Whatever of this kind has no route of its own."""
        return self._add(("kind", kind), kind, how)

    def match(self, update: Update, bot_username: str | None = None, operators: Collection[int] = ()) -> Route | None:
        """The route for an update: by command, text or callback data, else by kind."""
        key = _key_of(update, bot_username)
        route = self.routes.get(key) if key else None
        if route is None or (route.for_operators and (update.sender is None or update.sender.id not in operators)):
            return self.routes.get(("kind", update.kind))
        return route

    def switched_off(self) -> Router:
        """The same matches, all of which apologise."""
        off = {
            key: replace(route, handler=_feature_off, writes=False, when_away=_less_than_run(route.when_away))
            for key, route in self.routes.items()
        }
        return Router(off)

    @staticmethod
    def merge(routers: Iterable[Router]) -> Router:
        """All routes together. Raises ValueError when two claim the same match."""
        merged: dict[Key, Route] = {}
        for router in routers:
            if taken := merged.keys() & router.routes.keys():
                raise ValueError(f"two routes match {sorted(taken)}")
            merged.update(router.routes)
        return Router(merged)

    def _add(self, key: Key, name: str, how: Mapping[str, Any]) -> Callable[[Handler], Handler]:
        def add(handler: Handler) -> Handler:
            if key in self.routes:
                raise ValueError(f"two routes match {key}")
            self.routes[key] = Route(name, handler, **how)
            return handler

        return add


def _less_than_run(when_away: WhenAway) -> WhenAway:
    return "apologise" if when_away == "run" else when_away


def _key_of(update: Update, bot_username: str | None) -> Key | None:
    if update.callback_query is not None:
        return ("callback", update.data.partition(":")[0])
    text = update.command_line
    if not text.startswith("/"):
        return ("text", text) if text else None
    command, _, addressee = text.split(maxsplit=1)[0][1:].partition("@")
    if addressee and bot_username and addressee.lower() != bot_username.lower():
        return None
    return ("command", command.lower())


def payload_of(update: Update) -> str:
    """What follows a command: `ref_42` of `/start ref_42`; empty without one. Every table takes it."""
    return storable("".join(update.command_line.split(maxsplit=1)[1:])).strip()
