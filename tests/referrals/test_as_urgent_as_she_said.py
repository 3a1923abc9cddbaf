"""A referral from a contact is as urgent as the contact's answers make it.

A lower urgency needs a coded reason.
"""

from functools import partial
from typing import Any

import pytest

from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOTHING_UNSAFE, wrong_fields
from tests.referrals.conftest import SERVICE, Story, read, send_request
from tests.referrals.contact_calls import update_contact

REASON_REQUIRED = [("urgency_reason_code", "required")]
REASON_REQUIRED_IN_UPDATE = [("referral.urgency_reason_code", "required")]
with_and_without_a_reason = pytest.mark.parametrize(
    ("reason", "urgency"),
    [
        (pb.URGENCY_REASON_UNSPECIFIED, pb.URGENCY_IMMEDIATE),
        (pb.URGENCY_REASON_SAFE_ELSEWHERE, pb.URGENCY_URGENT),
    ],
)
"""The urgency after the caller later says that she is in danger, without and with a reason for a
lower urgency."""


def contact_for_protection(line: Story) -> str:
    """Records a call of a person who wants protection; returns the id of the contact."""
    return line.contact(wants_protection=c.ANSWER_YES).contact.id


def urgent_contact(line: Story, reason: pb.UrgencyReason.ValueType) -> c.Contact:
    """Records a call whose answers make it urgent, or an emergency if `reason` is to lower it."""
    contact: c.Contact = line.contact(
        need_within_days=c.ANSWER_YES, safe_place_tonight=c.ANSWER_NO if reason else c.ANSWER_YES
    ).contact
    return contact


def add_danger(line: Story, contact: c.Contact) -> None:
    """Records the later answer that the caller is in danger now."""
    contact.triage.danger_now = c.ANSWER_YES
    update_contact(line.operator, line.operator.GetContact(id=contact.id), triage=contact.triage)


def update(line: Story, draft: pb.Referral, **values: Any) -> pb.Referral:
    updated_draft: pb.Referral = line.operator.UpdateReferral(
        referral=pb.Referral(id=draft.id, etag=draft.etag, **values),
        update_mask={"paths": list(values)},
    )
    return updated_draft


@pytest.mark.parametrize(
    ("answers", "urgency", "expected"),
    [
        ({"wants_protection": c.ANSWER_YES}, pb.URGENCY_UNSPECIFIED, pb.URGENCY_IMMEDIATE),
        ({"wants_protection": c.ANSWER_YES}, pb.URGENCY_IMMEDIATE, pb.URGENCY_IMMEDIATE),
        ({}, pb.URGENCY_NORMAL, pb.URGENCY_NORMAL),
    ],
    ids=["wants protection", "wants protection, stated", "no answers"],
)
def test_a_draft_is_at_least_as_urgent_as_the_answers_of_its_contact(
    line: Story,
    answers: dict[str, Any],
    urgency: pb.Urgency.ValueType,
    expected: pb.Urgency.ValueType,
) -> None:
    contact = line.contact(**answers).contact
    assert line.draft(contact_id=contact.id, urgency=urgency).urgency == expected


@with_and_without_a_reason
def test_a_following_referral_takes_the_urgency_of_later_answers_unless_a_reason_lowered_it(
    line: Story, reason: pb.UrgencyReason.ValueType, urgency: pb.Urgency.ValueType
) -> None:
    contact = urgent_contact(line, reason)
    first = line.sent(contact_id=contact.id, urgency=pb.URGENCY_URGENT, urgency_reason_code=reason)
    add_danger(line, contact)
    rerouted = line.coordinator.RerouteReferral(
        id=first.id, etag=first.etag, service_id=SERVICE["clinic_visit"], note="no answer"
    )
    assert read(line.operator, read(line.operator, rerouted.id).following_id).urgency == urgency
    draft = line.operator.CreateReferral(
        person_id=first.person_id,
        contact_id=contact.id,
        urgency=first.urgency,
        based_on_id=first.id,
        request_id=line.request_id(),
    )
    assert draft.urgency == urgency


@with_and_without_a_reason
def test_a_draft_is_sent_with_the_urgency_of_later_answers_unless_a_reason_lowered_it(
    line: Story, reason: pb.UrgencyReason.ValueType, urgency: pb.Urgency.ValueType
) -> None:
    contact = urgent_contact(line, reason)
    draft = line.draft(contact_id=contact.id, urgency=pb.URGENCY_URGENT, urgency_reason_code=reason)
    add_danger(line, contact)
    request = send_request(draft, line.receipt(draft.person_id).id)
    sent = line.operator.SendReferral(request)
    assert sent.urgency == urgency
    assert {clock.kind for clock in sent.clocks if not clock.HasField("stop_time")} == {
        pb.CLOCK_KIND_ACKNOWLEDGE,
        pb.CLOCK_KIND_DECIDE,
    }


@pytest.mark.parametrize("from_contact", [True, False])
def test_a_draft_whose_urgency_is_cleared_has_the_urgency_of_the_answers(
    line: Story, from_contact: bool
) -> None:
    contact_id = contact_for_protection(line) if from_contact else ""
    draft = line.draft(
        contact_id=contact_id,
        urgency=pb.URGENCY_URGENT,
        urgency_reason_code=pb.URGENCY_REASON_SAFE_ELSEWHERE if from_contact else 0,
    )
    cleared = update(line, draft, urgency=pb.URGENCY_UNSPECIFIED)
    assert (cleared.urgency, cleared.urgency_reason_code) == (
        pb.URGENCY_IMMEDIATE if from_contact else pb.URGENCY_UNSPECIFIED,
        pb.URGENCY_REASON_UNSPECIFIED,
    )


def test_linking_a_draft_to_a_contact_raises_its_urgency(line: Story) -> None:
    draft = line.draft(urgency=pb.URGENCY_URGENT)
    linked_draft = update(line, draft, contact_id=contact_for_protection(line))
    assert linked_draft.urgency == pb.URGENCY_IMMEDIATE


def test_an_urgency_below_the_callers_answers_needs_a_reason(line: Story) -> None:
    lower_draft = partial(
        line.draft, contact_id=contact_for_protection(line), urgency=pb.URGENCY_EMERGENCY
    )
    assert wrong_fields(lower_draft) == REASON_REQUIRED
    draft = lower_draft(urgency_reason_code=pb.URGENCY_REASON_SAFE_ELSEWHERE)
    assert (draft.urgency, draft.urgency_reason_code) == (
        pb.URGENCY_EMERGENCY,
        pb.URGENCY_REASON_SAFE_ELSEWHERE,
    )
    assert (
        wrong_fields(partial(update, line, draft, urgency=pb.URGENCY_URGENT))
        == REASON_REQUIRED_IN_UPDATE
    ), "a reason allows only one change"
    same_urgency = update(line, draft, urgency=pb.URGENCY_EMERGENCY, need_code="HOU.SHE")
    assert same_urgency.urgency_reason_code == pb.URGENCY_REASON_SAFE_ELSEWHERE, (
        "a form may submit an unchanged urgency again"
    )
    raised = update(line, same_urgency, urgency=pb.URGENCY_IMMEDIATE)
    assert raised.urgency_reason_code == pb.URGENCY_REASON_UNSPECIFIED
    assert (
        wrong_fields(partial(update, line, raised, urgency=pb.URGENCY_NORMAL))
        == REASON_REQUIRED_IN_UPDATE
    )


def test_lowering_the_urgency_of_a_sent_referral_needs_a_reason(line: Story) -> None:
    sent = line.sent(contact_id=contact_for_protection(line), urgency=pb.URGENCY_IMMEDIATE)
    lower = partial(
        line.operator.AmendReferral, id=sent.id, etag=sent.etag, urgency=pb.URGENCY_URGENT
    )
    assert wrong_fields(lower) == REASON_REQUIRED
    referral = lower(urgency_reason_code=pb.URGENCY_REASON_DANGER_PASSED)
    assert (referral.urgency, referral.urgency_reason_code) == (
        pb.URGENCY_URGENT,
        pb.URGENCY_REASON_DANGER_PASSED,
    )


def test_an_enquiry_is_at_least_as_urgent_as_the_callers_answers(line: Story) -> None:
    enquire = partial(
        line.operator.CreateEnquiry,
        **NOTHING_UNSAFE,
        content=e.EnquiryContent(need_code="HOU.EMG", urgency=pb.URGENCY_NORMAL, country="NI"),
        service_ids=[SERVICE["shelter_bed"]],
        contact_id=contact_for_protection(line),
    )
    assert wrong_fields(enquire) == REASON_REQUIRED
    enquiry = enquire(urgency_reason_code=pb.URGENCY_REASON_OTHER_NEED)
    assert enquiry.content.urgency == pb.URGENCY_NORMAL


@pytest.mark.parametrize(
    ("reason", "urgency"),
    [
        (pb.URGENCY_REASON_UNSPECIFIED, pb.URGENCY_IMMEDIATE),
        (pb.URGENCY_REASON_OTHER_NEED, pb.URGENCY_NORMAL),
    ],
)
def test_a_draft_that_follows_an_enquiry_keeps_a_lower_urgency_only_with_a_reason(
    line: Story, reason: pb.UrgencyReason.ValueType, urgency: pb.Urgency.ValueType
) -> None:
    answers: dict[str, Any] = {"danger_now": c.ANSWER_YES} if reason else {}
    contact = line.contact(**answers).contact
    enquiry = line.operator.CreateEnquiry(
        **NOTHING_UNSAFE,
        content=e.EnquiryContent(need_code="HOU.EMG", urgency=pb.URGENCY_NORMAL, country="NI"),
        service_ids=[SERVICE["shelter_bed"]],
        contact_id=contact.id,
        urgency_reason_code=reason,
    )
    service_id, offer = SERVICE["shelter_bed"], e.OFFER_ANSWER_YES
    copy = line.shelter.GetEnquiry(id=enquiry.id)
    line.shelter.AnswerEnquiry(id=copy.id, etag=copy.etag, service_id=service_id, answer=offer)
    line.operator.TakeOffer(id=enquiry.id, service_id=service_id, answer=offer)
    contact = line.operator.GetContact(id=contact.id)
    contact.triage.danger_now = c.ANSWER_YES
    update_contact(line.operator, contact, triage=contact.triage)
    draft = line.operator.CreateReferral(
        person_id=line.person().id, enquiry_id=enquiry.id, request_id=line.request_id()
    )
    sent = line.operator.SendReferral(send_request(draft, line.receipt(draft.person_id).id))
    assert (draft.urgency, draft.urgency_reason_code) == (pb.URGENCY_NORMAL, reason)
    assert sent.urgency == urgency
