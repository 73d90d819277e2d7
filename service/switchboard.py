"""Which features are mounted at this moment.

It knows the features' states and puts together what the doors use; it knows nothing of what a feature does. It
probes at start, on every reconnect, every PROBE_INTERVAL, at once when a query met a missing table, and on an
operator's word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from service.config import Config
from service.errors import Unavailable
from service.feature import Board, Feature, Hearers, Off, On, Rooms, State, relations_of, resolve
from service.kernel import metrics
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.database.schema import probe
from service.kernel.jobs import Job
from service.kernel.log import Log
from service.telegram.router import Router

T = TypeVar("T")

log = Log("features")


@dataclass(frozen=True, slots=True)
class Mounted:
    """What the doors see: the routes of the bot, and the rooms behind them. Replaced whole at each change."""

    router: Router
    rooms: Rooms
    essential: State


Listener = Callable[[str, State], None]


class Switchboard:
    """Features that heal without a restart."""

    def __init__(
        self, features: Sequence[Feature], database: Database, config: Config, clock: Clock, rooms: Rooms
    ) -> None:
        self.features = features
        self._database = database
        self._config = config
        self._clock = clock
        self._rooms = rooms
        self._offered = [
            (feature.name, offer.kind, offer.real(rooms), offer.absent(rooms))
            for feature in features
            for offer in feature.offers
        ]
        self._upcoming: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._due = asyncio.Event()
        self._listeners: list[Listener] = []
        self.probed_at: datetime | None = None
        self.states: Mapping[str, State] = resolve(features, None, config)
        self.mounted = self._mount()
        for name, state in self.states.items():
            _count(name, state)
        database.when_up(self._due.set)

    def on_change(self, listener: Listener) -> None:
        """Be told each feature whose state changed, after the change is mounted."""
        self._listeners.append(listener)

    def replace(self, kind: type[T], room: T) -> None:
        """Let everybody who comes from now on find another room of this kind."""
        self._rooms = self._rooms.with_({kind: room})
        self.mounted = self._mount()

    def is_on(self, name: str) -> bool:
        return self.states[name].state == "on"

    def may_run(self, job: Job[Rooms]) -> bool:
        """Jobs of a feature rest while it is off."""
        return all(self.is_on(feature.name) for feature in self.features if job in feature.jobs)

    async def refresh(self) -> None:
        """Probe: what is so at the call is seen. Callers share the next probe; one that has begun may be too early.

        While the database is away the states stay.
        """
        if self._upcoming is None:
            self._upcoming = asyncio.create_task(self._look_in_turn())
        await asyncio.wait([self._upcoming])  # a caller who leaves does not end it for the others

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._config.probe_interval):
                    await self._due.wait()
            self._due.clear()
            await self.refresh()

    async def _look_in_turn(self) -> None:
        async with self._turn:
            self._upcoming = None
            await self._look()

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(self._config.door_timeout), self._database.acquire() as conn:
                schema = await probe(conn, relations_of(self.features))
        except (Unavailable, TimeoutError):
            return
        except Exception:  # a probe that raised would end the probing; the next one tries again
            log.exception("probe failed")
            return
        self.probed_at = self._clock.now()
        self._switch(resolve(self.features, schema, self._config))

    def _switch(self, states: Mapping[str, State]) -> None:
        before, self.states = self.states, states
        if states == before:
            return
        self.mounted = self._mount()
        for name, state in states.items():
            if state != before[name]:
                self._tell(name, state)

    def _tell(self, name: str, state: State) -> None:
        _count(name, state)
        if isinstance(state, Off):
            log.warning(state.reason, feature=name, state="off")
        else:
            log.info("feature on", feature=name, state="on")
        for listener in self._listeners:
            try:
                listener(name, state)
            except Exception:  # what is mounted is told to the others all the same
                log.exception("listener failed", feature=name)

    def _mount(self) -> Mounted:
        routers = [
            feature.router if self.is_on(feature.name) else feature.router.switched_off()
            for feature in self.features
            if feature.router is not None
        ]
        offered = {kind: real if self.is_on(name) else absent for name, kind, real, absent in self._offered}
        board = Board((feature, self.states[feature.name]) for feature in self.features)
        down = next((state for feature, state in board if feature.essential and isinstance(state, Off)), None)
        rooms = self._rooms.with_({**offered, Board: board, Hearers: self._hearers()})
        return Mounted(Router.merge(routers), rooms, down or On())

    def _hearers(self) -> Hearers:
        heard = [(name, hear) for one in self.features if self.is_on(one.name) for name, hear in one.hears.items()]
        return Hearers({name: tuple(hear for of, hear in heard if of == name) for name, _ in heard})


def _count(name: str, state: State) -> None:
    metrics.FEATURE_ENABLED.labels(name).set(state.state == "on")
