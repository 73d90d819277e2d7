"""The walls of the house, as rules: a rule takes a module and yields what breaks it.

Each comes with planted breaks that it must notice, for a rule that notices nothing is no rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.walls.source import Module

Rule = Callable[[Module], Iterator[str]]


class Wall(NamedTuple):
    """A rule, and breaks of it that it must notice: (module, its text)."""

    rule: Rule
    planted: tuple[tuple[str, str], ...]


WALLS: list[Wall] = []


def wall(*planted: tuple[str, str]) -> Callable[[Rule], Rule]:
    def build(rule: Rule) -> Rule:
        WALLS.append(Wall(rule, planted))
        return rule

    return build
