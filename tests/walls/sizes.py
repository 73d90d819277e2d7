"""How large anything may be, and what it must say of itself."""

from __future__ import annotations

from collections.abc import Iterator

from tests.walls import wall
from tests.walls.source import Module, length_of, sentences

FUNCTION_MAX = 40
FILE_MAX = 300
ROOM_MAX = 9
PARAMETERS_MAX = 5
# The composition root is made of parameters; and two of these six only tests give.
MORE_PARAMETERS = ("service.app", "service.kernel.migrate.migrator.down")
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helpers", "manager", "base", "common", "misc", "core", "types"}


@wall(("service.users.planted", "x = 1"), ("service.users.planted", '"""Only one sentence."""'))
def each_module_says_what_it_knows(module: Module) -> Iterator[str]:
    """The first sentence says what it knows, the second what it does not."""
    if sentences(module.docstring) < 2:
        yield "1: a docstring of two sentences is missing"


@wall(("service.users.planted", "def long():\n" + "    x = 1\n" * FUNCTION_MAX))
def functions_are_short(module: Module) -> Iterator[str]:
    for function in module.functions():
        if length_of(function) > FUNCTION_MAX:
            yield f"{function.lineno}: {function.name} has {length_of(function)} lines, {FUNCTION_MAX} are enough"


@wall(("service.users.planted", "x = 1\n" * (FILE_MAX + 1)))
def files_are_short(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > FILE_MAX:
        yield f"{lines} lines, {FILE_MAX} are enough"


@wall(
    ("service.users.planted", "def f(a, b, c, *, d, e, f): ..."),
    ("service.users.planted", "class A:\n    async def f(self, a, b, c, d, e, f): ..."),
)
def parameters_are_few(module: Module) -> Iterator[str]:
    for function in module.functions():
        given = function.args
        names = [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
        count = len([name for name in names if name not in ("self", "cls")])
        excused = function.name.startswith("_") or f"{module.name}.{function.name}".startswith(MORE_PARAMETERS)
        if count > PARAMETERS_MAX and not excused:
            yield f"{function.lineno}: {function.name} takes {count} parameters, {PARAMETERS_MAX} are enough"


@wall(("service.users.utils", "x = 1"), ("service.telegram.helpers.planted", "x = 1"))
def names_say_something(module: Module) -> Iterator[str]:
    for part in module.name.split("."):
        if part in NAMES_THAT_SAY_NOTHING:
            yield f"{part} says nothing about what is in it"
