"""What the Bot API's answers mean. Pure.

It knows status codes and Telegram's own words for things; it knows nothing of how a call is sent.
https://core.telegram.org/bots/api#making-requests
"""

from __future__ import annotations

from typing import Any

import msgspec

from service.errors import Upstream

UNKNOWN_WAIT_S = 1.0  # a 429 that does not say how long
TRANSIENT = frozenset({409, 429})  # another poller, too many requests: the same call may succeed later
# Telegram's wording in lower case; it has no codes for these.
DONE_ANYWAY = ("query is too old", "message is not modified")
GONE = ("bot was blocked by the user", "user is deactivated", "bot can't initiate conversation", "chat not found")


class ApiError(Upstream):
    """The Bot API refused."""

    def __init__(self, method: str, status: int, description: str, parameters: Parameters) -> None:
        permanent = 400 <= status < 500 and status not in TRANSIENT
        wait = (parameters.retry_after or UNKNOWN_WAIT_S) if status == 429 else None
        super().__init__(f"{method}: {status} {description}", permanent=permanent, retry_after=wait)
        self.status = status
        self.moved_to = parameters.migrate_to_chat_id
        words = description.lower()
        self.done_anyway = status == 400 and any(phrase in words for phrase in DONE_ANYWAY)
        self.gone = status in (400, 403) and any(phrase in words for phrase in GONE)

    @property
    def ambiguous(self) -> bool:
        """Whether the call may have been carried out all the same."""
        return self.status >= 500


class NoAnswer(Upstream):
    """The Bot API did not answer."""

    def __init__(self, method: str, reason: str, *, ambiguous: bool) -> None:
        super().__init__(f"{method}: no answer ({reason})")
        self.ambiguous = ambiguous


class Parameters(msgspec.Struct, frozen=True):
    """https://core.telegram.org/bots/api#responseparameters"""

    migrate_to_chat_id: int | None = None
    retry_after: float | None = None


class _Answer(msgspec.Struct, frozen=True):
    ok: bool
    result: Any = None
    description: str = ""
    parameters: Parameters = Parameters()


_decode = msgspec.json.Decoder(_Answer).decode


def read(method: str, status: int, body: bytes) -> Any:
    """The result of a call. Raises ApiError; an answer that is not the Bot API's own counts as a 502."""
    try:
        answer = _decode(body)
    except msgspec.MsgspecError:
        status = status if status >= 400 else 502
        raise ApiError(method, status, "not an answer of the Bot API", Parameters()) from None
    if not answer.ok:
        raise ApiError(method, status, answer.description, answer.parameters)
    return answer.result
