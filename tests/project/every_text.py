"""Every text that a person reads, in a language in which each translation is in brackets.

`python -m tests.project.every_text LANGUAGE` renders each page, poster and table (signed in with
answers in which every field is set, signed in with empty answers, signed out, and after a form
without any field), each word of the vocabulary, each notice and each e-mail. The program prints as
JSON, by place, the words outside of the brackets, which are in no catalogue.

Limitation: the program reads no PDF; a printed sheet has the words of its page.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from typing import Any

from babel import Locale
from google.protobuf.message_factory import GetMessageClass
from werkzeug.test import TestResponse

from chassis.ids import short_code
from chassis.languages import LANGUAGES
from protos.areas import DEPARTMENTS, MUNICIPALITIES
from services.gateway.site.language import vocabulary, words
from services.notifications.domain.notices import NOTICES
from services.notifications.domain.texts import ACCOUNT
from services.notifications.words import account_mail, application_mail, invitation_mail, mail, text
from services.referrals.line.usecases.advice import shipped_cards as shipped_cards
from services.referrals.plans.usecases.pathways import shipped_pathways as shipped_pathways
from tests.gateway.api_gateway import ID, OUTPUTS
from tests.gateway.pages_gateway import FakePageServices, enter, pages, routes, token_of

LEFT, RIGHT = "⟦", "⟧"
WORD = re.compile(r"[^\W\d_]{2,}")
READ_ATTRIBUTES = ("alt", "aria-label", "placeholder", "title", "data-label", "data-title")
UNREAD_TAGS = ("script", "style", "code", "pre", "textarea", "svg")
ADDRESS = re.compile(r"https?://\S*")
NAMES = {
    "home.status": "partners referrals notifications",  # the names of the services
    "webhooks.delivery": "webhook id sha ms",  # names of headers, and a unit
    "campaigns.country": "PDF SVG",
    "inbox.inbox": " ".join(WORD.findall(short_code(ID))),
    "campaigns.placed": "PDF SVG",
    "knowledge.show": "PDF",
}
"""Names that a page shows in every language, by endpoint."""


class Reader(HTMLParser):
    """The texts of a page: those between its tags, and attributes that are shown or read aloud."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.body, self.attributes, self._unread = "", list[str](), 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.attributes += [
            value
            for name, value in attributes.items()
            if name in READ_ATTRIBUTES
            or (name.startswith("data-") and " " in value)  # shown by a script
        ]
        if tag == "meta" and attributes.get("name") == "description":
            self.attributes.append(attributes["content"])
        self.body += "\n"
        self._unread += tag in UNREAD_TAGS

    def handle_endtag(self, tag: str) -> None:
        self.body += "\n"
        self._unread -= tag in UNREAD_TAGS

    def handle_data(self, data: str) -> None:
        self.body += "" if self._unread else data


def read(answer: TestResponse) -> list[str]:
    """Returns the texts of a page, of the names in a table, or of a poster."""
    if answer.mimetype == "text/csv":
        return [row["name"] for row in csv.DictReader(io.StringIO(answer.text.lstrip("\ufeff")))]
    if answer.mimetype == "image/svg+xml":
        return [" ".join(re.findall(r"<text[^>]*>(.*?)</text>", answer.text))]
    reader = Reader(answer.text)
    return [reader.body, *reader.attributes]


def text_outside_brackets(shown_text: str) -> str:
    """Returns the part of a text that is outside of all brackets."""
    depth, unbracketed = 0, list[str]()
    for sign in shown_text:
        depth += (sign == LEFT) - (sign == RIGHT)
        unbracketed.append(sign if not depth and sign != RIGHT else " ")
    return "".join(unbracketed)


@cache
def known_words(language: str) -> frozenset[str]:
    """Returns words that no catalogue has to contain.

    They are the words of CLDR, names of places, languages' own names, and words in the answers of
    the fake services.
    """
    locale = Locale.parse(language)
    known: list[Any] = [
        *(
            name
            for kind in (locale.months, locale.days)
            for context in kind.values()
            for width in context.values()
            for name in width.values()
        ),
        *locale.territories.values(),
        *locale.languages.values(),
        *DEPARTMENTS.values(),
        *(name for places in MUNICIPALITIES.values() for name in places.values()),
        *LANGUAGES.values(),
        "Enlace Llama Vive h min Rosa Méndez Casa Puentes Albergue Vivienda",
    ]
    return frozenset(WORD.findall(" ".join(map(str, known))))


def untranslated(texts: list[str], language: str, known: str = "") -> list[str]:
    """Returns the words of the texts that are in no catalogue."""
    return [
        word
        for shown_text in texts
        for word in WORD.findall(ADDRESS.sub("", text_outside_brackets(shown_text)))
        if word not in known_words(language) and word not in known.split()
    ]


def is_page(endpoint: str, answer: TestResponse) -> bool:
    """Returns whether a person reads the answer.

    Files and redirects are not read, nor is the page of all components, which is for developers.
    """
    return (
        answer.mimetype in ("text/html", "text/csv", "image/svg+xml")
        and not 300 <= answer.status_code < 400
        and endpoint != "development.components"
    )


def answers_in(language: str) -> Iterator[tuple[str, str, TestResponse]]:
    """Yields (state, endpoint, answer) of each page."""
    full, empty = FakePageServices(), FakePageServices()
    for rpc, output in OUTPUTS.items():
        if rpc not in ("IssueToken", "SignIn", "BatchGet", "ListTaxonomyTerms"):
            empty.answers[rpc] = GetMessageClass(output)()
    readers = {
        "full": enter(pages(full).test_client()),
        "empty": enter(pages(empty).test_client()),
        "public": pages(full).test_client(),
    }
    for kind, client in readers.items():
        for endpoint, path in routes(client.application):
            answer = client.get(f"{path}?lang={language}")
            if is_page(endpoint, answer):
                yield kind, endpoint, answer
    client = readers["full"]
    token = token_of(client.get("/inbox").text)
    for endpoint, path in routes(client.application, "POST"):
        if not endpoint.startswith("signin."):  # these end the session
            answer = client.post(f"{path}?lang={language}", data={"form_token": token})
            if is_page(endpoint, answer):
                yield "refused", endpoint, answer


def other_texts(language: str) -> Iterator[tuple[str, str]]:
    """Yields (place, text) of each word of the vocabulary, each notice and each e-mail."""
    with pages(FakePageServices()).test_request_context(f"/?lang={language}"):
        for kind, table in vocabulary.TABLES.items():
            for code in table:
                yield f"word {kind} {code}", words.word(kind, code)
    for notice in NOTICES:
        yield f"notice {notice.kind}", text(notice.kind, language)
    fields = ("1", "2", "3", language, "//")
    letters = {
        **{kind: account_mail("1", kind, "2", "3", language, "//") for kind in ACCOUNT},
        "task": mail(*fields),
        "invitation": invitation_mail(*fields),
        "application": application_mail(*fields),
    }
    for name, letter in letters.items():
        assert letter
        yield f"subject {name}", letter.subject
        yield f"body {name}", letter.body


def main(language: str) -> None:
    """Prints the words that are in no catalogue, and the number of places searched."""
    words_by_place = {
        f"{state} {endpoint}": untranslated(read(answer), language, NAMES.get(endpoint, ""))
        for state, endpoint, answer in answers_in(language)
    }
    words_by_place |= {
        place: untranslated([shown], language) for place, shown in other_texts(language)
    }
    assert shipped_cards(), "referrals starts with the cards of the other languages"
    assert shipped_pathways()
    report = {
        "places": len(words_by_place),
        "untranslated": {place: words for place, words in words_by_place.items() if words},
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1])
