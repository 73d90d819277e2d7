"""The walls of the house hold: who may import whom, where what is done, and how large anything may be."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.walls import WALLS, Rule
from tests.walls.imports import LEVEL_OF
from tests.walls.places import SQL
from tests.walls.sizes import ROOM_MAX
from tests.walls.source import ROOT, Module, house

HOUSE = house()


@pytest.mark.parametrize("rule", [wall.rule for wall in WALLS], ids=lambda rule: rule.__name__)
def test_the_house_keeps_it(rule: Rule) -> None:
    breaks = [f"{module.name}:{found}" for module in HOUSE for found in rule(module)]
    assert not breaks, f"{rule.__name__.replace('_', ' ')}:\n" + "\n".join(breaks)


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [(wall.rule, name, text) for wall in WALLS for name, text in wall.planted],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_break_is_noticed(rule: Rule, name: str, text: str) -> None:
    assert list(rule(Module(name, text)))


@pytest.mark.parametrize(
    "text",
    ["select a language", "Update your name", "create", "drop it", "with love", "SELECTED", "insert coin", "BEGINNING"],
)
def test_prose_is_no_sql(text: str) -> None:
    assert not SQL.match(text)


def test_rooms_are_small() -> None:
    """A room that outgrows it is two rooms; what a package says in its __init__ is no module of its own."""
    rooms = Counter(path.parent for path in (ROOT / "service").rglob("*.py") if path.name != "__init__.py")
    large = {str(room.relative_to(ROOT)): count for room, count in rooms.items() if count > ROOM_MAX}
    assert not large


def test_every_line_of_the_layers_is_there() -> None:
    names = {module.name for module in HOUSE}
    assert set(LEVEL_OF) <= names


def test_every_folder_is_a_package() -> None:
    """Without an __init__ nobody says what the room is."""
    folders = {path.parent for path in (ROOT / "service").rglob("*.py")}
    assert not [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()]
