"""The page of code lists (docs/codes.md).

The page lists every enum that REST uses, with its words in three languages, from the .proto files
and the vocabulary.
"""

import sys
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor

from chassis.languages import LANGUAGES
from chassis.words import catalogue
from protos.stubs import SERVICES
from services.gateway.api import convert
from services.gateway.api.binding import bindings
from services.gateway.site.language import i18n, vocabulary, words

HEAD = """\
# Code lists

Printed by `python -m tests.codes_page` from the `.proto` files and the words of the pages; a test
fails when the page is out of date.

In REST a code is the word in the first column, in gRPC the enum value in the second. You choose
what your system shows to people: the words here are those of Enlace's own pages, and free to use. A
dash means that no page has a word for the code.

Lists may grow ([versions](versioning.md)): show a code that you do not know unchanged, and do not
refuse it.

Not listed here: needs, which are in the taxonomy (`GET /api/v1/taxonomy`, with names in three
languages); the reasons of a refusal ([guide](api.md#when-the-answer-is-no)); countries, departments
and languages, which follow ISO 3166-1, ISO 3166-2 and BCP 47.
"""


def text() -> str:
    """Returns all lists, ordered by name."""
    used: dict[str, set[str]] = {}
    enums: dict[str, EnumDescriptor] = {}
    seen: set[str] = set()
    for service in SERVICES:
        for rpc in service.methods:
            if bindings(rpc):
                for message in (rpc.input_type, rpc.output_type):
                    _walk(message, used, enums, seen)
    return (
        "\n".join(
            [
                HEAD,
                *(
                    line
                    for name in sorted(enums)
                    for line in _list(enums[name], sorted(used[name]))
                ),
            ]
        ).rstrip()
        + "\n"
    )


def _walk(
    message: Descriptor, used: dict[str, set[str]], enums: dict[str, EnumDescriptor], seen: set[str]
) -> None:
    if message.full_name in seen:
        return
    seen.add(message.full_name)
    for field in message.fields:
        if field.enum_type is not None:
            enums[field.enum_type.full_name] = field.enum_type
            used.setdefault(field.enum_type.full_name, set()).add(f"{message.name}.{field.name}")
        if field.message_type is not None:
            _walk(field.message_type, used, enums, seen)


def _list(enum: EnumDescriptor, fields: list[str]) -> Iterator[str]:
    kind = _kind(enum)
    yield f"## {enum.name}"
    yield ""
    yield f"`{enum.full_name}`, in {', '.join(f'`{field}`' for field in fields)}."
    yield ""
    yield f"| code | gRPC | {' | '.join(LANGUAGES.values())} |"
    yield f"|---|---|{'---|' * len(LANGUAGES)}"
    for value in enum.values:
        word = convert.word(enum, value.number)
        if word is not None:
            yield f"| `{word}` | `{value.name}` | {' | '.join(_words(kind, word))} |"
    yield ""


def _kind(enum: EnumDescriptor) -> str:
    """Returns the name of the vocabulary table with an enum's words; "" if there is no table."""
    kind = words.kind_of(enum)
    return kind if kind in vocabulary.TABLES else ""


def _words(kind: str, code: str) -> list[str]:
    spanish: Any = words.spanish(kind, code) if kind else None
    if not spanish:
        return ["–"] * len(LANGUAGES)
    translations = (catalogue(i18n.CATALOGUES, language).gettext(spanish) for language in LANGUAGES)
    return [text.replace("|", "\\|") for text in translations]


if __name__ == "__main__":
    sys.stdout.write(text())
