"""Sentences, and that each that counts has every form of its language."""

from __future__ import annotations

import importlib
import pkgutil
import string

import pytest

import service
from service.text import LANGUAGES, LOCALES, Counted, Text, language_of, storable

for module in pkgutil.walk_packages(service.__path__, "service."):
    if module.name.endswith("texts"):
        importlib.import_module(module.name)


def counted() -> dict[str, Counted]:
    """Every sentence of the house that counts, by its name."""
    rooms = {name: room for name, room in importlib.sys.modules.items() if name.startswith("service.")}
    return {
        f"{name}.{key}": value
        for name, room in rooms.items()
        for key, value in vars(room).items()
        if isinstance(value, Counted)
    }


COUNTED = counted()
FRIENDS = Counted(
    en={"one": "{n} friend", "other": "{n} friends"},
    ru={"one": "{n} друг", "few": "{n} друга", "many": "{n} друзей", "other": "{n} друга"},
)


@pytest.mark.parametrize("name", COUNTED)
def test_each_has_every_form_of_its_language(name: str) -> None:
    for language in LANGUAGES:
        forms = getattr(COUNTED[name], language)
        assert set(forms) == {*LOCALES[language].plural_form.rules, "other"}, f"{name} in {language}"
        fields = {
            tuple(sorted({field for _, field, *_ in string.Formatter().parse(form) if field}))
            for form in forms.values()
        }
        assert len({tuple(one for one in found if one != "n") for found in fields}) == 1, (
            f"{name} in {language}: {fields}"
        )


def test_there_are_some() -> None:
    assert len(COUNTED) > 5


@pytest.mark.parametrize(
    ("n", "ru"),
    [
        (0, "0 друзей"),
        (1, "1 друг"),
        (2, "2 друга"),
        (5, "5 друзей"),
        (11, "11 друзей"),
        (21, "21 друг"),
        (112, "112 друзей"),
    ],
)
def test_a_number_takes_its_form(n: int, ru: str) -> None:
    assert FRIENDS.in_("ru", n) == ru


def test_one_and_many_in_english() -> None:
    assert (FRIENDS.in_("en", 1), FRIENDS.in_("en", 2), FRIENDS.in_("en", 0)) == ("1 friend", "2 friends", "0 friends")


def test_a_sentence_in_its_language() -> None:
    text = Text(en="Hello, {name}", ru="Привет, {name}")
    assert (text.in_("en", name="A"), text.in_("ru", name="A")) == ("Hello, A", "Привет, A")
    assert text.in_("en") == "Hello, {name}"


def test_a_language_by_its_code() -> None:
    assert [language_of(code) for code in ("ru", "RU-ru", "en", "de", None)] == ["ru", "ru", "en", "en", "en"]


@pytest.mark.parametrize(
    ("text", "stored"),
    [("лис 🦊", "лис 🦊"), ("a\nb", "a\nb"), ("a\0b", "ab"), ("a\ud83db", "a?b"), ("\0", ""), ("", "")],
)
def test_what_a_table_cannot_hold_is_left_out(text: str, stored: str) -> None:
    assert storable(text) == stored
