"""Catalogues of words: the texts of a service in each language, in the format of gettext.

A catalogue is FOLDER/LANGUAGE/LC_MESSAGES/messages.po. Each process compiles this file in memory,
so that no compiled file can differ from the reviewed texts. A text without a translation is shown
in the source language.
"""

from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from chassis.languages import LANGUAGES


def path_of(folder: Path, language: str) -> Path:
    """Returns the path of the catalogue of a language; the file need not exist."""
    return folder / language / "LC_MESSAGES" / "messages.po"


@cache
def catalogue(folder: Path, language: str) -> NullTranslations:
    """Returns the catalogue of a language, or an empty catalogue if there is no file."""
    source = path_of(folder, language)
    if not source.exists():
        return NullTranslations()
    compiled = BytesIO()
    with source.open("rb") as po:
        write_mo(compiled, read_po(po, locale=language))
    compiled.seek(0)
    return Translations(compiled)


class Catalogues:
    """The catalogues of a folder, one for each language."""

    def __init__(self, folder: Path) -> None:
        self._by_language = {language: catalogue(folder, language) for language in LANGUAGES}

    def text(self, language: str, text: str) -> str:
        """Returns a text in one of the languages (chassis.languages.LANGUAGES)."""
        return str(self._by_language[language].gettext(text))
