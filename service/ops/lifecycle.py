"""Where the process is in its life. It knows three words, and nothing of what happens in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["starting", "serving", "draining"]


@dataclass(slots=True)
class Lifecycle:
    """Set by the composition root, read by the readiness check."""

    phase: Phase = "starting"
