"""The languages of Enlace, in one table.

In the code, texts are written in Spanish. The Spanish text is the id of its translations in the
catalogues of all other languages (chassis/words.py).
"""

from collections.abc import Mapping
from typing import TypeVar

LANGUAGES = {"es": "Español", "en": "English", "fr": "Français"}
"""The name of each language, in that language, by its code (ISO 639, known to CLDR)."""
SOURCE = "es"
"""The language of the texts in the code, and of every text that is not translated."""

Text = TypeVar("Text")


def N_(text: str) -> str:
    """Marks a text for the catalogues; it is translated where it is shown."""
    return text


def known(tag: str) -> str:
    """Returns the language in LANGUAGES that a BCP 47 tag names; empty if there is none."""
    primary = tag.partition("-")[0].lower()
    return primary if primary in LANGUAGES else ""


def language_of(tag: str) -> str:
    """Returns the language in LANGUAGES that a BCP 47 tag names, or else the source language."""
    return known(tag) or SOURCE


def in_language(texts: Mapping[str, Text], language: str) -> Text | None:
    """Returns the text in a language, or else in the source language; None if there is neither.

    This is the rule for content that contains its own translations, such as the names of a pathway:
    a text that was written before a language was added is shown in Spanish.
    """
    return texts.get(language) or texts.get(SOURCE)
