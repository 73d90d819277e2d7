"""A sentence in the languages the bot speaks.

It knows languages and nothing of what is said in them: each room keeps its own sentences in its texts.py. Which form
a number asks for is Babel's to know, from the rules of CLDR.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from babel.core import Locale

Language = Literal["en", "ru"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
NUL = "\x00"
LOCALES = {language: Locale(language) for language in LANGUAGES}


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence, in every language. Placeholders are those of `str.format`."""

    en: str
    ru: str

    def in_(self, language: Language, **values: object) -> str:
        sentence = self.ru if language == "ru" else self.en
        return sentence.format(**values) if values else sentence

    def variants(self) -> frozenset[str]:
        """Every wording, for recognising a button that carries this text."""
        return frozenset((self.en, self.ru))


@dataclass(frozen=True, slots=True)
class Counted:
    """A sentence about a number `n`, in every form that a language has for it.

    https://www.unicode.org/cldr/charts/latest/supplemental/language_plural_rules.html
    """

    en: Mapping[str, str]
    ru: Mapping[str, str]

    def in_(self, language: Language, n: int, **values: object) -> str:
        forms = self.ru if language == "ru" else self.en
        return forms[LOCALES[language].plural_form(n)].format(n=n, **values)


def storable(text: str) -> str:
    """Without what PostgreSQL's text cannot hold: the character 0, and halves of characters. Neither is printable."""
    return text if text.isprintable() else text.replace(NUL, "").encode(errors="replace").decode()


def language_of(language_code: str | None) -> Language:
    """Russian where Telegram's language_code begins with ru, else English."""
    return "ru" if (language_code or "").lower().startswith("ru") else "en"
