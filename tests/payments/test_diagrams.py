"""docs/money.md draws the states that event.py decides about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.payments.event import PAYMENT_MOVES, REFUND_MOVES

TEXT = (Path(__file__).parents[2] / "docs" / "money.md").read_text(encoding="utf-8")


def drawn(heading: str) -> set[tuple[str, str]]:
    """The arrows of the diagram under a heading; [*] is where it begins."""
    diagram = TEXT.partition(f"### {heading}\n")[2].partition("```mermaid\n")[2].partition("```")[0]
    return set(re.findall(r"^\s+(\S+) --> (\w+)", diagram, re.MULTILINE))


@pytest.mark.parametrize(
    ("heading", "moves", "begins"), [("A payment", PAYMENT_MOVES, "-"), ("A refund, or a dispute", REFUND_MOVES, "")]
)
def test_the_picture_is_what_is_decided(heading: str, moves: dict[str, frozenset[str]], begins: str) -> None:
    decided = {(state or "[*]", after) for state, others in moves.items() for after in others}
    if begins == "-":
        decided.add(("[*]", "creating"))
    assert drawn(heading) == decided
