"""Who needs whom: the rooms, made and handed to each other, and not yet started.

It decides nothing and starts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from service import backup, catalog
from service.catalog import Catalog
from service.config import Config
from service.errors import Unavailable
from service.feature import NOBODY, Event, Feature, Menu, On, Rooms, State, tell
from service.features.generation import providers
from service.kernel.budget import Budget
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import Counts, JobLoop
from service.ops.lifecycle import Lifecycle
from service.ops.operations import Operations
from service.switchboard import Switchboard
from service.telegram.client import BotApi
from service.telegram.client.courier import Courier
from service.telegram.dispatch import Dispatcher
from service.telegram.pacing import FloodGuard, Pacing
from service.users.people import People

# A person taps fast, a script faster: ten at once, then two a second.
FLOOD_BURST = 10
FLOOD_RATE = 2.0


@dataclass(frozen=True, slots=True)
class Assembly:
    """Everything that is alive, put together and not yet started."""

    operations: Operations
    courier: Courier


ASSEMBLY = web.AppKey("assembly", Assembly)


def sold(config: Config) -> Catalog:
    """Raises ConfigError where the catalogue is not usable."""
    return catalog.load(config.catalog, providers.CHECKS)


def assemble(config: Config, features: Sequence[Feature], clock: Clock) -> Assembly:
    """Who needs whom. Raises ConfigError where the catalogue is not usable."""
    offered = sold(config)  # before anything is opened that would have to be closed again
    database = Database(config.database, clock)
    people = People(database, clock, cache_ttl_s=config.user_cache_ttl)
    menu = Menu.of(features)
    session = aiohttp.ClientSession()
    bot = _bot(config, clock, people, session)
    jobs = (*(job for feature in features for job in feature.jobs), *backup.jobs(config))
    loop = JobLoop(jobs, lambda: switchboard.mounted.rooms, lambda job: switchboard.may_run(job))
    rooms = Rooms(
        {
            Config: config,
            Clock: clock,
            Catalog: offered,
            Database: database,
            People: people,
            Menu: menu,
            aiohttp.ClientSession: session,
            BotApi: bot,
            JobLoop: loop,
        }
    )
    switchboard = Switchboard(features, database, config, clock, rooms)
    switchboard.on_change(_catch_up(features, loop))
    _tell_watchers(switchboard, loop)
    courier = Courier(bot)
    dispatcher = Dispatcher(
        switchboard=switchboard,
        database=database,
        people=people,
        guard=FloodGuard(FLOOD_RATE, FLOOD_BURST),
        clock=clock,
        budget=Budget(config.door_timeout),
        send_later=courier.send_later,
        operators=config.admin_ids,
    )
    return Assembly(
        Operations(config, Lifecycle(), clock, database, switchboard, people, dispatcher, bot, loop), courier
    )


def _catch_up(features: Sequence[Feature], loop: JobLoop[Rooms]) -> Callable[[str, State], None]:
    """What a feature could not do while it was off, its jobs do as soon as it is on."""
    jobs_of = {feature.name: feature.jobs for feature in features}

    def poke(name: str, state: State) -> None:
        for job in jobs_of[name] if isinstance(state, On) else ():
            loop.poke(job.name)

    return poke


def _tell_watchers(switchboard: Switchboard, loop: JobLoop[Rooms]) -> None:
    """What happens below the features is told to those that watch, as what happens in them is."""

    def changed(name: str, state: State) -> None:
        told = {"feature": name, "state": state.state, "reason": state.reason}
        tell(switchboard.mounted.rooms, Event("feature_changed", NOBODY, told))

    def recovered(job: str, counts: Counts) -> None:
        told = {"job": job, "counts": {what: count for what, count in counts.items() if count}}
        tell(switchboard.mounted.rooms, Event("recovered", NOBODY, told))

    switchboard.on_change(changed)
    loop.on_recovered(recovered)


def _bot(config: Config, clock: Clock, people: People, session: aiohttp.ClientSession) -> BotApi:
    async def mark_unreachable(chat_id: int) -> None:
        with suppress(Unavailable):  # the next call that fails tells again
            await people.mark_active(chat_id, False)

    return BotApi(
        token=config.telegram_bot_token or "",
        base=config.telegram_api_base,
        session=session,
        clock=clock,
        pacing=Pacing(),
        on_blocked=mark_unreachable,
    )
