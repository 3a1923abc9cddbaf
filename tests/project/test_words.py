"""The catalogues contain exactly the texts of the code, translated with their placeholders."""

from __future__ import annotations

import re

import pytest
from babel import Locale

from chassis.languages import LANGUAGES, SOURCE, in_language, language_of
from chassis.words import Catalogues, path_of
from tests.words import SERVICES, TRANSLATED, forms

PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|{\w+}")
CATALOGUES = [(name, language) for name in SERVICES for language in TRANSLATED]


@pytest.mark.parametrize(("service", "language"), CATALOGUES)
def test_no_text_is_missing_in_a_catalogue_and_none_is_left_over(
    service: str, language: str
) -> None:
    words = SERVICES[service]
    translated_texts = words.translations(language).keys()
    assert words.source_texts() - translated_texts == set()
    assert translated_texts - words.source_texts() == set()
    assert path_of(words.folder, language).read_text() == words.file_content(language), "make words"


@pytest.mark.parametrize(("service", "language"), CATALOGUES)
def test_every_text_is_translated_with_its_placeholders(service: str, language: str) -> None:
    words = SERVICES[service]
    assert words.missing(language) == []
    assert not any(message.fuzzy for message in words.catalogue(language) if message.id)
    for text, translation in words.translations(language).items():
        placeholders = set(PLACEHOLDER.findall(forms(text)[0]))
        assert [
            form for form in translation if set(PLACEHOLDER.findall(form)) != placeholders
        ] == [], text


@pytest.mark.parametrize(("service", "language"), CATALOGUES)
def test_a_translation_quotes_a_label_by_the_translated_name_of_the_label(
    service: str, language: str
) -> None:
    texts = {
        forms(text)[0]: translation[0]
        for text, translation in SERVICES[service].translations(language).items()
    }
    assert [
        (text, label)
        for text, translation in texts.items()
        for label in re.findall("«([^»]+)»", text)
        if label in texts and texts[label].removeprefix("the ") not in translation
    ] == []


def test_cldr_names_every_language_as_the_table_does() -> None:
    assert SOURCE in LANGUAGES
    for language, name in LANGUAGES.items():
        assert (Locale.parse(language).get_display_name() or "").lower() == name.lower()


def test_a_text_that_is_not_translated_is_shown_in_spanish() -> None:
    words = Catalogues(SERVICES["notifications"].folder)
    assert words.text("en", "Nadie tradujo esto.") == "Nadie tradujo esto."
    assert words.text("es", "Se retiró una remisión.") == "Se retiró una remisión."


@pytest.mark.parametrize(
    ("language", "expected"), [("es", "uno"), ("en", "one"), ("fr", "uno"), ("qu", "uno")]
)
def test_content_without_a_translation_is_shown_in_spanish(language: str, expected: str) -> None:
    assert in_language({"es": "uno", "en": "one", "fr": ""}, language) == expected
    assert in_language({}, language) is None


def test_a_language_tag_maps_to_a_supported_language_or_spanish() -> None:
    assert [language_of(tag) for tag in ("fr-CA", "EN", "miq", "")] == ["fr", "en", "es", "es"]
