"""What a user is called, and how he travels as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from service.users.user import Profile, User

CREATED = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
UPDATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=3)))


def user(
    username: str | None = None, first_name: str | None = None, last_name: str | None = None, **more: str | None
) -> User:
    told = {"language_code": None, "language": None} | more
    return User(42, username, first_name, last_name, **told, is_active=True, created_at=CREATED, updated_at=UPDATED)


@pytest.mark.parametrize(
    ("names", "full", "display"),
    [
        ((None, None, None), "", "User42"),
        (("", "", ""), "", "User42"),
        ((None, "Anna", None), "Anna", "Anna"),
        ((None, None, "Smith"), "Smith", "Smith"),
        ((None, "Anna", "Smith"), "Anna Smith", "Anna Smith"),
        (("anna", "Anna", "Smith"), "Anna Smith", "anna"),
        (("anna", None, None), "", "anna"),
    ],
)
def test_names(names: tuple[str | None, str | None, str | None], full: str, display: str) -> None:
    assert (user(*names).full_name, user(*names).display_name) == (full, display)


@pytest.mark.parametrize(
    ("chosen", "code", "speaks"),
    [
        (None, None, "en"),
        (None, "ru", "ru"),
        (None, "ru-RU", "ru"),
        (None, "RU", "ru"),
        (None, "uk", "en"),
        ("en", "ru", "en"),
        ("ru", "en", "ru"),
        ("xx", "ru", "ru"),
    ],
)
def test_the_language_chosen_goes_before_telegrams(chosen: str | None, code: str | None, speaks: str) -> None:
    assert user(language=chosen, language_code=code).speaks == speaks


@pytest.mark.parametrize("whole", [user(), user("anna", "Анна 🎉", "O'Neil", language_code="ru-RU", language="en")])
def test_nine_columns_there_and_back(whole: User) -> None:
    told = whole.to_dict()
    assert list(told) == [
        *("user_id", "username", "first_name", "last_name", "language_code", "language"),
        *("is_active", "created_at", "updated_at"),
    ]
    assert told["created_at"] == "2026-01-02T03:04:05.678901Z"
    assert told["updated_at"] == "2026-01-02T03:04:05+03:00"
    back = User.from_dict(json.loads(json.dumps(told)))
    assert back == whole
    assert back.updated_at.utcoffset() == timedelta(hours=3)


@pytest.mark.parametrize("spoilt", [{"user_id": "42"}, {"created_at": "yesterday"}, {"is_active": None}])
def test_what_is_no_user_is_refused(spoilt: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        User.from_dict(user().to_dict() | spoilt)
    with pytest.raises(msgspec.ValidationError):
        User.from_dict({"user_id": 42})


@pytest.mark.parametrize(
    ("profile", "agrees"),
    [
        (Profile(42), True),
        (Profile(42, username="anna"), True),
        (Profile(42, username="Anna"), False),
        (Profile(42, last_name="Smith"), False),
        (Profile(42, language_code="en"), False),
        (Profile(42, username="anna", first_name="Anna"), True),
    ],
)
def test_what_is_not_told_agrees_with_everything(profile: Profile, agrees: bool) -> None:
    assert user("anna", "Anna").agrees_with(profile) is agrees
