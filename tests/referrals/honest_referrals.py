"""A caller and a request for each rpc of referrals; the unchanged request succeeds."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from protos.referrals.v1 import referrals_pb2 as pb
from tests.builders import NOON, NOTHING_UNSAFE
from tests.referrals.conftest import ORG, SERVICE, Client, Story, read, send_request
from tests.referrals.test_policies import next_policy
from tests.referrals.test_referrals_rpc import declined

MakeRequest = Callable[[Story], tuple[Client, Any]]


def timestamp(moment: datetime) -> Timestamp:
    return Timestamp(seconds=int(moment.timestamp()))


def request_on(side: str, make_target: Callable[[Story], Any], request: Any) -> MakeRequest:
    """Returns a function that makes a caller and a request about an object from `make_target`.

    The request gets the id of the object, and its etag if the request has one.
    """

    def make_request(story: Story) -> tuple[Client, Any]:
        target, valid_request = make_target(story), type(request)()
        valid_request.CopyFrom(request)
        for name in ("id", "etag"):
            if name in request.DESCRIPTOR.fields_by_name:
                setattr(valid_request, name, getattr(target, name))
        return getattr(story, side), valid_request

    return make_request


def started(story: Story) -> pb.Referral:
    accepted = story.accepted()
    referral: pb.Referral = story.shelter.StartReferral(
        id=accepted.id, etag=accepted.etag, first_contact_time=story.service.clock.now()
    )
    return referral


def with_appointment(story: Story) -> pb.Referral:
    """Returns a started referral with an appointment at the present time."""
    referral = started(story)
    appointment_referral: pb.Referral = story.shelter.ScheduleAppointment(
        id=referral.id, etag=referral.etag, appointment_time=story.service.clock.now()
    )
    return appointment_referral


def with_withdrawn_consent(story: Story) -> pb.Referral:
    """Returns a referral whose consent was withdrawn, as its receiver sees it."""
    sent = story.sent()
    story.ngo.WithdrawReceipt(id=sent.receipt_id)
    return read(story.shelter, sent.id)


def completed(story: Story) -> pb.Referral:
    referral = started(story)
    completed_referral: pb.Referral = story.shelter.CompleteReferral(
        id=referral.id, etag=referral.etag, outcome_code=pb.OUTCOME_FULLY_MET
    )
    return completed_referral


def with_question(story: Story) -> pb.Referral:
    sent = story.sent()
    referral: pb.Referral = story.shelter.AskReferral(
        id=sent.id, etag=sent.etag, question_code=pb.QUESTION_DATES
    )
    return referral


def referral_requests() -> dict[str, MakeRequest]:
    def update(story: Story) -> tuple[Client, Any]:
        draft = story.draft()
        change = pb.Referral(
            id=draft.id,
            etag=draft.etag,
            need_code="HOU",
            urgency=pb.URGENCY_URGENT,
            service_id=SERVICE["shelter_bed"],
            receipt_id=story.receipt(draft.person_id).id,
            assault_time=timestamp(NOON - timedelta(hours=2)),
            urgency_reason_code=pb.URGENCY_REASON_SAFE_ELSEWHERE,
            unsafe_code=pb.UNSAFE_ANSWER_NAMED,
            unsafe_organization_ids=[ORG["clinic"]],
            unsafe_departments=["NI-LE"],
        )
        paths = [field.name for field, _ in change.ListFields() if field.name not in ("id", "etag")]
        return story.ngo, pb.UpdateReferralRequest(
            referral=change, update_mask=FieldMask(paths=[*paths, "contact_id"])
        )

    def send(story: Story) -> tuple[Client, Any]:
        draft = story.draft()
        return story.ngo, send_request(draft, story.receipt(draft.person_id).id)

    def attach(story: Story) -> tuple[Client, Any]:
        sent = story.overridden()
        return story.ngo, pb.AttachConsentRequest(
            id=sent.id, etag=sent.etag, receipt_id=story.receipt(sent.person_id).id
        )

    return {
        "CreateReferral": lambda s: (
            s.ngo,
            pb.CreateReferralRequest(
                **NOTHING_UNSAFE,
                person_id=s.person().id,
                need_code="HOU.EMG",
                urgency=pb.URGENCY_NORMAL,
                service_id=SERVICE["shelter_bed"],
            ),
        ),
        "UpdateReferral": update,
        "GetReferral": request_on("ngo", Story.sent, pb.GetReferralRequest()),
        "ListReferrals": lambda s: (
            s.ngo,
            pb.ListReferralsRequest(page_size=2, filter=pb.ReferralFilter(box=pb.BOX_OUTBOX)),
        ),
        "CountReferrals": lambda s: (
            s.coordinator,
            pb.CountReferralsRequest(filter=pb.ReferralFilter(box=pb.BOX_NETWORK)),
        ),
        "GetQueueVersion": lambda s: (s.ngo, pb.GetQueueVersionRequest()),
        "BatchGetQueueVersions": lambda s: (
            s.service.public(),
            pb.BatchGetQueueVersionsRequest(watch_tokens=[s.ngo.GetQueueVersion().watch_token]),
        ),
        "GetDeadlinePolicy": lambda s: (s.ngo, pb.GetDeadlinePolicyRequest()),
        "PublishDeadlinePolicy": lambda s: (s.coordinator, next_policy(s)),
        "ListReferralEvents": lambda s: (
            s.shelter,
            pb.ListReferralEventsRequest(referral_id=s.sent().id),
        ),
        "SendReferral": send,
        "SendReferral on an override": lambda s: (
            s.rescuer,
            send_request(
                s.draft(), override_reason_code=pb.OVERRIDE_REASON_LIFE_AT_RISK, note="in danger"
            ),
        ),
        "ConfirmOverride": request_on("coordinator", Story.overridden, pb.ConfirmOverrideRequest()),
        "AttachConsent": attach,
        "AcknowledgeReferral": request_on("shelter", Story.sent, pb.AcknowledgeReferralRequest()),
        "AskReferral": request_on(
            "shelter",
            Story.sent,
            pb.AskReferralRequest(question_code=pb.QUESTION_DATES, note="when?"),
        ),
        "AnswerReferral": request_on(
            "ngo", with_question, pb.AnswerReferralRequest(note="tomorrow")
        ),
        "AcceptReferral": request_on(
            "shelter",
            Story.sent,
            pb.AcceptReferralRequest(planned_first_contact_time=timestamp(NOON)),
        ),
        "WaitlistReferral": request_on(
            "shelter",
            Story.sent,
            pb.WaitlistReferralRequest(
                expected_wait_days=3, review_time=timestamp(NOON + timedelta(days=2))
            ),
        ),
        "DeclineReferral": request_on(
            "shelter",
            Story.sent,
            pb.DeclineReferralRequest(reason_code=pb.DECLINE_REASON_NO_CAPACITY),
        ),
        "StartReferral": request_on(
            "shelter", Story.accepted, pb.StartReferralRequest(first_contact_time=timestamp(NOON))
        ),
        "ScheduleAppointment": request_on(
            "shelter", started, pb.ScheduleAppointmentRequest(appointment_time=timestamp(NOON))
        ),
        "AttendAppointment": request_on(
            "shelter", with_appointment, pb.AttendAppointmentRequest(note="with her sister")
        ),
        "MissAppointment": request_on(
            "shelter", with_appointment, pb.MissAppointmentRequest(reason_code=pb.MISS_REASON_ILL)
        ),
        "CancelAppointment": request_on(
            "shelter",
            with_appointment,
            pb.CancelAppointmentRequest(reason_code=pb.CANCEL_REASON_BY_PERSON),
        ),
        "AddNote": request_on("shelter", started, pb.AddNoteRequest(note="she is well")),
        "CompleteReferral": request_on(
            "shelter", started, pb.CompleteReferralRequest(outcome_code=pb.OUTCOME_FULLY_MET)
        ),
        "NotDeliverReferral": request_on(
            "shelter",
            Story.accepted,
            pb.NotDeliverReferralRequest(reason_code=pb.NOT_DELIVERED_REASON_CAPACITY_LOST),
        ),
        "CloseReferral": request_on(
            "ngo", completed, pb.CloseReferralRequest(help_came_code=pb.HELP_CAME_YES)
        ),
        "CloseNeed": request_on(
            "ngo", declined, pb.CloseNeedRequest(reason_code=pb.NEED_CLOSE_REASON_MOVED)
        ),
        "WithdrawReferral": request_on(
            "ngo", Story.sent, pb.WithdrawReferralRequest(reason_code=pb.WITHDRAW_REASON_MOVED)
        ),
        "AssignReferral": request_on("shelter", completed, pb.AssignReferralRequest()),
        "AmendReferral": request_on(
            "ngo", Story.sent, pb.AmendReferralRequest(urgency=pb.URGENCY_IMMEDIATE)
        ),
        "ConfirmDeletion": request_on(
            "shelter", with_withdrawn_consent, pb.ConfirmDeletionRequest()
        ),
        "RerouteReferral": request_on(
            "ngo", Story.sent, pb.RerouteReferralRequest(service_id=SERVICE["clinic_visit"])
        ),
        "RemindReferral": request_on("coordinator", Story.sent, pb.RemindReferralRequest()),
        "EnterReferralInError": request_on(
            "ngo", Story.sent, pb.EnterReferralInErrorRequest(note="a test")
        ),
        "GetPilotFigures": lambda s: (s.ngo, pb.GetPilotFiguresRequest()),
        "GetFigures": lambda s: (
            s.service.public(),
            pb.GetFiguresRequest(country="NI", need_group_code="HOU"),
        ),
        "GetResponseTimes": lambda s: (s.coordinator, pb.GetResponseTimesRequest()),
        "CountMemberWork": lambda s: (
            s.coordinator,
            pb.CountMemberWorkRequest(organization_id=ORG["shelter"]),
        ),
    }
