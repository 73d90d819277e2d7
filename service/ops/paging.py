"""Pages of a list: an opaque cursor to the last row that was seen, and a limit within bounds.

It knows how a cursor is written for the outside; it knows nothing of what is listed.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from msgspec.json import Decoder

from service.errors import Invalid

LIMIT = 50
LIMIT_MAX = 500  # rows; an answer that size is still a tenth of a second's work

R = TypeVar("R")
P = TypeVar("P")

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
# Of the last row of a page: its id and name where a list goes by the name, its time and id where it goes by the
# time. The one cannot be taken for the other.
BY_NAME: Decoder[tuple[int, str]] = Decoder(tuple[Id, str])
BY_TIME: Decoder[tuple[datetime, int]] = Decoder(tuple[Annotated[datetime, msgspec.Meta(tz=True)], Id])


def cursor(position: object) -> str:
    """A position as the outside sees it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def position(text: str, kind: Decoder[P]) -> P:
    """The position that `cursor` wrote. Raises Invalid for anything else, another list's cursor included."""
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return kind.decode(raw)
    except ValueError:  # what base64, UTF-8 and msgspec raise are all ValueErrors
        raise Invalid("`after` is not a cursor of this list.") from None


def limit(query: Mapping[str, str]) -> int:
    """How many rows are asked for. Raises Invalid unless it is between 1 and LIMIT_MAX."""
    text = query.get("limit", str(LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= LIMIT_MAX):
        raise Invalid(f"`limit` must be a number from 1 to {LIMIT_MAX}.")
    return int(text)


def page(rows: Sequence[R], size: int, position_of: Callable[[R], object]) -> dict[str, object]:
    """A list as the outside sees it. `rows` is one more than `size` where there is a following page."""
    items = rows[:size]
    return {"items": items, "next": cursor(position_of(items[-1])) if len(rows) > size else None}
