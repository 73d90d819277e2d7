"""Who a user is: the row, and what he is called. Pure.

It knows the users table's columns and nothing of where a user comes from.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol, cast

import msgspec

from service.text import LANGUAGES, Language, language_of


class Profile(msgspec.Struct, frozen=True):
    """What is told about a person by whoever mentions him; None is "not told", not "has none"."""

    user_id: int
    username: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    language_code: str | None = None


def spoken(language: str | None, language_code: str | None) -> Language:
    """The language that he chose, else the one of his Telegram."""
    return language if language in LANGUAGES else language_of(language_code)


class Named(Protocol):
    """Whatever tells of a person's names; None is "not told"."""

    @property
    def username(self) -> str | None: ...
    @property
    def first_name(self) -> str | None: ...
    @property
    def last_name(self) -> str | None: ...
    @property
    def language_code(self) -> str | None: ...


class User(msgspec.Struct, frozen=True):
    """A row of users. `user_id` is the Telegram id; people without one get ids from 2^52 up."""

    user_id: int
    username: str | None
    first_name: str | None
    last_name: str | None
    language_code: str | None
    language: str | None
    is_active: bool
    created_at: datetime
    updated_at: datetime

    @property
    def speaks(self) -> Language:
        return spoken(self.language, self.language_code)

    @property
    def full_name(self) -> str:
        """First and last name, as far as they are known; empty when neither is."""
        return " ".join(name for name in (self.first_name, self.last_name) if name)

    @property
    def display_name(self) -> str:
        """What operators see: username, else full name, else User42."""
        return self.username or self.full_name or f"User{self.user_id}"

    def agrees_with(self, profile: Named) -> bool:
        """Whether the row says already all that is told."""
        return (
            (profile.username is None or profile.username == self.username)
            and (profile.first_name is None or profile.first_name == self.first_name)
            and (profile.last_name is None or profile.last_name == self.last_name)
            and (profile.language_code is None or profile.language_code == self.language_code)
        )

    def to_dict(self) -> dict[str, Any]:
        """The nine columns with ISO times, for JSON."""
        return cast(dict[str, Any], msgspec.to_builtins(self))

    @staticmethod
    def from_dict(data: dict[str, Any]) -> User:
        """What to_dict made. Raises msgspec.ValidationError."""
        return msgspec.convert(data, User)


class Languages(msgspec.Struct, frozen=True):
    """What is known of how to speak to somebody."""

    user_id: int
    language: str | None
    language_code: str | None

    @property
    def speaks(self) -> Language:
        return spoken(self.language, self.language_code)


class EnsuredUser(User, frozen=True):
    """A user, and whether this very call made him."""

    created: bool
