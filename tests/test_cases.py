"""The failure cases of money, and that each has a test which names it.

A test says "Case 17: ..." in its docstring where it is about the seventeenth; the numbers are those of the table below.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
NAMED = re.compile(r"\b[Cc]ases? (\d+(?:(?:, | and |, and | to )(?:case )?\d+)*)")

CASES = {
    1: "the same event fifty times at once",
    2: "the same money by different events",
    3: "the same money by two channels",
    4: "a refund or dispute before its payment",
    5: "two events of one second that contradict each other",
    6: "the event's name says succeeded, the object does not",
    7: "a callback before our row is there",
    8: "canceled after succeeded",
    9: "redelivered after days",
    10: "a crash before and after the commit",
    11: "a failure between two statements",
    12: "deadlocks and serialization failures",
    13: "the API is down while it is asked back",
    14: "an event that always fails",
    15: "two instances recover at once",
    16: "our clock is off",
    17: "a forged notification with an id that looks real",
    18: "signatures that are bad, missing, several, rotated",
    19: "replayed, or from the future",
    20: "a signed body with one byte changed",
    21: "test money, another shop, another account",
    22: "claims about the address of the sender",
    23: "oversized bodies, declared and not",
    24: "a wrong or missing content type; a form",
    25: "slow bodies, packed bodies",
    26: "other encodings than UTF-8",
    27: "a key twice",
    28: "NaN and infinities",
    29: "endless numbers and nesting",
    30: "amounts that are not written as amounts",
    31: "amounts by way of floats",
    32: "amounts beyond all bounds",
    33: "text that cannot be stored",
    34: "what looks like a currency",
    35: "values of another kind than expected",
    36: "user ids in other forms, and another user's",
    37: "another amount, another currency",
    38: "an unknown payment, an unknown user",
    39: "several refunds, too much of them, one that fails",
    40: "a refund of what was spent",
    41: "a refund while some of the balance is held",
    42: "a refund that is asked for twice",
    43: "a dispute that is won; an inquiry",
    44: "races of reservations",
    45: "a capture of less than was held",
    46: "an idempotency key with other parameters, at once, after a failure",
    47: "an invoice paid twice",
    48: "a renewal told twice",
    49: "a stale event of a subscription",
    50: "periods in other forms of time",
    51: "the invariants",
}


def numbers(docstring: str) -> Iterator[int]:
    """The cases that a docstring names: "Case 4", "Cases 30 and 32", "case 32 to case 35"."""
    for found in NAMED.finditer(docstring):
        said = found[1].replace("case ", "")
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", said):
            yield from range(int(first), int(last or first) + 1)


@cache
def named() -> dict[int, list[str]]:
    """Which tests name which case."""
    tests = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for number in numbers(ast.get_docstring(node) or ""):
                    tests[number].append(f"{path.relative_to(TESTS)}::{node.name}")
    return dict(tests)


def test_each_case_has_a_test_that_names_it() -> None:
    assert {number: what for number, what in CASES.items() if number not in named()} == {}


def test_no_test_names_a_case_that_is_none() -> None:
    assert {number: tests for number, tests in named().items() if number not in CASES} == {}


def test_numbers_are_found_however_they_are_said() -> None:
    assert list(numbers("Case 4: a. Case 17, and no 18")) == [4, 17]
    assert list(numbers("Cases 30 and 32: b")) == [30, 32]
    assert list(numbers("Cases 30, 32, 33.")) == [30, 32, 33]
    assert list(numbers("Case 30, case 32 to case 35: c")) == [30, 32, 33, 34, 35]
    assert list(numbers("a suitcase 3, a bookcase, case")) == []
