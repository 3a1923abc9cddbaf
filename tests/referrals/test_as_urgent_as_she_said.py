"""A referral from a contact is as urgent as the contact's answers make it.

A lower urgency needs a coded reason.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import people_pb2 as p
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import ASKED, refusal_with_fields
from tests.referrals.conftest import ARRIVAL, ORG, SERVICE, SEVEN_POINTS, Client, Story, read

NOT_STATED = ("INVALID_ARGUMENT", "invalid_fields", {"urgency_reason_code": "required"})
NOT_UPDATED = ("INVALID_ARGUMENT", "invalid_fields", {"referral.urgency_reason_code": "required"})


@pytest.fixture
def operator(story: Story) -> Client:
    return story.service.as_("hotline", "OPERATOR")


def adult(operator: Client, story: Story) -> str:
    coarse = pb.CoarsePerson(age_band=pb.AGE_BAND_18_TO_24)
    plan = p.SafeContact(channel_code=p.SAFE_CHANNEL_NONE)
    return str(
        operator.CreatePerson(
            p.CreatePersonRequest(coarse=coarse, safe_contact=plan, request_id=story.request_id())
        ).id
    )


def protected(story: Story) -> str:
    return story.contact(wants_protection=c.ANSWER_YES).contact.id


def drafted(operator: Client, story: Story, contact_id: str, **values: Any) -> pb.Referral:
    request = pb.CreateReferralRequest(
        **ASKED,
        person_id=adult(operator, story),
        contact_id=contact_id,
        need_code="HOU.EMG",
        service_id=SERVICE["shelter_bed"],
        request_id=story.request_id(),
        **values,
    )
    draft: pb.Referral = operator.CreateReferral(request)
    return draft


def updated(operator: Client, draft: pb.Referral, **values: Any) -> pb.Referral:
    request = pb.UpdateReferralRequest(referral=pb.Referral(id=draft.id, etag=draft.etag, **values))
    request.update_mask.paths.extend(values)
    changed: pb.Referral = operator.UpdateReferral(request)
    return changed


def send(operator: Client, story: Story, draft: pb.Referral) -> pb.Referral:
    receipt = p.Receipt(
        person_id=draft.person_id,
        recipient_organization_id=ORG["shelter"],
        field_groups=[p.FIELD_GROUP_IDENTITY],
        purpose_codes=["HOU"],
        giver_code=p.GIVER_PERSON,
        manner_code=p.MANNER_SPOKEN,
        explained_codes=SEVEN_POINTS,
    )
    new_receipt = operator.CreateReceipt(
        p.CreateReceiptRequest(receipt=receipt, request_id=story.request_id())
    )
    sent: pb.Referral = operator.SendReferral(
        pb.SendReferralRequest(
            id=draft.id, etag=draft.etag, receipt_id=new_receipt.id, arrival=ARRIVAL
        )
    )
    return sent


def test_b9_a_caller_who_wants_protection_is_referred_as_immediate(
    operator: Client, story: Story
) -> None:
    assert drafted(operator, story, protected(story)).urgency == pb.URGENCY_IMMEDIATE
    assert (
        drafted(operator, story, protected(story), urgency=pb.URGENCY_IMMEDIATE).urgency
        == pb.URGENCY_IMMEDIATE
    )


@pytest.mark.parametrize(
    ("reason", "urgency"),
    [
        (pb.URGENCY_REASON_UNSPECIFIED, pb.URGENCY_IMMEDIATE),
        (pb.URGENCY_REASON_SAFE_ELSEWHERE, pb.URGENCY_URGENT),
    ],
)
def test_a_referral_that_follows_another_takes_a_higher_urgency_of_later_answers(
    operator: Client,
    story: Story,
    reason: pb.UrgencyReason.ValueType,
    urgency: pb.Urgency.ValueType,
) -> None:
    contact = story.contact(
        need_within_days=c.ANSWER_YES, safe_place_tonight=c.ANSWER_NO if reason else c.ANSWER_YES
    ).contact
    draft = drafted(
        operator, story, contact.id, urgency=pb.URGENCY_URGENT, urgency_reason_code=reason
    )
    first = send(operator, story, draft)
    contact.etag = operator.GetContact(c.GetContactRequest(id=contact.id)).etag
    contact.triage.danger_now = c.ANSWER_YES
    operator.UpdateContact(
        c.UpdateContactRequest(contact=contact, update_mask=FieldMask(paths=["triage"]))
    )
    rerouted = story.coordinator.RerouteReferral(
        pb.RerouteReferralRequest(
            id=first.id, etag=first.etag, service_id=SERVICE["clinic_visit"], note="no answer"
        )
    )
    assert read(operator, read(operator, rerouted.id).following_id).urgency == urgency
    request = pb.CreateReferralRequest(
        person_id=first.person_id,
        contact_id=contact.id,
        urgency=first.urgency,
        based_on_id=first.id,
        request_id=story.request_id(),
    )
    assert operator.CreateReferral(request).urgency == urgency


def test_b9_linking_a_draft_to_a_contact_raises_its_urgency(operator: Client, story: Story) -> None:
    draft = drafted(operator, story, "", urgency=pb.URGENCY_URGENT)
    assert updated(operator, draft, contact_id=protected(story)).urgency == pb.URGENCY_IMMEDIATE


def test_b9_an_urgency_below_the_callers_answers_needs_a_reason(
    operator: Client, story: Story
) -> None:
    lower = partial(drafted, operator, story, protected(story), urgency=pb.URGENCY_EMERGENCY)
    assert refusal_with_fields(lower) == NOT_STATED
    reasoned = lower(urgency_reason_code=pb.URGENCY_REASON_SAFE_ELSEWHERE)
    assert (reasoned.urgency, reasoned.urgency_reason_code) == (
        pb.URGENCY_EMERGENCY,
        pb.URGENCY_REASON_SAFE_ELSEWHERE,
    )
    assert (
        refusal_with_fields(partial(updated, operator, reasoned, urgency=pb.URGENCY_URGENT))
        == NOT_UPDATED
    ), "a reason allows only one change"
    same = updated(operator, reasoned, urgency=pb.URGENCY_EMERGENCY, need_code="HOU.SHE")
    assert same.urgency_reason_code == pb.URGENCY_REASON_SAFE_ELSEWHERE, (
        "a form submits again what it shows"
    )
    again = updated(operator, same, urgency=pb.URGENCY_IMMEDIATE)
    assert again.urgency_reason_code == pb.URGENCY_REASON_UNSPECIFIED
    assert (
        refusal_with_fields(partial(updated, operator, again, urgency=pb.URGENCY_NORMAL))
        == NOT_UPDATED
    )


def test_b9_lowering_the_urgency_of_a_sent_referral_needs_a_reason(
    operator: Client, story: Story
) -> None:
    sent = send(operator, story, drafted(operator, story, protected(story)))
    lower = pb.AmendReferralRequest(id=sent.id, etag=sent.etag, urgency=pb.URGENCY_URGENT)
    assert refusal_with_fields(lambda: operator.AmendReferral(lower)) == NOT_STATED
    lower.urgency_reason_code = pb.URGENCY_REASON_DANGER_PASSED
    amended = operator.AmendReferral(lower)
    assert (amended.urgency, amended.urgency_reason_code) == (
        pb.URGENCY_URGENT,
        pb.URGENCY_REASON_DANGER_PASSED,
    )


def test_b9_a_contact_without_answers_does_not_raise_the_urgency(
    operator: Client, story: Story
) -> None:
    assert (
        drafted(operator, story, story.contact().contact.id, urgency=pb.URGENCY_NORMAL).urgency
        == pb.URGENCY_NORMAL
    )


def test_b9_an_enquiry_is_at_least_as_urgent_as_the_callers_answers(
    operator: Client, story: Story
) -> None:
    content = e.EnquiryContent(need_code="HOU.EMG", urgency=pb.URGENCY_NORMAL, country="NI")
    request = e.CreateEnquiryRequest(
        **ASKED, content=content, service_ids=[SERVICE["shelter_bed"]], contact_id=protected(story)
    )
    assert refusal_with_fields(lambda: operator.CreateEnquiry(request)) == NOT_STATED
    request.urgency_reason_code = pb.URGENCY_REASON_OTHER_NEED
    assert operator.CreateEnquiry(request).content.urgency == pb.URGENCY_NORMAL
