"""The people of every test: a payer, a friend whom the payer invited, a stranger who must see nothing of
either of them, and an operator. The friend speaks Russian; the payer and the friend have ids beyond 2^32."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    user_id: int
    username: str | None
    first_name: str
    last_name: str | None
    language_code: str | None
    invited_by: int | None = None

    @property
    def wire(self) -> dict[str, object]:
        """As Telegram writes a person."""
        told = {name: getattr(self, name) for name in ("username", "first_name", "last_name", "language_code")}
        return {"id": self.user_id, "is_bot": False, **{name: value for name, value in told.items() if value}}


PAYER = Person(7_000_000_001, "payer", "Payer", "One", "en")
FRIEND = Person(7_000_000_002, "friend", "Друг", None, "ru", invited_by=PAYER.user_id)
STRANGER = Person(1_003, None, "Stranger", None, None)
OPERATOR = Person(1_004, "operator", "Operator", None, "en-GB")
CAST = (PAYER, FRIEND, STRANGER, OPERATOR)
