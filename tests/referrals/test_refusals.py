"""The declared refusals that no other test provokes.

They concern steps in a wrong state, and consents that have ended.
"""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.shape import shape
from protos.referrals.v1 import contacts_pb2, people_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOON, NOTHING_UNSAFE, refusal, with_required_fields, wrong_fields
from tests.referrals.conftest import ORG, SERVICE, Service, Story, read, send_request
from tests.referrals.test_overrides import attach, confirm

STEPS = [
    pb.AcknowledgeReferralRequest(),
    pb.AskReferralRequest(question_code=pb.QUESTION_HEALTH),
    pb.AnswerReferralRequest(note="yes"),
    pb.AcceptReferralRequest(),
    pb.WaitlistReferralRequest(expected_wait_days=3),
    pb.DeclineReferralRequest(reason_code=pb.DECLINE_REASON_NO_CAPACITY),
    pb.StartReferralRequest(),
    pb.ScheduleAppointmentRequest(),
    pb.AttendAppointmentRequest(),
    pb.MissAppointmentRequest(reason_code=pb.MISS_REASON_DID_NOT_COME),
    pb.CancelAppointmentRequest(reason_code=pb.CANCEL_REASON_BY_PERSON),
    pb.AddNoteRequest(note="she is well"),
    pb.CompleteReferralRequest(outcome_code=pb.OUTCOME_FULLY_MET),
    pb.NotDeliverReferralRequest(reason_code=pb.NOT_DELIVERED_REASON_PERSON_DECLINED),
    pb.CloseReferralRequest(help_came_code=pb.HELP_CAME_YES),
    pb.CloseNeedRequest(reason_code=pb.NEED_CLOSE_REASON_DIED),
    pb.WithdrawReferralRequest(reason_code=pb.WITHDRAW_REASON_MOVED),
    pb.AssignReferralRequest(),
    pb.AmendReferralRequest(urgency=pb.URGENCY_IMMEDIATE),
    pb.ConfirmDeletionRequest(),
    pb.RerouteReferralRequest(service_id=SERVICE["clinic_visit"]),
    pb.AttachConsentRequest(),
]


def step_of(request: Any) -> str:
    return str(request.DESCRIPTOR.name.removesuffix("Request"))


@pytest.mark.parametrize("request_", STEPS, ids=step_of)
def test_a_draft_can_only_be_sent(request_: Any, story: Story) -> None:
    draft = story.draft()
    request = type(request_)()
    request.CopyFrom(with_required_fields(request_))
    request.id, request.etag = draft.id, draft.etag
    if isinstance(request, pb.AttachConsentRequest):
        request.receipt_id = story.receipt(draft.person_id).id
    assert refusal(lambda: getattr(story.ngo, step_of(request))(request)) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )


def required_fields(request: Any) -> set[str]:
    return {field.name for field in request.DESCRIPTOR.fields if shape(field).required}


@pytest.mark.parametrize("request_", list(filter(required_fields, STEPS)), ids=step_of)
def test_a_step_without_its_required_fields_is_refused_and_names_each_field_and_changes_nothing(
    request_: Any, story: Story
) -> None:
    sent = story.sent()
    fields = wrong_fields(lambda: getattr(story.ngo, step_of(request_))(id=sent.id, etag=sent.etag))
    assert {field for field, _ in fields} == required_fields(request_)
    assert read(story.ngo, sent.id).etag == sent.etag


def test_a_sent_referral_is_neither_sent_again_nor_edited_as_a_draft_nor_entered_in_error_twice(
    story: Story,
) -> None:
    sent = story.sent()
    assert refusal(lambda: story.ngo.SendReferral(send_request(sent, sent.receipt_id))) == (
        "FAILED_PRECONDITION",
        "illegal_transition",
    )
    change = pb.Referral(id=sent.id, etag=sent.etag, need_code="MED")
    update = partial(story.ngo.UpdateReferral, referral=change)
    assert refusal(lambda: update(update_mask=FieldMask(paths=["need_code"]))) == (
        "FAILED_PRECONDITION",
        "not_a_draft",
    )

    in_error = story.ngo.EnterReferralInError(id=sent.id, etag=sent.etag)
    again = partial(story.ngo.EnterReferralInError, id=sent.id, etag=in_error.etag)
    assert refusal(again) == ("FAILED_PRECONDITION", "illegal_transition")


def test_a_second_question_is_refused(story: Story) -> None:
    sent = story.sent()
    ask = partial(story.shelter.AskReferral, id=sent.id, question_code=pb.QUESTION_DATES)
    answered = story.ngo.AnswerReferral(id=sent.id, etag=ask(etag=sent.etag).etag, note="well")
    assert refusal(lambda: ask(etag=answered.etag)) == ("FAILED_PRECONDITION", "already_asked")


def test_sending_needs_a_complete_draft_a_contact_plan_and_a_person_who_is_not_erased(
    story: Story, service: Service
) -> None:
    def refusal_to_send(draft: pb.Referral, receipt: people_pb2.Receipt) -> tuple[str, str]:
        return refusal(lambda: story.ngo.SendReferral(send_request(draft, receipt.id)))

    without_plan = story.ngo.CreatePerson(coarse=pb.CoarsePerson(age_band=pb.AGE_BAND_18_TO_24))
    for draft, reason in (
        (
            story.ngo.CreateReferral(**NOTHING_UNSAFE, person_id=story.person().id),
            "incomplete_draft",
        ),
        (story.draft(without_plan), "safe_contact_missing"),
    ):
        receipt = story.receipt(draft.person_id)
        assert refusal_to_send(draft, receipt) == ("FAILED_PRECONDITION", reason)
    draft = story.draft()
    receipt = story.receipt(draft.person_id)
    service.as_owner("UPDATE people SET erased = true WHERE id = %s", draft.person_id)
    assert refusal_to_send(draft, receipt) == ("FAILED_PRECONDITION", "person_erased")


def best_interest_decision(story: Story) -> people_pb2.Receipt:
    return story.receipt(story.child().id, giver="best_interest", assent_code="given")


def test_an_expired_withdrawn_or_forged_decision_cannot_be_confirmed(
    story: Story, service: Service
) -> None:
    def refusal_to_confirm(receipt: people_pb2.Receipt) -> tuple[str, str]:
        second_worker = service.as_("ngo", "WORKER", "OPERATOR")
        return refusal(lambda: second_worker.ConfirmReceipt(id=receipt.id))

    expired, withdrawn, forged = (best_interest_decision(story) for _ in range(3))
    service.clock.advance(timedelta(days=90))
    assert refusal_to_confirm(expired) == ("FAILED_PRECONDITION", "receipt_expired")
    service.clock.set(NOON)
    story.ngo.WithdrawReceipt(id=withdrawn.id)
    assert refusal_to_confirm(withdrawn) == ("FAILED_PRECONDITION", "receipt_withdrawn")
    service.as_owner("UPDATE receipts SET purpose_codes = '{HOU,MED}' WHERE id = %s", forged.id)
    assert refusal_to_confirm(forged) == ("FAILED_PRECONDITION", "receipt_missing")


def test_a_forged_override_cannot_be_confirmed(story: Story, service: Service) -> None:
    sent = story.overridden()
    service.as_owner(
        "UPDATE receipts SET until_time = until_time + interval '1 year' WHERE id = %s",
        sent.receipt_id,
    )
    assert refusal(lambda: confirm(service.as_("ngo", "MANAGER"), sent)) == (
        "FAILED_PRECONDITION",
        "receipt_missing",
    )


def refusal_to_attach(
    story: Story, sent: pb.Referral, receipt: people_pb2.Receipt
) -> tuple[str, str]:
    return refusal(lambda: attach(story, sent, receipt.id))


def test_only_a_valid_consent_replaces_an_override(story: Story, service: Service) -> None:
    sent = story.overridden()
    for_clinic = story.receipt(sent.person_id, recipient=ORG["clinic"])
    withdrawn = story.receipt(sent.person_id)
    story.ngo.WithdrawReceipt(id=withdrawn.id)
    end = people_pb2.Receipt()
    end.until_time.FromDatetime(NOON + timedelta(hours=1))
    expired = story.receipt(sent.person_id, until_time=end.until_time)
    service.clock.advance(timedelta(hours=2))
    for receipt, reason in (
        (for_clinic, "receipt_recipient_differs"),
        (withdrawn, "receipt_withdrawn"),
        (expired, "receipt_expired"),
    ):
        assert refusal_to_attach(story, sent, receipt) == ("FAILED_PRECONDITION", reason)


def test_an_unconfirmed_decision_for_a_child_does_not_replace_an_override(story: Story) -> None:
    decision = best_interest_decision(story)
    sent = story.overridden(person=people_pb2.Person(id=decision.person_id))
    assert refusal_to_attach(story, sent, decision) == (
        "FAILED_PRECONDITION",
        "receipt_unconfirmed",
    )


def test_a_consent_given_before_the_person_was_known_to_be_a_child_replaces_no_override(
    story: Story,
) -> None:
    person = story.person()
    own_consent = story.receipt(person.id)
    identity = people_pb2.Identity(birth_date="2012-05-01")
    story.ngo.UpdateIdentity(
        id=person.id,
        etag=person.etag,
        identity=identity,
        acknowledged_codes=[pb.ACKNOWLEDGEMENT_ADULTHOOD_CHANGES],
    )
    assert refusal_to_attach(story, story.overridden(person=person), own_consent) == (
        "FAILED_PRECONDITION",
        "guardian_required",
    )


@pytest.mark.parametrize(
    "request_",
    [
        contacts_pb2.GetReferenceStatusRequest(),
        contacts_pb2.WithdrawConsentByReferenceRequest(),
        contacts_pb2.ConfirmHelpRequest(help_came=True),
        contacts_pb2.AddNoteByReferenceRequest(note="she found a phone"),
        contacts_pb2.ListReadingsByReferenceRequest(),
        contacts_pb2.AskForCallByReferenceRequest(
            day_code=contacts_pb2.DAY_BAND_TOMORROW, hour_code=contacts_pb2.HOUR_BAND_EVENING
        ),
    ],
    ids=step_of,
)
def test_guesses_are_stopped_at_each_rpc_that_takes_a_pin(
    request_: Any, story: Story, service: Service
) -> None:
    created = story.contact()
    request_.reference, request_.pin = created.reference, "0000"
    assert [
        refusal(lambda: getattr(service.public(), step_of(request_))(request_)) for _ in range(11)
    ] == [("UNAUTHENTICATED", "reference_or_pin_wrong")] * 10 + [
        ("RESOURCE_EXHAUSTED", "too_many_attempts")
    ]


def test_an_identity_without_any_field_is_refused_and_changes_nothing(story: Story) -> None:
    person = story.person()
    empty = people_pb2.Identity(opened=[people_pb2.FIELD_GROUP_IDENTITY])
    assert wrong_fields(
        lambda: story.ngo.UpdateIdentity(id=person.id, etag=person.etag, identity=empty)
    ) == [("identity", "required")]
    assert story.ngo.GetPerson(id=person.id).etag == person.etag
