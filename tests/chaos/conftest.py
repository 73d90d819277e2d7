"""Fixtures of the tests under fire, and the tables of what was seen.

CHAOS=long makes them take minutes, and compares how much gets through before and after.
"""

from __future__ import annotations

import pytest

from tests.e2e.conftest import start

__all__ = ["start"]

HEADS = {
    "chaos": (
        "| what was done | updates | lost | double | refused tries | longest request | all served again after "
        "| a second before | a second after |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ),
    "work": (
        "| what was done | jobs | lost | double | recovery | longest request | a second before | meanwhile | after "
        "| told again | given up |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ),
}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = [report for report in terminalreporter.getreports("passed") if report.when == "call"]
    for table, head in HEADS.items():
        rows = [row for report in passed for name, row in report.user_properties if name == table]
        for line in (*head, *rows) if rows else ():
            terminalreporter.write_line(str(line))
