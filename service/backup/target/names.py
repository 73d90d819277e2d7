"""The names of backups, and which of them are kept.

It knows dates in names; it knows nothing of where the files are. A name that is not ours is never one to go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple

STAMP = "%Y%m%dT%H%M%SZ"
NAME = re.compile(r"ballast-(?P<critical>critical-)?(?P<at>[0-9]{8}T[0-9]{6}Z)\.(dump|sql)(\.age)?")
# An empty file beside a backup that was verified; its own time is when.
VERIFIED = ".verified"


class Dated(NamedTuple):
    """A backup by its name."""

    name: str
    kind: str
    at: datetime


def name(moment: datetime, kind: str, *, plain: bool, encrypted: bool) -> str:
    """ballast-20261120T031500Z.dump, ballast-critical-20261120T031500Z.sql.age"""
    critical = "critical-" if kind == "critical" else ""
    age = ".age" if encrypted else ""
    return f"ballast-{critical}{moment.astimezone(UTC):{STAMP}}.{'sql' if plain else 'dump'}{age}"


def dated(name: str) -> Dated | None:
    """None for a name that is not ours."""
    found = NAME.fullmatch(name)
    if found is None:
        return None
    try:
        at = datetime.strptime(found["at"], STAMP).replace(tzinfo=UTC)
    except ValueError:  # the 31st of some February
        return None
    return Dated(name, "critical" if found["critical"] else "all", at)


def ours(names: Iterable[str]) -> list[Dated]:
    """The newest first."""
    return sorted((one for name in names if (one := dated(name))), key=lambda one: (one.at, one.name), reverse=True)


def to_go(names: Iterable[str], *, daily: int, monthly: int) -> list[str]:
    """All of ours but the newest of each of the last days, and of each of the last months before these.

    Days and months without a backup do not count. What is kept of one kind has nothing to do with the other.
    """
    found = ours(names)
    of_kind = [[one for one in found if one.kind == kind] for kind in ("all", "critical")]
    kept = {name for ones in of_kind for name in _kept(ones, daily, monthly)}
    return [one.name for one in found if one.name not in kept]


def _kept(found: list[Dated], daily: int, monthly: int) -> list[str]:
    """`found` is the newest first, and so is what comes of it."""
    days = [(day, next(ones)) for day, ones in groupby(found, key=lambda one: one.at.date())]
    older = [one for _, one in days[daily:]]
    months = [next(ones) for _, ones in groupby(older, key=lambda one: (one.at.year, one.at.month))]
    return [one.name for one in (*(one for _, one in days[:daily]), *months[:monthly])]
