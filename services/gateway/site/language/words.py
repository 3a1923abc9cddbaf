"""What codes are called: every code that a service may answer, in words that a person at a desk
would use.

One table a kind, Spanish first; `word(kind, code)` gives the word in the reader's language. A code
that is new to this file is shown as it is: better a strange word than a broken page.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

import segno
from flask import current_app
from google.protobuf.descriptor import EnumDescriptor

from chassis import wire
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
from services.gateway.edge import departments
from services.gateway.site.language import i18n, vocabulary
from services.gateway.site.language.i18n import _
from services.gateway.site.language.vocabulary.line import REVERSED

# Tables that are not called as their enum is.
_SHORT = {
    "clock_kind": "clock",
    "actor_kind": "actor",
    "delivery_status": "delivery",
    "reference_state": "reference_status",
    "capacity_unit": "unit",
}


def snake(text: str) -> str:
    """DeclineReason is the table decline_reason; HTCDS writes TransgenderFeminine where our enums
    say transgender_feminine.
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", text).lower()


def kind_of(enum: EnumDescriptor) -> str:
    """What the table of an enum's words is called."""
    named = snake(enum.name)
    return _SHORT.get(named, named)


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
"""Kinds whose codes are protobuf enums: those for which the vocabulary has a table of their
name.
"""
OFFERED = frozenset(
    "override_reason age_band person_gender trafficking_status safe_channel giver assent manner"
    " explained campaign contact_kind speaker contact_outcome "
    "adult_ground giver_ground urgency_reason acknowledgement unsafe_answer unit accessibility"
    " decline_reason skip_reason plan_close_reason".split()
)
"""Of these the code lists, which forms offer whole; beside those that a step of a referral asks
for.
"""


def made_up() -> str:
    """What a demo network says of itself, on every page and in every file; empty in a real one."""
    if not current_app.config["DEMO"]:
        return ""
    return _(
        "Es una demostración: lo que se cuenta de personas y organizaciones, y las cifras, es"
        " inventado."
    )


def code(kind: str, value: str | int) -> str:
    """The word of an enum's value in the contract: STATE_SENT is `sent`, unspecified is empty; what
    came from a form is one already.
    """
    return wire.words(ENUMS[kind].DESCRIPTOR).get(value, "") if isinstance(value, int) else value


def codes(kind: str, values: Iterable[str | int]) -> list[str]:
    """The words of several."""
    return [code(kind, value) for value in values]


def number(kind: str, text: str) -> Any:
    """The enum's value of such a word; 0 for what is none. (Any: each enum's values have a type of
    their own to a type checker.)
    """
    return wire.number(ENUMS[kind], text)


def word(kind: str, value: str | int) -> str:
    """The word for a code or an enum's value, in the reader's language."""
    text = code(kind, value) if isinstance(value, int) else value
    spanish_word = spanish(kind, text)
    return _(spanish_word) if spanish_word else text.replace("_", " ")


def spanish(kind: str, text: str) -> str | None:
    """The word of the table, as it is looked up in the catalogues; None for a code that the table
    does not know.
    """
    table = vocabulary.TABLES[kind]
    return table.get(text) or table.get(text.lower()) or table.get(text.replace("-", "_"))


def options(kind: str) -> list[tuple[str, str]]:
    """All codes of a kind with their words, for a form, in the order of the table."""
    return [(key, _(text)) for key, text in vocabulary.TABLES[kind].items() if key]


def shares(service: Any) -> str:
    """With which authority a service shares what it hears, to stand behind its name; empty: with
    none.
    """
    return f" · {word('shares_with', service.shares_with)}" if service.shares_with else ""


def as_asked(question: str, answer: str) -> str:
    """Returns the answer to a question of the triage as the page words it, for the contract's; and
    the way back.
    """
    return {"yes": "no", "no": "yes"}.get(answer, answer) if question in REVERSED else answer


def answers_to(question: str) -> list[tuple[str, str]]:
    """Returns the contract's answers to a question of the triage with their words, yes first."""
    return [
        (as_asked(question, code), word("answer", code)) for code in vocabulary.TABLES["answer"]
    ]


def country(alpha2: str) -> str:
    """A country's name."""
    return str(i18n.locale().territories.get(alpha2) or _("otro país")) if alpha2 else "–"


def language(tag: str) -> str:
    """A language's name in the reader's language; of one that neither Babel nor our table knows,
    that it is another one.
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
    """A reference as one says it over a bad line."""
    return ", ".join(
        word("spelling", sign) if sign.isalpha() else sign for sign in reference if sign.isalnum()
    )


def qr(code: str) -> str:
    """An opaque code as a QR symbol, for paper: inline SVG (modules only, nothing of the code as
    text), correction M, a quiet zone of four modules (ISO/IEC 18004).
    """
    return str(
        segno.make(code, micro=False, error="m").svg_inline(
            scale=4, border=4, svgclass="qr", lineclass=None, light="#fff"
        )
    )


def department(subdivision: str) -> str:
    """A department's name, the same in all languages; of one that is not in our table, the
    country.
    """
    return vocabulary.DEPARTMENTS.get(subdivision) or country(subdivision.partition("-")[0])


def area(code: str) -> str:
    """An area's name: a municipality, a department, a country."""
    subdivision = code.partition(".")[0]
    return departments.MUNICIPALITIES.get(subdivision, {}).get(code) or (
        department(subdivision) if "-" in code else country(code)
    )


def place(subdivision: str, alpha2: str) -> str:
    """Where something is: department and country, or the country alone."""
    named = vocabulary.DEPARTMENTS.get(subdivision)
    return f"{named}, {country(alpha2)}" if named else country(alpha2)


def people(genders: Sequence[int]) -> str:
    """Whom a service takes: all people, or of which genders; empty where it has not said."""
    said = {code("gender", gender): word("gender", gender).lower() for gender in genders}
    return (
        _("todas las personas")
        if said.keys() >= vocabulary.TABLES["gender"].keys()
        else ", ".join(said.values())
    )


def department_short(subdivision: str) -> str:
    """The same where there is room for six letters."""
    name = department(subdivision)
    return departments.SHORT.get(subdivision) or (
        name if len(name) <= 6 else f"{name[:4].strip()}."
    )


def named(path: str) -> str:
    """The field that a path is about: of one in a list, the list's."""
    return next((part for part in reversed(path.split(".")) if not part.isdecimal()), path)


def field(path: str) -> str:
    """What a field of a request is called on the page."""
    return word("field", named(path))


def violation(reason: str, name: str = "") -> str:
    """What is wrong with a field, and what to do; of one that was left empty what is asked
    there.
    """
    if reason == "required" and name in vocabulary.TABLES["missing"]:
        return word("missing", name)
    return (
        word("violation", reason) if reason in vocabulary.TABLES["violation"] else _("no es válido")
    )


def conflict(reason: str, about: Sequence[str] = ()) -> str:
    """Why something is not possible now, and what to do; of a reason that has a table, by the first
    word of `about`.
    """
    closer = vocabulary.TABLES.get(reason, {})
    advice = next(
        (closer[word] for word in about if word in closer),
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
    """How long until another try."""
    if seconds > 5400:
        return i18n.ngettext(
            "Espere %(num)d hora y pruebe otra vez.",
            "Espere %(num)d horas y pruebe otra vez.",
            ceil(seconds / 3600),
        )
    minutes = max(1, ceil(seconds / 60))
    return i18n.ngettext(
        "Espere %(num)d minuto y pruebe otra vez.",
        "Espere %(num)d minutos y pruebe otra vez.",
        minutes,
    )
