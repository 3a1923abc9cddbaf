"""The form of a consent: points explained to the person, her answers, and how she gave them.

The form on each of the three pages carries the content of the other two, so that "back" works and
nothing appears in a URL. A receipt is made from the form of the last page alone. No answer is
preset.
"""

from collections.abc import Mapping
from typing import Any

from flask import request
from werkzeug.datastructures import MultiDict

from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as r
from services.gateway.site.language import _, vocabulary, words
from services.gateway.site.parts import forms

POINTS = tuple(vocabulary.TABLES["explained"])
ANSWERS = {f"answer_{code}": code for code in vocabulary.TABLES["field_group"]}
FIELDS_OF_PAGE: Mapping[str, tuple[str, ...]] = {
    "points": ("explained_codes",),
    "answers": (*ANSWERS, "purpose_codes"),
    "manner": (
        "until_time",
        "adult_ground_code",
        "giver_code",
        "giver_ground_code",
        "assent_code",
        "manner_code",
        "in_private",
        "interpreter",
    ),
}
"""The fields of each page, in the order of the pages."""
PREVIOUS_PAGE = {"answers": "points", "manner": "answers", "refused": "answers"}
NEXT_PAGE = {"points": "answers", "answers": "manner"}
CHILD, UNKNOWN, ADULT = "child", "unknown", "adult"
AGES: Mapping[int, str] = {
    r.AGE_BAND_UNSPECIFIED: UNKNOWN,
    r.AGE_BAND_0_TO_11: CHILD,
    r.AGE_BAND_12_TO_17: CHILD,
}
"""The age groups that determine who may give a consent, by age band.

Bands that are not listed are bands of adults.
"""
NOT_ADULT = "unknown"
"""The form's answer that nothing shows that the person is an adult.

The contract has no code for this answer.
"""


def next_page(recipient: str, age: str) -> tuple[str, dict[str, str]]:
    """Returns the page to show next, with its problems: usually the first incomplete page.

    Returns `refused` as the page if the person said yes to nothing, and "" if the form is complete.
    """
    if forms.text("recipient") != recipient:
        return "points", {
            "_form": _(
                "Cambió el servicio: su permiso es para una sola organización."
                " Explíqueselo otra vez."
            )
        }
    shown_page = forms.text("page")
    if "back" in request.form:
        return PREVIOUS_PAGE.get(shown_page, "points"), {}
    for page in FIELDS_OF_PAGE:
        if errors := _missing(page, age):
            return page, errors
        if page == "answers" and not agreed_groups():
            return "refused", {}
        if page == shown_page and page in NEXT_PAGE:
            return NEXT_PAGE[page], {}
    return "", {}


def _missing(page: str, age: str) -> dict[str, str]:
    """Returns the questions of a page that have no answer yet, each with its problem."""
    decided_for_her = is_decided_for_child()
    if page == "points":
        explained_codes = (
            POINTS if age != ADULT and decided_for_her else forms.texts("explained_codes")
        )
        return {
            f"point_{code}": _("falta; márquelo cuando se lo haya explicado")
            for code in POINTS
            if code not in explained_codes
        }
    if page == "answers":
        rest = "no" if forms.flag("no_to_the_rest") else ""
        unanswered = {
            name: _("falta su respuesta: sí o no")
            for name in ANSWERS
            if (forms.text(name) or rest) not in ("yes", "no")
        }
        no_purpose = {"purpose_codes": words.violation("required")}
        return unanswered if forms.text("purpose_codes") else unanswered | no_purpose
    may_be_minor = decided_for_her or forms.text("adult_ground_code") == NOT_ADULT
    is_minor = age == CHILD or (age == UNKNOWN and may_be_minor)
    questions = {
        "giver_code": age != UNKNOWN or is_minor,
        "assent_code": is_minor,
        "adult_ground_code": age == UNKNOWN and not decided_for_her,
        "manner_code": True,
    }
    return {
        name: words.violation("required", name)
        for name, is_asked in questions.items()
        if is_asked and not forms.text(name)
    }


def is_decided_for_child() -> bool:
    """Returns whether two workers decide in the child's best interest, according to the form.

    They do so if the child can't be asked for consent, or said no.
    """
    return forms.flag("unasked")


def agreed_groups() -> list[str]:
    """Returns the field groups to which the person said yes."""
    return [code for name, code in ANSWERS.items() if forms.text(name) == "yes"]


def values_for(recipient: str) -> MultiDict[str, str]:
    """Returns the values entered so far if they are for this recipient; else none.

    The button `no_to_the_rest` answers no for each group that has no answer yet.
    """
    if forms.text("recipient") != recipient:
        return MultiDict()
    values = MultiDict(request.form)
    if forms.flag("no_to_the_rest"):
        for name in ANSWERS:
            values.setdefault(name, "no")
    return values


def page_of(errors: Mapping[str, Any]) -> str:
    """Returns the page on which the first of these problems can be corrected."""
    return next(
        (
            page
            for page, fields in FIELDS_OF_PAGE.items()
            if errors.keys() & {*fields, *(("field_groups",) if page == "answers" else ())}
        ),
        "manner",
    )


def labels() -> dict[str, str]:
    """Returns the labels that a summary of problems uses for the questions."""
    return {
        **{f"point_{code}": words.word("explained", code).rstrip(".") for code in POINTS},
        **{name: words.word("field_group", code) for name, code in ANSWERS.items()},
    }


def receipt(person_id: str, recipient: str) -> p.Receipt:
    """Returns the receipt for the consent as the person gave it.

    The receipt has exactly the points that were ticked, and the groups to which she said yes.
    """
    receipt = forms.filled(p.Receipt(person_id=person_id, recipient_organization_id=recipient))
    # an adult gives the consent herself, unless the form names somebody else
    if receipt.adult_ground_code and not receipt.giver_code:
        receipt.giver_code = p.GIVER_PERSON
    if receipt.giver_ground_code:  # the service determines the end of such a consent
        receipt.ClearField("until_time")
    del receipt.field_groups[:]
    receipt.field_groups.extend(
        p.FieldGroup.ValueType(words.number("field_group", code)) for code in agreed_groups()
    )
    return receipt
