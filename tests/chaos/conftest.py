"""Fixtures of the tests under fire, and the table of what was seen.

CHAOS=long makes them take minutes, and compares how much gets through before and after.
"""

from __future__ import annotations

import pytest

from tests.e2e.conftest import start

__all__ = ["start"]

HEAD = (
    "| what was done | updates | lost | double | refused tries | longest request | all served again after "
    "| a second before | a second after |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = terminalreporter.getreports("passed")
    rows = [
        row for report in passed for name, row in report.user_properties if name == "chaos" and report.when == "call"
    ]
    for line in (*HEAD, *rows) if rows else ():
        terminalreporter.write_line(str(line))
