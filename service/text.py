"""A sentence in the languages the bot speaks.

It knows languages and nothing of what is said in them: each room keeps its own sentences in its texts.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Language = Literal["en", "ru"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


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


def language_of(language_code: str | None) -> Language:
    """Russian where Telegram's language_code begins with ru, else English."""
    return "ru" if (language_code or "").lower().startswith("ru") else "en"
