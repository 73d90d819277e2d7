"""The explicit, ordered list of everything that can be switched on or off. A new feature is one line here."""

from __future__ import annotations

from service import payments, users
from service.feature import Feature
from service.features import broadcasts, diagnostics, generation, operators, projects, referrals, tail
from service.ops import erasure, writing
from service.telegram import inbox

FEATURES: tuple[Feature, ...] = (
    users.FEATURE,
    inbox.PROCESSED,
    inbox.FAILED,
    *payments.FEATURES,
    *generation.FEATURES,
    diagnostics.FEATURE,
    *projects.FEATURES,
    *referrals.FEATURES,
    tail.FEATURE,
    writing.FEATURE,
    erasure.FEATURE,
    broadcasts.FEATURE,
    operators.FEATURE,
)
