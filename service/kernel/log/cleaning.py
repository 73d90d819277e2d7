"""Takes what must not be kept out of the words of others: secrets, control characters, and all that is too long.

It knows what secrets of providers look like, beside those that the log knows; it knows nothing of who said it. Rather
a word too many is masked than one too few.
"""

from __future__ import annotations

import re

from service.kernel.log.mask import MASK, mask

# Characters that are kept: an operator reads no more of one failure, and a group of failures is told by it.
LENGTH_MAX = 500
# Characters that are looked at: what comes after cannot come among those that are kept.
READ_MAX = 20_000

_RULES = (
    # Whatever a header carries, and what stands for a password in an address.
    (re.compile(r"\b(bearer|basic)\s+[^\s\"',;]+", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"(://)[^\s/\"'<>@:]*:[^\s/\"'<>]*@"), rf"\1{MASK}@"),
    # Keys that say what they are by how they begin.
    (re.compile(r"\b(?:sk|pk|rk|whsec|polar|ghp|gho|ghs|github_pat|glpat|xox[a-z]|hf|r8|gsk)[-_][\w*.-]{8,}"), MASK),
    (re.compile(r"\b(?:AIza[\w-]{20,}|AKIA[A-Z0-9]{12,}|eyJ[\w-]{8,}\.[\w.-]{8,})"), MASK),
    (re.compile(r"\b[0-9]{6,}:[\w-]{30,}"), MASK),
    # Those that are named: key=..., "api_key": "...", password: ...
    (
        re.compile(
            r"(key|token|secret|passw(?:or)?d|pwd|signature|credentials?)"
            r"([\"']?\s?[=:]\s?[\"']?)[^\s\"'&,;<>{}()\[\]]+",
            re.IGNORECASE,
        ),
        rf"\1\2{MASK}",
    ),
)


def clean(text: str) -> str:
    """One line of LENGTH_MAX characters at most."""
    printable = "".join(character if character.isprintable() else " " for character in text[:READ_MAX])
    line = mask(" ".join(printable.split()))
    for secret, instead in _RULES:
        line = secret.sub(instead, line)
    return line if len(line) <= LENGTH_MAX else f"{line[: LENGTH_MAX - 1]}…"
