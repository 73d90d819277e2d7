"""Rows in columns, and how far something is. It knows terminals; it knows nothing of what it shows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime

KILO = 1024
CLEAR_LINE = "\r\N{ESCAPE}[K"


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """To stdout; numbers to the right."""
    cells = [list(header), *(list(map(_text, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    to_the_right = [_is_number(column[0]) for column in zip(*rows, strict=True)] or [False] * len(header)
    for line in cells:
        aligned = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, to_the_right, strict=True)
        ]
        print("  ".join(aligned).rstrip())


def show_progress(text: str) -> None:
    """For the person who waits, in place of what stood there; a pipe gets the results alone."""
    if sys.stderr.isatty():
        print(f"{CLEAR_LINE}{text}", end="", file=sys.stderr, flush=True)


def in_bytes(size: int) -> str:
    """12345 as 12 kB."""
    value, units = float(size), iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 10 * KILO and unit != "TB":
        value, unit = value / KILO, next(units)
    return f"{value:,.0f} {unit}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: object) -> str:
    """One line without control characters: what people call themselves must not steer an operator's terminal."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.1f}"
    text = "-" if value is None else str(value)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
