"""Organisations and places with which a person is not safe.

The person is asked before each referral and each enquiry. Referrals and enquiries avoid the
organisations and places that she names.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.files.domain.unsafe import NOT_STATED, Unsafe
from services.referrals.network.store import members
from services.referrals.referrals.domain.draft import Draft
from tests.builders import conflict_of, refusal, violations_of, wrong_fields
from tests.referrals.conftest import ARRIVAL, ORG, SERVICE, Service, Story, read, send_request
from tests.referrals.contact_calls import update_contact

CONFLICT = "FAILED_PRECONDITION"
UNSAFE_SHELTER: dict[str, Any] = {
    "unsafe_code": pb.UNSAFE_ANSWER_NAMED,
    "unsafe_organization_ids": [ORG["shelter"]],
}
UNSAFE_LEON: dict[str, Any] = {
    "unsafe_code": pb.UNSAFE_ANSWER_NAMED,
    "unsafe_departments": ["NI-LE"],
}
CONTENT = e.EnquiryContent(need_code="HOU.EMG", urgency=pb.URGENCY_EMERGENCY, country="NI")


@pytest.fixture
def in_leon(service: Service) -> Iterator[None]:
    """Moves the shelter's service to León."""
    bed = SERVICE["shelter_bed"]
    service.in_transaction(members.note_service, bed, ORG["shelter"], True, department="NI-LE")
    yield
    service.in_transaction(members.note_service, bed, ORG["shelter"], True)


BOTH_SERVICES = [SERVICE["shelter_bed"], SERVICE["clinic_visit"]]


def request_to_send(story: Story, draft: pb.Referral, *acknowledged: Any) -> pb.SendReferralRequest:
    """Returns the request to send a draft on the person's consent."""
    receipt = story.receipt(draft.person_id)
    return send_request(draft, receipt.id, acknowledged_codes=acknowledged, arrival=ARRIVAL)


@pytest.mark.parametrize(
    ("unsafe", "path", "reason"),
    [
        (NOT_STATED, "unsafe_code", "required"),
        (Unsafe("named"), "unsafe_organization_ids", "required"),
        (Unsafe("nothing", ("a",)), "unsafe_code", "out_of_range"),
        (Unsafe("no_time", (), ("NI-LE",)), "unsafe_code", "out_of_range"),
    ],
)
def test_an_answer_names_organisations_or_places_or_nothing_or_the_reason_for_not_asking(
    unsafe: Unsafe, path: str, reason: str
) -> None:
    assert violations_of(unsafe.check) == [(path, reason)]
    for answer in (
        Unsafe("named", ("a",)),
        Unsafe("named", (), ("NI-LE",)),
        Unsafe("nothing"),
        Unsafe("outside"),
        Unsafe("not_alone"),
    ):
        answer.check()


def test_an_unsafe_receiver_is_refused_without_an_acknowledgement() -> None:
    unsafe = Unsafe("named", ("a",), ("NI-LE",))
    for organization, department in (("a", "NI-CI"), ("b", "NI-LE")):
        check = partial(unsafe.check_receiver, organization, department)
        assert conflict_of(partial(check, ())) == "unsafe_for_her"
        check(("unsafe_for_her",))
    for organization, department in (("b", "NI-CI"), ("b", "")):
        unsafe.check_receiver(organization, department, ())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"unsafe_code": "nothing"}, Unsafe("nothing", ("a",), ("NI-LE",))),
        ({"unsafe_organization_ids": ("b",)}, Unsafe("named", ("b",), ("NI-LE",))),
        ({"unsafe_departments": ("NI-MN",)}, Unsafe("named", ("a",), ("NI-MN",))),
        (
            {"unsafe_code": "", "unsafe_organization_ids": (), "unsafe_departments": ()},
            NOT_STATED,
        ),
    ],
)
def test_a_request_changes_only_the_parts_of_the_answer_that_it_sets(
    changes: dict[str, Any], expected: Unsafe | None
) -> None:
    assert Draft(**changes).unsafe(Unsafe("named", ("a",), ("NI-LE",))) == expected


def test_a_referral_is_not_sent_before_the_person_was_asked_and_its_draft_is_kept(
    story: Story,
) -> None:
    draft = story.draft(unsafe_code=0)
    request = request_to_send(story, draft)
    assert refusal(lambda: story.ngo.SendReferral(request)) == (CONFLICT, "unsafe_not_asked")
    assert read(story.ngo, draft.id) == draft
    change = pb.Referral(id=draft.id, etag=draft.etag, unsafe_code=pb.UNSAFE_ANSWER_NOT_ALONE)
    request.etag = story.ngo.UpdateReferral(
        referral=change, update_mask=FieldMask(paths=["unsafe_code"])
    ).etag
    assert story.ngo.SendReferral(request).state == pb.STATE_SENT


def test_the_answer_in_a_draft_may_be_cleared_and_the_draft_is_then_not_sent(story: Story) -> None:
    draft = story.draft(unsafe_code=pb.UNSAFE_ANSWER_NOTHING)
    cleared = story.ngo.UpdateReferral(
        referral=pb.Referral(id=draft.id, etag=draft.etag), update_mask={"paths": ["unsafe_code"]}
    )
    request = request_to_send(story, cleared)
    assert refusal(lambda: story.ngo.SendReferral(request)) == (CONFLICT, "unsafe_not_asked")


def test_a_department_that_does_not_exist_is_refused_instead_of_protecting_nobody(
    story: Story,
) -> None:
    answer: dict[str, Any] = {
        "unsafe_code": pb.UNSAFE_ANSWER_NAMED,
        "unsafe_departments": ["NI-LE", "NI-CH"],  # Chinandega is NI-CI
    }
    draft = story.draft(unsafe_code=0)
    update = pb.UpdateReferralRequest(
        referral=pb.Referral(id=draft.id, etag=draft.etag, **answer),
        update_mask=FieldMask(paths=list(answer)),
    )
    enquiry = e.CreateEnquiryRequest(content=CONTENT, service_ids=BOTH_SERVICES, **answer)
    for act, path in (
        (lambda: story.draft(**answer), "unsafe_departments.1"),
        (lambda: story.ngo.UpdateReferral(update), "referral.unsafe_departments.1"),
        (lambda: story.ngo.CreateEnquiry(enquiry), "unsafe_departments.1"),
    ):
        assert wrong_fields(act) == [(path, "unknown_code")]
    answer["unsafe_departments"] = ["HT-OU"]  # the list has no departments of Haiti
    assert list(story.draft(**answer).unsafe_departments) == ["HT-OU"]


def test_an_organisation_that_does_not_exist_is_refused_instead_of_protecting_nobody(
    story: Story,
) -> None:
    identifiers = [ORG["shelter"], ORG["shelter"], "0" * 32]
    answer: dict[str, Any] = {**UNSAFE_SHELTER, "unsafe_organization_ids": identifiers}
    draft = story.draft(unsafe_code=0)
    update = pb.UpdateReferralRequest(
        referral=pb.Referral(id=draft.id, etag=draft.etag, **answer),
        update_mask=FieldMask(paths=list(answer)),
    )
    enquiry: dict[str, Any] = {
        "content": CONTENT,
        "service_ids": [SERVICE["clinic_visit"]],
        "excluded_organization_ids": identifiers,
    }
    for act, path in (
        (lambda: story.draft(**answer), "unsafe_organization_ids.2"),
        (lambda: story.ngo.UpdateReferral(update), "referral.unsafe_organization_ids.2"),
        (lambda: story.ngo.CreateEnquiry(**enquiry), "excluded_organization_ids.2"),
        (lambda: story.ngo.PreviewEnquiry(**enquiry), "excluded_organization_ids.2"),
    ):
        assert wrong_fields(act) == [(path, "unknown_code")]
    identifiers.pop()
    assert list(story.draft(**answer).unsafe_organization_ids) == [ORG["shelter"]]


@pytest.mark.parametrize("answer", [UNSAFE_SHELTER, UNSAFE_LEON])
@pytest.mark.usefixtures("in_leon")
def test_an_unsafe_organisation_or_place_receives_a_referral_only_after_an_acknowledgement(
    answer: dict[str, Any], story: Story
) -> None:
    draft = story.draft(**answer)
    request = request_to_send(story, draft)
    assert refusal(lambda: story.ngo.SendReferral(request)) == (CONFLICT, "unsafe_for_her")
    acknowledged = request_to_send(story, draft, pb.ACKNOWLEDGEMENT_UNSAFE_FOR_HER)
    assert story.ngo.SendReferral(acknowledged).state == pb.STATE_SENT


def test_an_earlier_answer_holds_for_the_persons_next_referral_and_for_nobody_else(
    story: Story,
) -> None:
    person = story.person()
    story.draft(person, **UNSAFE_SHELTER)
    request = request_to_send(story, story.draft(person))
    assert refusal(lambda: story.ngo.SendReferral(request)) == (CONFLICT, "unsafe_for_her")
    assert story.sent().state == pb.STATE_SENT


def test_a_following_referral_keeps_the_earlier_answer(story: Story) -> None:
    person = story.person()
    first = story.draft(person, **UNSAFE_LEON)
    following = story.ngo.CreateReferral(person_id=person.id, based_on_id=first.id)
    assert (following.unsafe_code, list(following.unsafe_departments)) == (
        pb.UNSAFE_ANSWER_NAMED,
        ["NI-LE"],
    )


def test_only_the_sender_sees_the_answer(story: Story) -> None:
    sent = story.ngo.SendReferral(request_to_send(story, story.draft(**UNSAFE_LEON)))
    assert sent.unsafe_code == pb.UNSAFE_ANSWER_NAMED
    for client in (story.shelter, story.coordinator):
        referral = read(client, sent.id)
        assert (referral.unsafe_code, list(referral.unsafe_departments)) == (0, [])


def test_an_enquiry_is_refused_before_the_person_was_asked(story: Story) -> None:
    create = partial(story.ngo.CreateEnquiry, content=CONTENT, service_ids=BOTH_SERVICES)
    assert wrong_fields(create) == [("unsafe_code", "required")]
    assert wrong_fields(lambda: create(unsafe_code=pb.UNSAFE_ANSWER_NAMED)) == [
        ("excluded_organization_ids", "required")
    ]
    assert create(unsafe_code=pb.UNSAFE_ANSWER_NOTHING).unsafe_code == pb.UNSAFE_ANSWER_NOTHING


def test_excluded_organisations_without_an_answer_count_as_an_answer(story: Story) -> None:
    created = story.ngo.CreateEnquiry(
        content=CONTENT, service_ids=BOTH_SERVICES, excluded_organization_ids=[ORG["shelter"]]
    )
    assert created.unsafe_code == pb.UNSAFE_ANSWER_NAMED
    assert [offer.service_id for offer in created.offers] == [SERVICE["clinic_visit"]]


@pytest.mark.usefixtures("in_leon")
def test_an_enquiry_asks_no_service_in_an_unsafe_department_and_its_referral_keeps_the_answer(
    story: Story,
) -> None:
    person, clinic = story.person(), story.service.as_("clinic", "WORKER")
    enquiry = story.ngo.CreateEnquiry(
        content=CONTENT, service_ids=BOTH_SERVICES, person_id=person.id, **UNSAFE_LEON
    )
    assert [offer.service_id for offer in enquiry.offers] == [SERVICE["clinic_visit"]]
    preview = story.ngo.PreviewEnquiry(
        content=CONTENT, service_ids=BOTH_SERVICES, unsafe_departments=["NI-LE"]
    )
    assert preview.service_count == 1
    first_draft = story.draft(person)
    request = request_to_send(story, first_draft)
    assert refusal(lambda: story.ngo.SendReferral(request)) == (CONFLICT, "unsafe_for_her")
    offer = {"service_id": SERVICE["clinic_visit"], "answer": e.OFFER_ANSWER_YES}
    clinic.AnswerEnquiry(id=enquiry.id, etag=clinic.GetEnquiry(id=enquiry.id).etag, **offer)
    story.ngo.TakeOffer(id=enquiry.id, **offer)
    following = story.ngo.CreateReferral(
        person_id=person.id, based_on_id=first_draft.id, enquiry_id=enquiry.id
    )
    assert list(following.unsafe_departments) == ["NI-LE"], "the enquiry is the later answer"


@pytest.mark.parametrize("second_answer", [pb.UNSAFE_ANSWER_NOTHING, pb.UNSAFE_ANSWER_NOT_ALONE])
def test_an_earlier_answer_holds_for_the_persons_next_enquiry(
    second_answer: pb.UnsafeAnswer.ValueType, story: Story
) -> None:
    person = story.person()
    story.draft(person, **UNSAFE_SHELTER)
    preview = story.ngo.PreviewEnquiry(
        content=CONTENT, service_ids=BOTH_SERVICES, person_id=person.id
    )
    assert preview.service_count == 1
    request = e.CreateEnquiryRequest(
        content=CONTENT, service_ids=BOTH_SERVICES, person_id=person.id, unsafe_code=second_answer
    )
    created = story.ngo.CreateEnquiry(request)
    assert [offer.service_id for offer in created.offers] == [SERVICE["clinic_visit"]]
    del request.service_ids[1:]
    assert refusal(lambda: story.ngo.CreateEnquiry(request)) == (CONFLICT, "service_unknown")
    request.person_id = story.person().id
    assert len(story.ngo.CreateEnquiry(request).offers) == 1, (
        "the answer does not concern another person"
    )


def test_an_answer_about_a_caller_without_a_file_holds_once_she_has_one(story: Story) -> None:
    line, contact_id = replace(story, ngo=story.operator), story.contact().contact.id
    line.ngo.CreateEnquiry(
        content=CONTENT,
        service_ids=BOTH_SERVICES,
        contact_id=contact_id,
        excluded_organization_ids=[ORG["shelter"]],
    )
    person = line.person()
    update_contact(line.ngo, line.ngo.GetContact(id=contact_id), person_id=person.id)
    request = request_to_send(line, line.draft(person))
    assert refusal(lambda: line.ngo.SendReferral(request)) == (CONFLICT, "unsafe_for_her")
    preview = line.ngo.PreviewEnquiry(
        content=CONTENT, service_ids=BOTH_SERVICES, person_id=person.id
    )
    assert preview.service_count == 1
    request = request_to_send(line, line.draft(line.person()))
    assert line.ngo.SendReferral(request).state == pb.STATE_SENT, "nobody else is concerned"


def test_an_answer_in_a_file_holds_for_an_enquiry_that_names_only_the_call(
    story: Story,
) -> None:
    line, contact = replace(story, ngo=story.operator), story.contact().contact
    person = line.person()
    update_contact(line.ngo, contact, person_id=person.id)
    line.draft(person, **UNSAFE_SHELTER)
    preview = line.ngo.PreviewEnquiry(
        content=CONTENT, service_ids=BOTH_SERVICES, contact_id=contact.id
    )
    assert preview.service_count == 1
