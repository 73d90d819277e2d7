"""Checks the parameters of the catalogue's models: what must be there, what may be, and nothing else.

It knows shapes of values; it knows no provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from service.catalog import Params

Shape = Callable[[Any], str | None]
"""What is wrong with a value, or None."""


def checked(params: Params, *, required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> list[str]:
    """Every fault, each with the name of its parameter."""
    return list(_faults(params, required, optional or {}))


def _faults(params: Params, required: Mapping[str, Shape], optional: Mapping[str, Shape]) -> Iterator[str]:
    yield from (f"{name}: is missing" for name in required if name not in params)
    shapes = {**required, **optional}
    for name, value in params.items():
        fault = shapes[name](value) if name in shapes else "is not known here"
        if fault:
            yield f"{name}: {fault}"


def one_of(*words: str) -> Shape:
    return lambda value: None if value in words else f"must be one of {', '.join(words)}"


def text(value: Any) -> str | None:
    return None if isinstance(value, str) and value.strip() else "must be a text"


def table(value: Any) -> str | None:
    return None if isinstance(value, dict) else "must be a table"


def whole(least: int, most: int) -> Shape:
    fault = f"must be a whole number from {least} to {most}"
    return lambda value: None if type(value) is int and least <= value <= most else fault


def number(least: float, most: float) -> Shape:
    fault = f"must be a number from {least:g} to {most:g}"
    return lambda value: None if type(value) in (int, float) and least <= value <= most else fault
