"""Catalogues of words: the texts of a service in each language, as gettext keeps them.

A catalogue is FOLDER/LANGUAGE/LC_MESSAGES/messages.po. It is read when the process starts, so that
what is reviewed is what is shown. A text without a translation is shown in the source's language.
"""

from functools import cache
from io import BytesIO
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from chassis.languages import LANGUAGES


def path_of(folder: Path, language: str) -> Path:
    """Returns where the catalogue of a language is; there may be none."""
    return folder / language / "LC_MESSAGES" / "messages.po"


@cache
def catalogue(folder: Path, language: str) -> NullTranslations:
    """Returns the catalogue of one language; one that translates nothing, if there is no file."""
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
        """Returns a text in a language of the table."""
        return str(self._by_language[language].gettext(text))
