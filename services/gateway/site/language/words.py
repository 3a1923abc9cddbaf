"""The words for the services' codes, as a person at a desk would say them.

There is one table per kind, in Spanish; `word(kind, code)` returns the word in the reader's
language. A code without a word is shown as it is, because a strange word is better than a broken
page.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

import segno
from flask import current_app, g
from google.protobuf.descriptor import EnumDescriptor

from chassis import wire
from protos import areas
from protos.contract.v1 import contract_pb2
from protos.notifications.v1 import notifications_pb2
from protos.partners.v1 import accounts_pb2, directory_pb2, members_pb2, open_data_pb2
from protos.referrals.v1 import (
    audit_pb2,
    contacts_pb2,
    enquiries_pb2,
    people_pb2,
    plans_pb2,
    referrals_pb2,
)
from services.gateway.site.language import _, i18n, vocabulary

# Names of tables that differ from the names of their enums.
_TABLE_NAMES = {
    "clock_kind": "clock",
    "actor_kind": "actor",
    "delivery_status": "delivery",
    "reference_state": "reference_status",
    "capacity_unit": "unit",
}
# Abbreviations that fit into a column, for names that would be unclear if they were cut.
_SHORT_DEPARTMENTS = {
    "NI-AN": "C.Nte.",
    "NI-AS": "C.Sur",
    "NI-CO": "Chon.",
    "NI-ES": "Estelí",
    "NI-GR": "Gran.",
    "NI-MS": "Masa.",
    "NI-MT": "Mata.",
    "NI-NS": "N.Seg.",
    "NI-SJ": "S.Juan",
    "NI-MD": "Madriz",
    "NI-CA": "Carazo",
}


def snake(text: str) -> str:
    """Converts a name to snake case: the table of the enum DeclineReason is decline_reason.

    This also converts codes of HTCDS: TransgenderFeminine is transgender_feminine in our enums.
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", text).lower()


def kind_of(enum: EnumDescriptor) -> str:
    """Returns the name of the table for an enum."""
    table_name = snake(enum.name)
    return _TABLE_NAMES.get(table_name, table_name)


ENUMS: Mapping[str, Any] = {
    kind: getattr(module, enum.name)
    for module in (
        contract_pb2,
        accounts_pb2,
        directory_pb2,
        members_pb2,
        open_data_pb2,
        referrals_pb2,
        people_pb2,
        contacts_pb2,
        enquiries_pb2,
        plans_pb2,
        audit_pb2,
        notifications_pb2,
    )
    for enum in module.DESCRIPTOR.enum_types_by_name.values()
    if (kind := kind_of(enum)) in vocabulary.TABLES
}
"""Enums by kind, for the kinds that have a table in the vocabulary."""


def demo_statement() -> str:
    """Returns the statement that all data are invented; "" unless this is a demo network.

    Every page and every file of a demo network shows it.
    """
    return (
        _(
            "Es una demostración: lo que se cuenta de personas y organizaciones, y las cifras, es"
            " inventado."
        )
        if current_app.config["DEMO"]
        else ""
    )


def code(kind: str, value: str | int) -> str:
    """Returns the contract's word for an enum's value: `sent` for STATE_SENT.

    Returns "" for an unspecified value. A text comes from a form, so it is a word of the contract
    already and is returned unchanged.
    """
    return wire.words(ENUMS[kind].DESCRIPTOR).get(value, "") if isinstance(value, int) else value


def codes(kind: str, values: Iterable[str | int]) -> list[str]:
    """Returns the contract's words for several values of an enum."""
    return [code(kind, value) for value in values]


def number(kind: str, text: str) -> Any:
    """Returns the enum's value for a word of the contract; 0 for any other text.

    The declared type is Any, because for a type checker each enum's values have their own type.
    """
    return wire.number(ENUMS[kind], text)


def word(kind: str, value: str | int) -> str:
    """Returns the word for a code or an enum's value, in the reader's language."""
    text = code(kind, value)
    spanish_word = spanish(kind, text)
    return _(spanish_word) if spanish_word else text.replace("_", " ")


def spanish(kind: str, text: str) -> str | None:
    """Returns the Spanish word, which is the catalogues' key; None for an unknown code."""
    table = vocabulary.TABLES[kind]
    return table.get(text) or table.get(text.lower()) or table.get(text.replace("-", "_"))


def end_of_consent(receipt: people_pb2.Receipt) -> str:
    """Describes the latest end of a consent: its last day or, for a child, an earlier birthday.

    A consent that somebody else gave for a child ends when she is of age; if it was given because
    she was too young to be asked, it ends when she can be asked.
    """
    last_day = i18n.day(receipt.until_time)
    if not receipt.assent_code or receipt.giver_code == people_pb2.GIVER_PERSON:
        return last_day
    if receipt.assent_code == people_pb2.ASSENT_TOO_YOUNG:
        return _("%(day)s, o antes, al cumplir 12 años", day=last_day)
    return _("%(day)s, o antes, al cumplir 18 años", day=last_day)


def options(kind: str) -> list[tuple[str, str]]:
    """Returns all codes of a kind with their words, in the order of the table, for a form."""
    return [(key, _(text)) for key, text in vocabulary.TABLES[kind].items() if key]


def call_days(local_date: str, past_hours: Iterable[int]) -> list[tuple[str, str]]:
    """Returns the days for a call, each with its weekday; `local_date` is today's date where the
    caller is.

    After midnight, people say "tomorrow" and mean the day that has begun. If hours of today are
    over, today has the remaining hours, or is left out.
    """
    (today, text), *later_days = (
        (code, f"{text} ({i18n.weekday(local_date, number)})")
        for number, (code, text) in enumerate(options("day_band"))
    )
    past_codes = codes("hour_band", past_hours)
    left = [hours for code, hours in options("hour_band") if code not in past_codes]
    if not left:
        return later_days
    return [(today, f"{text}: {'; '.join(left)}" if past_codes else text), *later_days]


def shares(service: Any) -> str:
    """Returns the authority with which a service shares information, to be put after its name.

    Returns "" if the service shares with none.
    """
    return f" · {word('shares_with', service.shares_with)}" if service.shares_with else ""


def as_asked(question: str, answer: str) -> str:
    """Converts an answer to a triage question from the page's wording to the contract's, or back.

    Questions in `line.REVERSED` swap yes and no.
    """
    return (
        {"yes": "no", "no": "yes"}.get(answer, answer)
        if question in vocabulary.line.REVERSED
        else answer
    )


def answers_to(question: str) -> list[tuple[str, str]]:
    """Returns the contract's answers to a triage question, with their words, yes first."""
    return [
        (as_asked(question, code), word("answer", code)) for code in vocabulary.TABLES["answer"]
    ]


def country(alpha2: str) -> str:
    return str(i18n.locale().territories.get(alpha2) or _("otro país")) if alpha2 else "–"


def language(tag: str) -> str:
    """Returns a language's name in the reader's language.

    If neither Babel nor our table knows the language, returns the words for "another language".
    """
    if not tag:
        return "–"
    base = tag.lower() if tag.startswith("x-") else tag.lower().partition("-")[0]
    if base in vocabulary.TABLES["language"]:
        return word("language", base)
    name = str(i18n.locale().languages.get(base) or _("otro idioma"))
    region = next(
        (part for part in tag.upper().split("-")[1:] if part in i18n.locale().territories), ""
    )
    return f"{name} ({country(region)})" if region and base in i18n.locale().languages else name


def spelled(reference: str) -> str:
    """Spells out a reference, for reading aloud over a bad line."""
    return ", ".join(
        word("spelling", sign) if sign.isalpha() else sign for sign in reference if sign.isalnum()
    )


def qr(code: str) -> str:
    """Returns an opaque code as a QR symbol for paper, as inline SVG.

    The SVG contains only the modules, and never the code as text. The symbol has error correction M
    or better and a quiet zone of four modules (ISO/IEC 18004).
    """
    return str(
        segno.make(code, micro=False, error="m").svg_inline(
            scale=4, border=4, svgclass="qr", lineclass=None, light="#fff"
        )
    )


def department(subdivision: str) -> str:
    """Returns a department's name, which is the same in all languages.

    For a department that is not in our table, returns its country's name.
    """
    return vocabulary.DEPARTMENTS.get(subdivision) or country(subdivision.partition("-")[0])


def area(code: str) -> str:
    """Returns the name of an area: a municipality, a department or a country."""
    subdivision = code.partition(".")[0]
    return areas.MUNICIPALITIES.get(subdivision, {}).get(code) or (
        department(subdivision) if "-" in code else country(code)
    )


def place(subdivision: str, alpha2: str) -> str:
    """Returns the names of department and country; only the country's for an unknown department."""
    name = vocabulary.DEPARTMENTS.get(subdivision)
    return f"{name}, {country(alpha2)}" if name else country(alpha2)


def department_abroad(subdivision: str) -> str:
    """Returns a department's name, with its country's unless that is the worker's own country.

    Departments of two countries may have the same name.
    """
    me, alpha2 = g.get("me"), subdivision.partition("-")[0]
    return department(subdivision) if me and me.country == alpha2 else place(subdivision, alpha2)


def genders_text(genders: Sequence[int]) -> str:
    """Returns the genders that a service accepts, in words. Returns "" if it has not stated any."""
    genders_by_code = {code("gender", gender): word("gender", gender).lower() for gender in genders}
    return (
        _("todas las personas")
        if genders_by_code.keys() >= vocabulary.TABLES["gender"].keys()
        else ", ".join(genders_by_code.values())
    )


def department_short(subdivision: str) -> str:
    """Returns the department's name, abbreviated to at most six characters."""
    name = department(subdivision)
    return _SHORT_DEPARTMENTS.get(subdivision) or (
        name if len(name) <= 6 else f"{name[:4].strip()}."
    )


def field_name(path: str) -> str:
    """Returns the field name at the end of a path.

    For an entry of a list, returns the name of the list.
    """
    return next((part for part in reversed(path.split(".")) if not part.isdecimal()), path)


def field(path: str) -> str:
    """Returns the label of a request's field on the page."""
    return word("field", field_name(path))


def violation(reason: str, name: str = "") -> str:
    """Returns a text that names the problem of a field and says what to do.

    Some reasons have a table with the fields' own words; the table of `required` is `missing`.
    """
    table = "missing" if reason == "required" else reason
    if name in vocabulary.TABLES.get(table, {}):
        return word(table, name)
    return (
        word("violation", reason) if reason in vocabulary.TABLES["violation"] else _("no es válido")
    )


def conflict(reason: str, about: Sequence[str] = ()) -> str:
    """Returns a text that says why something is not possible now, and what to do.

    Some reasons have a table of their own; the first known word of `about` selects its text.
    """
    own_texts = vocabulary.TABLES.get(reason, {})
    advice = next(
        (own_texts[word] for word in about if word in own_texts),
        vocabulary.TABLES["conflict"].get(reason),
    )
    return (
        _(advice)
        if advice
        else _(
            "No es posible en este estado. Vuelva a abrir la página para ver qué se puede hacer."
        )
    )


def wait(seconds: float) -> str:
    """Returns a text that says when to try again."""
    if seconds > 5400:
        return i18n.ngettext(
            "Espere %(num)d hora y pruebe otra vez.",
            "Espere %(num)d horas y pruebe otra vez.",
            ceil(seconds / 3600),
        )
    return i18n.ngettext(
        "Espere %(num)d minuto y pruebe otra vez.",
        "Espere %(num)d minutos y pruebe otra vez.",
        max(1, ceil(seconds / 60)),
    )
