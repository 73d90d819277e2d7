"""What is done in one place only: reading the environment and the clock, SQL, input and output, printing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.walls import wall
from tests.walls.source import Module

PURE = (
    *("service.errors", "service.text", "service.feature", "service.users.user"),
    *("service.telegram.update", "service.telegram.router", "service.telegram.reply", "service.telegram.pacing"),
)
PURE_BY_NAME = ("texts", "event", "parse", "verify")  # wherever they are
IO = {
    *("aiohttp", "asyncio", "asyncpg", "http", "multiprocessing", "os", "pathlib", "psycopg", "selectors", "shutil"),
    *("signal", "socket", "ssl", "subprocess", "tempfile", "threading", "urllib.request"),
}

# A statement as a driver would be given it: it begins with its verb, and goes on as only SQL does.
SQL = re.compile(
    r"""\s*(/\*.*?\*/\s*|--[^\n]*\n\s*)*(
    (?i:SELECT\b.*\bFROM\b | INSERT\s+INTO\b | DELETE\s+FROM\b | UPDATE\s+\S+\s+SET\b)
    | SELECT\s | WITH\s+(RECURSIVE\s+)?\w+\s*(\(.*?\)\s*)?AS\b | VALUES\s*\( | MERGE\s+INTO\b | TABLE\s+\w+\s*$
    | (CREATE|ALTER|DROP)\s+([A-Z]+\s+)*(TABLE|INDEX|DATABASE|SCHEMA|EXTENSION|ROLE|FUNCTION|TRIGGER|VIEW|TYPE)\b
    | TRUNCATE\s | GRANT\s | REVOKE\s | COPY\s | EXPLAIN\b | PREPARE\s | EXECUTE\s | VACUUM\b | ANALYZE\b
    | LISTEN\s | NOTIFY\s | LOCK\s | SAVEPOINT\s | SET\s+(LOCAL\s+|SESSION\s+)?\w+
    )""",
    re.VERBOSE | re.DOTALL,
)


@wall(
    ("service.development", "import os\nx = os.environ['A']"),
    ("service.kernel.planted", "import os\nx = os.getenv('A')"),
    ("service.kernel.planted", "from os import environ"),
)
def only_config_reads_the_environment(module: Module) -> Iterator[str]:
    if module.within("service.config"):
        return
    readers = {"os.environ", "os.environb", "os.getenv", "os.putenv"}
    yield from (f"{line}: {name}" for line, _, name in module.imports() if name in readers)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in readers:
            yield f"{node.lineno}: {ast.unparse(node)}"


@wall(
    ("service.users.planted", "x = 'SELECT 1'"),
    ("service.users.planted", "x = b'select name\\n from users'"),
    ("service.users.planted", "x = f'UPDATE {table} SET a = 1'"),
    ("service.users.planted", "x = '/* why */ WITH a AS (SELECT 1) TABLE a'"),
    ("service.kernel.planted", "x = 'SET LOCAL lock_timeout = 5'"),
    ("service.kernel.planted", "x = 'CREATE UNIQUE INDEX CONCURRENTLY i ON t (c)'"),
    ("service.kernel.planted", "x = ' LISTEN users_changed'"),
)
def sql_is_in_its_files(module: Module) -> Iterator[str]:
    for line, text in module.strings():
        if SQL.match(text):
            yield f"{line}: {text[:50]!r} belongs under sql/"


@wall(
    ("service.cli.planted", "from datetime import UTC, datetime\nx = datetime.now(UTC)"),
    ("service.users.planted", "import time\nx = time.time()"),
    ("service.users.planted", "import time\nx = time.monotonic()"),
    ("service.kernel.planted", "from time import time"),
)
def the_clock_is_asked_in_one_place(module: Module) -> Iterator[str]:
    """Measuring how long something took is not asking what time it is: the kernel and http may.

    A log line carries the time at which it was written, whatever a test wants to be true. The sandbox is Telegram:
    it has a clock of its own.
    """
    if module.within("service.kernel.clock", "service.kernel.log", "service.sandbox"):
        return
    told = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
    measured = {"time.monotonic", "time.perf_counter", "time.monotonic_ns", "time.perf_counter_ns"}
    forbidden = told if module.within("service.kernel", "service.http") else told | measured
    for line, name in module.calls():
        if name.removeprefix("datetime.") in forbidden or name in forbidden:
            yield f"{line}: {name}() is kernel/clock.py's"
    yield from (f"{line}: {name} without its module" for line, _, name in module.imports() if name in told | measured)


@wall(
    ("service.telegram.update", "import asyncio"),
    ("service.feature", "from aiohttp import web"),
    ("service.payments.stripe.parse", "import urllib.request"),
    ("service.users.texts", "x = open('a')"),
)
def pure_modules_do_no_io(module: Module) -> Iterator[str]:
    if module.name not in PURE and module.name.split(".")[-1] not in PURE_BY_NAME:
        return
    for line, origin, name in module.imports():
        if {origin, origin.split(".")[0], name} & IO and not module.within("service.config"):
            yield f"{line}: {name} in a module that is pure"
    yield from (f"{line}: open() in a module that is pure" for line, name in module.calls() if name == "open")


@wall(("service.ops.planted", "print('x')"), ("service.kernel.planted", "import sys\nsys.stdout.write('x')"))
def only_the_command_line_prints(module: Module) -> Iterator[str]:
    if module.within("service.cli", "service.kernel.log"):
        return
    for line, name in module.calls():
        if name == "print" or name.startswith(("sys.stdout.", "sys.stderr.")):
            yield f"{line}: {name}() is the command line's; everybody else has a log"


@wall(
    ("service.features.one", "if switchboard.is_on('x'): ..."),
    ("service.users.planted", "x = switchboard.states['users']"),
    ("service.payments.planted", "while not (is_on('x') and y): ..."),
)
def nobody_asks_whether_it_is_on(module: Module) -> Iterator[str]:
    """Switches are read where things are mounted and shown, never inside of behaviour."""
    if not module.within("service.features", "service.users", "service.payments", "service.telegram"):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            written = ast.unparse(node).split(".")[-1]
            if written == "is_on" or ast.unparse(node).endswith("switchboard.states"):
                yield f"{node.lineno}: {ast.unparse(node)}"
