"""One event on one line: for people, or as JSON for programs. Pure: it knows nothing of where it is printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from service.features.tail import operators
from service.features.tail.repo import Happened

NAME_WIDTH = 15  # of the longest name


def as_json(event: Happened) -> str:
    """As GET /admin/tail shows it."""
    return msgspec.json.encode(operators.shown(event)).decode()


def as_text(event: Happened) -> str:
    """12:30:01 generation      success user=1 model=card price_rub=3.90 [host:123]; times are local."""
    told = msgspec.json.decode(event.told)
    facts = {"user": event.user_id, "model": event.model_id, **told}
    words = (str(facts.pop("state", None) or facts.pop("status", "")), *_words(facts))
    line = f"{event.happened_at.astimezone():%H:%M:%S} {event.name:<{NAME_WIDTH}} {' '.join(filter(None, words))}"
    return _printable(f"{line} [{event.instance}]")


def _words(facts: Mapping[str, object]) -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _words(value)
        elif value is not None and value != "":
            word = str(value)
            yield f"{name}={word}" if " " not in word else f'{name}="{word}"'


def _printable(line: str) -> str:
    """What people call themselves must not steer an operator's terminal."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)
