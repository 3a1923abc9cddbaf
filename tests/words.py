"""The catalogues of words, brought up to date with the code: `python -m tests.words`.

Each text of the code gets an entry in the catalogue of each language of the table
(chassis/languages.py), an entry without a text in the code is removed, and a language without a
catalogue gets one. A new entry is empty: pages show the Spanish source until somebody translates
it. Prints the number of texts that are not translated, by catalogue.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from chassis.languages import LANGUAGES, SOURCE
from chassis.words import path_of
from services import gateway, notifications

KEYWORDS = {"_": None, "gettext": None, "N_": None, "ngettext": (1, 2)}
METHODS = [("**.py", "python"), ("**.html", "jinja2")]
TRANSLATED = [language for language in LANGUAGES if language != SOURCE]


Text = str | tuple[str, ...]
"""A text of the code; a pair of singular and plural, if the text counts things."""


def forms(text: object) -> tuple[str, ...]:
    """Returns the forms of a text or a translation; one empty form if there is no translation."""
    return tuple(map(str, text)) if isinstance(text, list | tuple) else (str(text or ""),)


@dataclass(frozen=True)
class Words:
    """The texts of a service, and the folder of its catalogues."""

    what: str
    source: Path
    folder: Path

    def source_texts(self) -> set[Text]:
        """Returns each text of the code; a text that counts things with its plural."""
        messages = extract_from_dir(self.source, METHODS, keywords=KEYWORDS)
        return {message for _file, _line, message, _comments, _context in messages if message}

    def catalogue(self, language: str) -> Catalog:
        """Reads a catalogue; returns an empty one if there is no file."""
        file = path_of(self.folder, language)
        if not file.exists():
            return Catalog(locale=language)
        with file.open("rb") as po:
            return read_po(po, locale=language)

    def translations(self, language: str) -> dict[Text, tuple[str, ...]]:
        """Returns the translation of each text in a catalogue: one form, or one for each plural."""
        return {
            message.id if isinstance(message.id, str) else tuple(message.id): forms(message.string)
            for message in self.catalogue(language)
            if message.id
        }

    def file_content(self, language: str) -> str:
        """Returns the up-to-date content of a catalogue's file.

        Existing entries keep their places; new entries come last, in alphabetical order.
        """
        source_texts, complete = self.source_texts(), Catalog(locale=language)
        for message in self.catalogue(language):
            if message.id in source_texts:
                complete.add(message.id, message.string)
        for text in sorted(source_texts - self.translations(language).keys(), key=str):
            complete.add(text)
        output = BytesIO()
        write_po(output, complete, width=0, omit_header=True)
        entries = output.getvalue().decode().rstrip()
        if language == "fr":  # a line must not begin with the mark that ends the last one
            entries = re.sub(r" (?=[?!:;»])|(?<=«) ", "\N{NO-BREAK SPACE}", entries)
            entries = re.sub(r"(?<=\w)'(?=[\w%{])", "\N{RIGHT SINGLE QUOTATION MARK}", entries)
        return f"{self._header(complete, language)}\n{entries}\n"

    def forms_in(self, language: str) -> Iterator[str]:
        """Yields each form of each text in a language."""
        for text in (
            self.source_texts() if language == SOURCE else self.translations(language).values()
        ):
            yield from forms(text)

    def missing(self, language: str) -> list[Text]:
        """Returns the texts that are not translated."""
        return [
            text
            for text, translations in self.translations(language).items()
            if not all(translations)
        ]

    def _header(self, catalogue: Catalog, language: str) -> str:
        name = Locale.parse(language).get_display_name("en")
        return (
            f"# {name}: {self.what}. The source is Spanish; `make words` adds what is missing"
            " and takes away what is unused.\n"
            'msgid ""\n'
            'msgstr ""\n'
            f'"Language: {language}\\n"\n'
            f'"Plural-Forms: {catalogue.plural_forms}\\n"\n'
            '"MIME-Version: 1.0\\n"\n'
            '"Content-Type: text/plain; charset=utf-8\\n"\n'
            '"Content-Transfer-Encoding: 8bit\\n"\n'
        )


def _of(package: Path, folder: str, subject: str) -> Words:
    return Words(subject, package, package / folder)


SERVICES = {
    "gateway": _of(
        Path(gateway.__file__).parent / "site",
        "language/translations",
        "what the pages say",
    ),
    "notifications": _of(Path(notifications.__file__).parent, "words", "notices and e-mails"),
}


def main() -> None:
    """Writes all catalogues."""
    for name, words in SERVICES.items():
        for language in TRANSLATED:
            file = path_of(words.folder, language)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(words.file_content(language))
            count = len(words.missing(language))
            sys.stdout.write(f"{name} {language}: {count} to be translated\n")


if __name__ == "__main__":
    main()
