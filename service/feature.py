"""What a feature is, and which features are on.

It knows manifests, snapshots of the schema and settings; it does no I/O, and knows no feature by name. A feature
is the unit that can be switched off: it says which relations it needs, and what is mounted while it is on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from service.kernel.database.schema import Relation, Schema
from service.kernel.log import Log
from service.text import Text

if TYPE_CHECKING:
    from aiohttp import web
    from prometheus_client import Gauge

    from service.config import Config
    from service.kernel.database import Connection
    from service.kernel.jobs import Job
    from service.telegram.router import Router

T = TypeVar("T")

log = Log("features")


class Rooms:
    """What handlers and jobs may use, by type: `rooms.of(People)`. Immutable; a change makes another one."""

    def __init__(self, instances: Mapping[type[Any], Any]) -> None:
        self._instances = dict(instances)

    def of(self, kind: type[T]) -> T:
        """Raises KeyError for a room that nobody opened: a fault of the composition, not of the caller."""
        return cast(T, self._instances[kind])

    def with_(self, instances: Mapping[type[Any], Any]) -> Rooms:
        return Rooms({**self._instances, **instances})


@dataclass(frozen=True, slots=True)
class Need:
    """The columns of a relation that a feature's queries name, and what they do to it."""

    columns: frozenset[str]
    privileges: frozenset[str]


def owns(*columns: str) -> Need:
    """The feature's own table."""
    return Need(frozenset(columns), frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"}))


def reads(*columns: str) -> Need:
    """Somebody else's table."""
    return Need(frozenset(columns), frozenset({"SELECT"}))


@dataclass(frozen=True, slots=True)
class Offer:
    """A type that others use without asking whether the feature is on: the real one, or one that does nothing."""

    kind: type[Any]
    real: Callable[[Rooms], Any]
    absent: Callable[[Rooms], Any]


@dataclass(frozen=True, slots=True)
class Menu:
    """What the bot offers to a person: the buttons under the input, and the commands with what they do.

    under_result: buttons under everything that was made for him, and the word that their data begins with; what
    follows the word is the id of the job.
    """

    buttons: tuple[Text, ...] = ()
    commands: tuple[tuple[str, Text], ...] = ()
    under_result: tuple[tuple[Text, str], ...] = ()

    @staticmethod
    def of(features: Iterable[Feature]) -> Menu:
        """Everything that the features offer, in their order, on or off: a button does not come and go."""
        menus = [feature.menu for feature in features]
        return Menu(
            tuple(button for menu in menus for button in menu.buttons),
            tuple(command for menu in menus for command in menu.commands),
            tuple(button for menu in menus for button in menu.under_result),
        )


@dataclass(frozen=True, slots=True)
class HttpRoute:
    """A route of a feature. While the feature is off it answers 503 with the reason."""

    method: str
    path: str
    handler: Callable[[web.Request, Rooms], Awaitable[web.StreamResponse]]


# The user_id of an event that is about no person.
NOBODY = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for whoever watches. It may be lost in a crash: what may not is found in rows."""

    name: str
    user_id: int
    told: Mapping[str, Any] = field(default_factory=dict)


Hear = Callable[[Rooms, Event], None]


class Hearers(dict[str, tuple[Hear, ...]]):
    """Who hears of which events: the features that are on."""


def tell(rooms: Rooms, event: Event) -> None:
    """Tell whoever hears of such events; it is quick, fails nobody, and nobody may be there."""
    for hear in rooms.of(Hearers).get(event.name, ()):
        try:
            hear(rooms, event)
        except Exception:  # whoever tells has work of his own, which must not suffer
            log.exception("an event was not heard", event=event.name)


Sample = tuple["Gauge", tuple[str, ...], float]
"""A gauge, its labels (words that the code writes), and its value."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """Figures that stand in rows, looked up when somebody asks for metrics, now and then and within a bound of time.

    Of these gauges, all that `look` does not tell is unknown; so is everything while the feature is off.
    """

    gauges: tuple[Gauge, ...]
    look: Callable[[Rooms, Connection], Awaitable[Iterable[Sample]]]


Runs = Callable[[Callable[[], Rooms]], AbstractAsyncContextManager[None]]
"""What lives as long as the process: entered when recovery is done, left before the pool is closed."""


@dataclass(frozen=True, slots=True)
class Erasing:
    """What erasing a person means for a table of the feature's. Its rows are his by user_id and by foreign keys to
    users; and where his id stands in one of the columns `mentions`, or a column refers to a row of his in another table
    (`refers`: column, table, that table's column).

    removes: his rows go. Otherwise they are kept for an id that is nobody's, with the columns of `blanks` set to these
    values, and the number in the columns `names_him` is the other one's.
    """

    removes: bool = False
    blanks: Mapping[str, str | None] = field(default_factory=dict)
    names_him: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    refers: tuple[tuple[str, str, str], ...] = ()


REMOVED = Erasing(removes=True)
KEPT = Erasing()


@dataclass(frozen=True, slots=True)
class Feature:
    """A manifest. `requires` gives the reason why the settings keep the feature off, or None."""

    name: str
    title: Text
    needs: Mapping[str, Need] = field(default_factory=dict)
    erases: Mapping[str, Erasing] = field(default_factory=dict)
    menu: Menu = Menu()
    router: Router | None = None
    routes: tuple[HttpRoute, ...] = ()
    jobs: tuple[Job[Rooms], ...] = ()
    offers: tuple[Offer, ...] = ()
    hears: Mapping[str, Hear] = field(default_factory=dict)
    gauges: tuple[Gauges, ...] = ()
    runs: tuple[Runs, ...] = ()
    requires: Callable[[Config], str | None] | None = None
    essential: bool = False


@dataclass(frozen=True, slots=True)
class On:
    """The feature works."""

    state = "on"
    reason = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Off:
    """The feature does not work, and why: in words, and as the names of what is missing.

    Where nothing is missing, it is off by choice: the settings do not ask for it.
    """

    state = "off"
    reason: str
    missing: tuple[str, ...] = ()

    @property
    def is_chosen(self) -> bool:
        return not self.missing


State = On | Off


class Board(tuple[tuple[Feature, State], ...]):
    """Every feature as it stands, for showing it to operators."""


def resolve(features: Iterable[Feature], schema: Schema | None, config: Config) -> dict[str, State]:
    """The state of each feature, by name.

    Without a schema (the database was never seen) nothing is known to be missing: features are mounted, and the
    database seam refuses on its own whatever needs the database.
    """
    return {feature.name: _state_of(feature, schema, config) for feature in features}


def relations_of(features: Iterable[Feature]) -> frozenset[str]:
    """Every relation that any feature needs."""
    return frozenset(name for feature in features for name in feature.needs)


def _state_of(feature: Feature, schema: Schema | None, config: Config) -> State:
    unset = feature.requires(config) if feature.requires else None
    if unset is not None:
        return Off(unset)
    faults = [] if schema is None else _faults(feature.needs, schema.relations)
    if not faults:
        return On()
    return Off(", ".join(reason for _, reason in faults), tuple(thing for thing, _ in faults))


def _faults(needs: Mapping[str, Need], relations: Mapping[str, Relation]) -> Sequence[tuple[str, str]]:
    """(what is missing, the sentence that says so), in the order of the manifest."""
    faults: list[tuple[str, str]] = []
    for name, need in needs.items():
        relation = relations.get(name)
        if relation is None:
            faults.append((name, f"{name} table missing"))
            continue
        columns = sorted(need.columns.difference(relation.columns))
        privileges = sorted(need.privileges.difference(relation.privileges))
        faults += [(f"{name}.{column}", f"{name}.{column} column missing") for column in columns]
        faults += [(f"{name}:{privilege}", f"no {privilege} privilege on {name}") for privilege in privileges]
    return faults
