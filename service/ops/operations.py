"""What operators look at and steer. It knows the rooms that are alive; it knows no feature."""

from __future__ import annotations

from dataclasses import dataclass

from service.config import Config
from service.feature import Rooms
from service.kernel.clock import Clock
from service.kernel.database import Database
from service.kernel.jobs import JobLoop
from service.ops.lifecycle import Lifecycle
from service.switchboard import Switchboard
from service.telegram.client import BotApi
from service.telegram.dispatch import Dispatcher
from service.users.people import People


@dataclass(frozen=True, slots=True)
class Operations:
    """Handed to every page and every check under ops."""

    config: Config
    lifecycle: Lifecycle
    clock: Clock
    database: Database
    switchboard: Switchboard
    people: People
    dispatcher: Dispatcher
    bot: BotApi
    jobs: JobLoop[Rooms]
