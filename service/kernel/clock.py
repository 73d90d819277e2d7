"""What time it is.

The only module that reads the clock of the machine; everything else is handed a Clock, so tests can move time.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The machine's clock. Tests hand out one of their own."""

    def now(self) -> datetime:
        """The time of day, with its zone (UTC)."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever grow; for intervals and deadlines."""
        return time.monotonic()
