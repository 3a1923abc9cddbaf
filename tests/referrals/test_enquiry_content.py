"""The content of an enquiry, counts of similar cases, and the draft that follows an enquiry."""

from dataclasses import replace
from functools import partial

import pytest

from services.referrals.files.wire.messages import department
from services.referrals.network.domain.deadline import Urgency
from services.referrals.network.domain.service import Attribute, Service
from services.referrals.referrals.domain.draft import Draft
from services.referrals.referrals.domain.enquiry import (
    Content,
    attribute_to_omit,
    disclosed_count,
    unused_attributes,
)
from tests.builders import NOON, violations_of
from tests.referrals.test_enquiry_rules import CONTENT, SERVICES, matched_enquiry

A = Attribute
TWO_SERVICES = [
    Service("a", "o", frozenset({A.GENDER})),
    Service("b", "o", frozenset({A.LANGUAGES})),
]


@pytest.mark.parametrize(
    ("content", "services", "unused"),
    [
        (CONTENT, TWO_SERVICES, (A.DEPARTMENT, A.DEPENDANTS, A.AGE_BAND)),
        (CONTENT, [*TWO_SERVICES, Service("c", "o", None)], ()),
        (CONTENT, SERVICES, CONTENT.attributes),  # services without a criterion
        (
            Content("HOU.EMG", Urgency.NORMAL),
            TWO_SERVICES,
            (),
        ),  # data that are missing need no omission
    ],
)
def test_an_attribute_is_unused_only_if_no_service_may_use_it(
    content: Content, services: list[Service], unused: tuple[Attribute, ...]
) -> None:
    assert unused_attributes(content, services) == unused


def test_a_disclosed_count_is_noisy_and_rounded() -> None:
    noise = bytes.fromhex("ff00" * 2)  # every count becomes two less and is rounded down
    assert [disclosed_count(count, noise) for count in (0, 1, 4, 6, 7, 11, 12, 51, 999)] == [
        0,
        0,
        0,
        0,
        5,
        5,
        10,
        45,
        50,
    ]
    assert disclosed_count(4, bytes.fromhex("07ff")) == 5, "noise may add five"
    assert disclosed_count(12, bytes.fromhex("ff07")) == 5, "noise may subtract five"


@pytest.mark.parametrize(
    ("similar", "similar_without", "omitted"),
    [
        (7, {A.DEPARTMENT: 90}, None),
        (1, {A.DEPARTMENT: 3, A.AGE_BAND: 12}, A.AGE_BAND),
        # if no omission helps more than another, the most distinctive attribute is omitted
        (0, {A.DEPARTMENT: 0, A.AGE_BAND: 0}, A.DEPARTMENT),
        (3, {A.DEPARTMENT: 0, A.AGE_BAND: 3}, A.DEPARTMENT),
        (0, {}, None),
        (4, {A.DEPARTMENT: 90}, A.DEPARTMENT),
        (5, {A.DEPARTMENT: 90}, None),
    ],
)
def test_the_attribute_whose_omission_leaves_the_most_similar_cases_is_omitted(
    similar: int, similar_without: dict[Attribute, int], omitted: Attribute | None
) -> None:
    assert attribute_to_omit(similar, similar_without) is omitted


def test_omitting_attributes_keeps_the_other_data() -> None:
    assert CONTENT.without(list(Attribute)) == Content(
        "HOU.EMG", Urgency.EMERGENCY, accessibility_codes=("step_free",), country="NI"
    )


def test_an_unknown_need_is_refused() -> None:
    unknown = replace(CONTENT, need_code="HOUSE")
    assert violations_of(unknown.check) == [("content.need_code", "unknown_code")]


def test_a_department_of_another_country_is_refused() -> None:
    parse = partial(department, "CR-SJ", "content.department", "NI")
    assert violations_of(parse) == [("content.department", "unknown_code")]


@pytest.mark.parametrize(("country", "code"), [("NI", "NI-CI"), ("NI", ""), ("", "NI-CI")])
def test_a_department_may_be_in_its_country_or_one_of_the_two_may_be_unknown(
    country: str, code: str
) -> None:
    assert department(code, "content.department", country) == code


def test_similar_cases_are_counted_per_language_and_in_the_country_of_the_department() -> None:
    content = replace(CONTENT, country="", languages=("es", "miq"))
    assert content.questions == [
        replace(CONTENT, languages=(language,)) for language in ("es", "miq")
    ]
    coarse_content = replace(CONTENT, languages=(), department="")
    assert coarse_content.questions == [coarse_content]


def test_the_text_of_a_question_states_the_country_and_each_counted_attribute() -> None:
    assert CONTENT.question_text == (
        "NI|department=NI-CI|languages=('es',)|dependants=1|age_band=18-24|gender=Feminine"
    )
    assert Content("HOU.EMG", Urgency.NORMAL).question_text == ""


@pytest.mark.parametrize("contact_id", ["", "contact"])
def test_an_enquiry_completes_the_need_urgency_service_and_contact_of_an_empty_draft(
    contact_id: str,
) -> None:
    enquiry = replace(matched_enquiry(), contact_id=contact_id)
    assert Draft().from_enquiry(enquiry) == Draft(
        need_code="HOU.EMG",
        urgency=Urgency.EMERGENCY,
        service_id="a",
        contact_id=contact_id or None,
    )


def test_an_enquiry_replaces_nothing_that_the_request_sets() -> None:
    draft = Draft(
        need_code="MED.SVC",
        urgency=Urgency.NORMAL,
        service_id="other",
        receipt_id="receipt",
        contact_id="other contact",
        assault_time=NOON,
        urgency_reason_code="calm",
        unsafe_code="named",
        unsafe_organization_ids=("org",),
        unsafe_departments=("NI-LE",),
    )
    assert draft.from_enquiry(replace(matched_enquiry(), contact_id="contact")) == draft
