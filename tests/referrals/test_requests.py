"""Requests that no honest caller sends.

Every field of every rpc gets unexpected values. Each request is refused with a status code and a
reason, or succeeds; it never causes a fault.
"""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chassis.ids import new_id
from chassis.second import NONE
from chassis.tokens import SYSTEM, Caller
from protos.referrals.v1 import campaigns_pb2, contacts_pb2, people_pb2, plans_pb2
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.plans.usecases.pathways import SHIPPED
from tests.builders import ASKED, refusal_with_fields
from tests.referrals.conftest import ORG, SERVICE, Client, Story
from tests.referrals.test_policies import next_policy

TYPED = {
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "ABORTED",
    "ALREADY_EXISTS",
    "RESOURCE_EXHAUSTED",
}
Beginning = Callable[[Story], tuple[Client, Any]]


def token_of(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


NASTY_TEXTS = [
    "\x00",
    "\x1b[31ma\x00b\r\n",
    "ñ" * 4_001,
    "HOU\n",
    "v99999999999999999999",
    "'; DROP TABLE people; --",
    "f" * 32,
    "es" + "-aaaaaaaa" * 500,
    "2026-W01-1",
    "\ufeff\u202e\U0001f4a5",
]
NASTY_TOKENS = [
    token_of("never", "f" * 32),
    token_of("infinity", "\x00"),
    token_of("2026-03-04 18:00:00+23:59", "f" * 32),
    token_of("0001-01-01 00:00:00+14:00", "f" * 32),
    token_of("infinity", "never", "f" * 32),
    token_of("9" * 60),
    token_of(1, None),
    base64.urlsafe_b64encode(b"[" * 5_000).decode(),
]
NASTY_NUMBERS = [-(2**31), -1, 0, 21, 366, 2**31 - 1]
NASTY_ENUMS = [-1, 0, 99, 2**31 - 1]
NASTY_TIMES = [
    (-(2**63), 0),
    (2**63 - 1, 0),
    (-62135596800, 0),
    (253402300799, 999_999_999),
    (0, -1),
    (0, 2**31 - 1),
]
DEEP = 3
# Fields that only answers use, in messages that requests use too: no rpc reads them, so no rpc can
# fail on them.
_REFERRAL = {"id", "etag", "need_code", "urgency", "service_id", "receipt_id", "contact_id"}
_CONTACT = {
    "organization_id",
    "urgency",
    "pathway_code",
    "reference_hint",
    "create_time",
    "update_time",
    "later_notes",
    "unheard",
    "called_before",
    "medicine_codes",
}
ANSWERED = {
    f"Referral.{field.name}"
    for field in pb.Referral.DESCRIPTOR.fields
    if field.name not in _REFERRAL
}
ANSWERED |= {f"Contact.{name}" for name in _CONTACT}
ANSWERED |= {
    f"Callback.{name}"
    for name in ("asked_by_herself", "tries", "outcome_code", "reference_hint", "person_id")
}
ANSWERED |= {
    f"Receipt.{name}"
    for name in ("id", "recorded_by_worker_id", "create_time", "withdraw_time", "signature")
}
ANSWERED |= {
    f"Receipt.{name}"
    for name in (
        "reason_code",
        "confirm_time",
        "confirmed_by_worker_id",
        "confirm_until_time",
        "genuine",
        "live",
    )
}


def mutations(request: Any, depth: int = 0) -> Iterator[Callable[[Any], None]]:
    """Yields functions that each spoil one field of a request and keep the others."""
    for field in request.DESCRIPTOR.fields:
        name = field.name
        if depth and f"{request.DESCRIPTOR.name}.{name}" in ANSWERED:
            continue
        if field.is_repeated:
            for value in _values(field):
                yield partial(_add, name, [value])
            yield partial(_add, name, _values(field)[:2] * 150)
        elif (
            field.message_type is not None
            and field.message_type.full_name == "google.protobuf.Timestamp"
        ):
            for seconds, nanos in NASTY_TIMES:
                yield partial(_set_time, name, seconds, nanos)
        elif field.message_type is not None:
            if depth < DEEP:
                yield partial(_clear, name)
                for inner in mutations(getattr(request, name), depth + 1):
                    yield partial(_inside, name, inner)
        else:
            for value in _values(field):
                yield partial(_set, name, value)


def _values(field: FieldDescriptor) -> list[Any]:
    if field.type == FieldDescriptor.TYPE_STRING:
        # The chassis reads request_id in the same way for every service; see the last test.
        return (
            []
            if field.name == "request_id"
            else NASTY_TEXTS + NASTY_TOKENS
            if field.name == "page_token"
            else NASTY_TEXTS
        )
    if field.type == FieldDescriptor.TYPE_ENUM:
        return NASTY_ENUMS
    if field.type == FieldDescriptor.TYPE_BOOL:
        return [True]
    return NASTY_NUMBERS if field.message_type is None else []


def _add(name: str, values: list[Any], request: Any) -> None:
    getattr(request, name).extend(values)


def _set(name: str, value: Any, request: Any) -> None:
    setattr(request, name, value)


def _clear(name: str, request: Any) -> None:
    request.ClearField(name)


def _inside(name: str, spoil: Callable[[Any], None], request: Any) -> None:
    spoil(getattr(request, name))


def _set_time(name: str, seconds: int, nanos: int, request: Any) -> None:
    time = getattr(request, name)
    time.seconds, time.nanos = seconds, nanos


def at(message: Message, name: str, story: Story, later: timedelta = timedelta()) -> Any:
    getattr(message, name).FromDatetime(story.service.clock.now() + later)
    return message


def started(story: Story) -> pb.Referral:
    accepted = story.accepted()
    created: pb.Referral = story.shelter.StartReferral(
        at(pb.StartReferralRequest(id=accepted.id, etag=accepted.etag), "first_contact_time", story)
    )
    return created


def met(story: Story) -> pb.Referral:
    """Returns a started referral with an appointment at the present time."""
    referral = started(story)
    created: pb.Referral = story.shelter.ScheduleAppointment(
        at(
            pb.ScheduleAppointmentRequest(id=referral.id, etag=referral.etag),
            "appointment_time",
            story,
        )
    )
    return created


def back(story: Story) -> pb.Referral:
    sent = story.sent()
    created: pb.Referral = story.shelter.DeclineReferral(
        pb.DeclineReferralRequest(
            id=sent.id, etag=sent.etag, reason_code=pb.DECLINE_REASON_NO_CAPACITY
        )
    )
    return created


def taken_back(story: Story) -> pb.Referral:
    """Returns a referral whose consent was withdrawn, as its receiver sees it."""
    sent = story.sent()
    story.ngo.WithdrawReceipt(people_pb2.WithdrawReceiptRequest(id=sent.receipt_id))
    created: pb.Referral = story.shelter.GetReferral(pb.GetReferralRequest(id=sent.id))
    return created


def completed(story: Story) -> pb.Referral:
    referral = started(story)
    created: pb.Referral = story.shelter.CompleteReferral(
        pb.CompleteReferralRequest(
            id=referral.id, etag=referral.etag, outcome_code=pb.OUTCOME_FULLY_MET
        )
    )
    return created


def asked_referral(story: Story) -> pb.Referral:
    sent = story.sent()
    created: pb.Referral = story.shelter.AskReferral(
        pb.AskReferralRequest(id=sent.id, etag=sent.etag, question_code=pb.QUESTION_DATES)
    )
    return created


def referral_beginnings() -> dict[str, Beginning]:
    """Returns, for each rpc, a caller and a request that succeeds if nothing is spoiled."""

    def a_request(
        side: str, begin: Callable[[Story], pb.Referral], make: Callable[[Story], Any]
    ) -> Beginning:
        def beginning(story: Story) -> tuple[Client, Any]:
            referral, request = begin(story), make(story)
            request.id, request.etag = referral.id, referral.etag
            return getattr(story, side), request

        return beginning

    def update(story: Story) -> tuple[Client, Any]:
        draft = story.draft()
        request = pb.UpdateReferralRequest(
            referral=pb.Referral(
                id=draft.id, etag=draft.etag, need_code="HOU", urgency=pb.URGENCY_URGENT
            )
        )
        request.referral.service_id = SERVICE["shelter_bed"]
        request.referral.receipt_id = story.receipt(draft.person_id).id
        request.update_mask.paths.extend(
            ["need_code", "urgency", "service_id", "receipt_id", "contact_id"]
        )
        return story.ngo, request

    def send(story: Story) -> tuple[Client, Any]:
        draft = story.draft()
        return story.ngo, pb.SendReferralRequest(
            id=draft.id, etag=draft.etag, receipt_id=story.receipt(draft.person_id).id
        )

    def override(story: Story) -> tuple[Client, Any]:
        draft = story.draft()
        return story.rescuer, pb.SendReferralRequest(
            id=draft.id,
            etag=draft.etag,
            override_reason_code=pb.OVERRIDE_REASON_LIFE_AT_RISK,
            note="in danger",
        )

    def attach(story: Story) -> tuple[Client, Any]:
        sent = story.overridden()
        return story.ngo, pb.AttachConsentRequest(
            id=sent.id, etag=sent.etag, receipt_id=story.receipt(sent.person_id).id
        )

    sent: Callable[[Story], pb.Referral] = lambda story: story.sent()  # noqa: E731
    accepted: Callable[[Story], pb.Referral] = lambda story: story.accepted()  # noqa: E731
    return {
        "CreateReferral": lambda s: (
            s.ngo,
            pb.CreateReferralRequest(
                **ASKED,
                person_id=s.person().id,
                need_code="HOU.EMG",
                urgency=pb.URGENCY_NORMAL,
                service_id=SERVICE["shelter_bed"],
            ),
        ),
        "UpdateReferral": update,
        "GetReferral": lambda s: (s.ngo, pb.GetReferralRequest(id=s.sent().id)),
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
            pb.BatchGetQueueVersionsRequest(
                watch_tokens=[s.ngo.GetQueueVersion(pb.GetQueueVersionRequest()).watch_token]
            ),
        ),
        "GetDeadlinePolicy": lambda s: (s.ngo, pb.GetDeadlinePolicyRequest()),
        "PublishDeadlinePolicy": lambda s: (s.coordinator, next_policy(s)),
        "ListReferralEvents": lambda s: (
            s.shelter,
            pb.ListReferralEventsRequest(referral_id=s.sent().id),
        ),
        "SendReferral": send,
        "SendReferral on an override": override,
        "ConfirmOverride": a_request(
            "coordinator", lambda story: story.overridden(), lambda s: pb.ConfirmOverrideRequest()
        ),
        "AttachConsent": attach,
        "AcknowledgeReferral": a_request(
            "shelter", sent, lambda s: pb.AcknowledgeReferralRequest()
        ),
        "AskReferral": a_request(
            "shelter",
            sent,
            lambda s: pb.AskReferralRequest(question_code=pb.QUESTION_DATES, note="when?"),
        ),
        "AnswerReferral": a_request(
            "ngo", asked_referral, lambda s: pb.AnswerReferralRequest(note="tomorrow")
        ),
        "AcceptReferral": a_request(
            "shelter",
            sent,
            lambda s: at(pb.AcceptReferralRequest(), "planned_first_contact_time", s),
        ),
        "WaitlistReferral": a_request(
            "shelter",
            sent,
            lambda s: at(
                pb.WaitlistReferralRequest(expected_wait_days=3),
                "review_time",
                s,
                timedelta(days=2),
            ),
        ),
        "DeclineReferral": a_request(
            "shelter",
            sent,
            lambda s: pb.DeclineReferralRequest(reason_code=pb.DECLINE_REASON_NO_CAPACITY),
        ),
        "StartReferral": a_request(
            "shelter", accepted, lambda s: at(pb.StartReferralRequest(), "first_contact_time", s)
        ),
        "ScheduleAppointment": a_request(
            "shelter", started, lambda s: at(pb.ScheduleAppointmentRequest(), "appointment_time", s)
        ),
        "AttendAppointment": a_request(
            "shelter", met, lambda s: pb.AttendAppointmentRequest(note="with her sister")
        ),
        "MissAppointment": a_request(
            "shelter", met, lambda s: pb.MissAppointmentRequest(reason_code=pb.MISS_REASON_ILL)
        ),
        "CancelAppointment": a_request(
            "shelter",
            met,
            lambda s: pb.CancelAppointmentRequest(reason_code=pb.CANCEL_REASON_BY_PERSON),
        ),
        "AddNote": a_request("shelter", started, lambda s: pb.AddNoteRequest(note="she is well")),
        "CompleteReferral": a_request(
            "shelter",
            started,
            lambda s: pb.CompleteReferralRequest(outcome_code=pb.OUTCOME_FULLY_MET),
        ),
        "NotDeliverReferral": a_request(
            "shelter",
            accepted,
            lambda s: pb.NotDeliverReferralRequest(
                reason_code=pb.NOT_DELIVERED_REASON_CAPACITY_LOST
            ),
        ),
        "CloseReferral": a_request(
            "ngo", completed, lambda s: pb.CloseReferralRequest(help_came_code=pb.HELP_CAME_YES)
        ),
        "CloseNeed": a_request(
            "ngo", back, lambda s: pb.CloseNeedRequest(reason_code=pb.NEED_CLOSE_REASON_MOVED)
        ),
        "WithdrawReferral": a_request(
            "ngo", sent, lambda s: pb.WithdrawReferralRequest(reason_code=pb.WITHDRAW_REASON_MOVED)
        ),
        "AssignReferral": a_request("shelter", completed, lambda s: pb.AssignReferralRequest()),
        "AmendReferral": a_request(
            "ngo", sent, lambda s: pb.AmendReferralRequest(urgency=pb.URGENCY_IMMEDIATE)
        ),
        "ConfirmDeletion": a_request("shelter", taken_back, lambda s: pb.ConfirmDeletionRequest()),
        "RerouteReferral": a_request(
            "ngo", sent, lambda s: pb.RerouteReferralRequest(service_id=SERVICE["clinic_visit"])
        ),
        "RemindReferral": a_request("coordinator", sent, lambda s: pb.RemindReferralRequest()),
        "EnterReferralInError": a_request(
            "ngo", sent, lambda s: pb.EnterReferralInErrorRequest(note="a test")
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


def people_beginnings() -> dict[str, Beginning]:
    def receipt(story: Story) -> tuple[Client, Any]:
        values = people_pb2.Receipt(
            person_id=story.person().id,
            recipient_organization_id=ORG["shelter"],
            purpose_codes=["HOU"],
        )
        values.field_groups.append(people_pb2.FIELD_GROUP_IDENTITY)
        values.giver_code, values.manner_code = people_pb2.GIVER_PERSON, people_pb2.MANNER_SPOKEN
        values.explained_codes.extend(point for point in people_pb2.Explained.values() if point)
        return story.ngo, people_pb2.CreateReceiptRequest(receipt=values)

    def open_request(story: Story) -> tuple[Client, Any]:
        sent = story.sent()
        request = people_pb2.OpenPersonRequest(
            id=sent.person_id, purpose_code="HOU", referral_id=sent.id
        )
        request.field_groups.append(people_pb2.FIELD_GROUP_IDENTITY)
        return story.shelter, request

    def identity(story: Story) -> tuple[Client, Any]:
        person = story.person()
        return story.ngo, people_pb2.UpdateIdentityRequest(
            id=person.id, etag=person.etag, identity=people_pb2.Identity()
        )

    def plan(story: Story) -> tuple[Client, Any]:
        person = story.person()
        return story.ngo, people_pb2.SetSafeContactRequest(
            id=person.id,
            etag=person.etag,
            safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE),
        )

    def for_referral(story: Story) -> tuple[Client, Any]:
        sent = story.sent()
        return story.ngo, people_pb2.ListReceiptsRequest(
            person_id=sent.person_id, referral_id=sent.id
        )

    return {
        "CreatePerson": lambda s: (
            s.ngo,
            people_pb2.CreatePersonRequest(
                safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE)
            ),
        ),
        "GetPerson": lambda s: (s.ngo, people_pb2.GetPersonRequest(id=s.person().id)),
        "ListPeople": lambda s: (s.ngo, people_pb2.ListPeopleRequest(page_size=2)),
        "SearchPeople": lambda s: (s.ngo, people_pb2.SearchPeopleRequest(name="Ximena")),
        "UpdateIdentity": identity,
        "OpenPerson": open_request,
        "SetSafeContact": plan,
        "GetSafeContact": lambda s: (
            s.shelter,
            people_pb2.GetSafeContactRequest(referral_id=s.sent().id),
        ),
        "OpenSafeContact": lambda s: (
            s.shelter,
            people_pb2.OpenSafeContactRequest(referral_id=s.sent().id),
        ),
        "CreateReceipt": receipt,
        "ConfirmReceipt": lambda s: (
            s.service.as_("ngo", "MANAGER"),
            people_pb2.ConfirmReceiptRequest(
                id=s.receipt(s.child().id, giver="best_interest", assent_code="given").id
            ),
        ),
        "ListReceipts": for_referral,
        "ListProposedReceipts": lambda story: (story.ngo, people_pb2.ListProposedReceiptsRequest()),
        "GetReceipt": lambda s: (
            s.ngo,
            people_pb2.GetReceiptRequest(id=s.receipt(s.person().id).id),
        ),
        "WithdrawReceipt": lambda s: (
            s.ngo,
            people_pb2.WithdrawReceiptRequest(id=s.receipt(s.person().id).id),
        ),
        "ListReadings": lambda s: (
            s.ngo,
            people_pb2.ListReadingsRequest(person_id=s.person().id, page_size=2),
        ),
        "ExportPerson": lambda s: (
            s.ngo,
            people_pb2.ExportPersonRequest(id=s.person().id, request_id=s.request_id()),
        ),
        "ListOwnExports": lambda s: (
            s.ngo,
            people_pb2.ListOwnExportsRequest(since_time=Timestamp(seconds=1_700_000_000)),
        ),
    }


def line_beginnings() -> dict[str, Beginning]:
    def operator(story: Story) -> Client:
        return story.service.as_("hotline", "OPERATOR")

    def change(story: Story) -> tuple[Client, Any]:
        contact = story.contact().contact
        request = contacts_pb2.UpdateContactRequest(contact=contact)
        request.contact.note = "calls again at six"
        request.update_mask.paths.extend(
            (
                "triage kind_code speaker_code outcome_code department need_code person_id note"
                " language"
            ).split()
        )
        return operator(story), request

    def caller(make: Callable[..., Any]) -> Beginning:
        def beginning(story: Story) -> tuple[Client, Any]:
            created = story.contact()
            return story.service.public(), make(reference=created.reference, pin=created.pin)

        return beginning

    def known(story: Story) -> tuple[Client, Any]:
        created = story.contact()
        return operator(story), contacts_pb2.GetContactByReferenceRequest(
            reference=created.reference, pin=created.pin
        )

    def owed(story: Story) -> contacts_pb2.Callback:
        wanted = contacts_pb2.Callback(
            contact_id=story.contact().contact.id,
            day_code=contacts_pb2.DAY_BAND_TOMORROW,
            hour_code=contacts_pb2.HOUR_BAND_EVENING,
        )
        callback: contacts_pb2.Callback = operator(story).CreateCallback(
            contacts_pb2.CreateCallbackRequest(callback=wanted)
        )
        return callback

    def agree(story: Story) -> tuple[Client, Any]:
        contact_id = story.contact().contact.id
        callback = contacts_pb2.Callback(
            contact_id=contact_id,
            day_code=contacts_pb2.DAY_BAND_TOMORROW,
            hour_code=contacts_pb2.HOUR_BAND_EVENING,
        )
        return operator(story), contacts_pb2.CreateCallbackRequest(callback=callback)

    def settle(story: Story) -> tuple[Client, Any]:
        created = owed(story)
        return operator(story), contacts_pb2.SettleCallbackRequest(
            id=created.id,
            etag=created.etag,
            outcome_code=contacts_pb2.CALLBACK_OUTCOME_AGAIN,
            day_code=contacts_pb2.DAY_BAND_TOMORROW,
            hour_code=contacts_pb2.HOUR_BAND_NIGHT,
        )

    def callable_caller(story: Story) -> tuple[Client, Any]:
        created = story.contact()
        person = operator(story).CreatePerson(
            people_pb2.CreatePersonRequest(
                safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE)
            )
        )
        request = contacts_pb2.UpdateContactRequest(contact=created.contact)
        request.contact.person_id = person.id
        request.update_mask.paths.append("person_id")
        operator(story).UpdateContact(request)
        return story.service.public(), contacts_pb2.AskForCallByReferenceRequest(
            reference=created.reference,
            pin=created.pin,
            day_code=contacts_pb2.DAY_BAND_TOMORROW,
            hour_code=contacts_pb2.HOUR_BAND_EVENING,
        )

    return {
        "TakeOverLine": lambda s: (operator(s), contacts_pb2.TakeOverLineRequest()),
        "ListTakeOvers": lambda s: (operator(s), contacts_pb2.ListTakeOversRequest(page_size=2)),
        "CreateCallback": agree,
        "ListCallbacks": lambda s: (operator(s), contacts_pb2.ListCallbacksRequest(page_size=2)),
        "SettleCallback": settle,
        "AskForCallByReference": callable_caller,
        "GetContactByReference": known,
        "CreateContact": lambda s: (
            operator(s),
            contacts_pb2.CreateContactRequest(
                contact=contacts_pb2.Contact(line_country="NI"), pin="4821"
            ),
        ),
        "GetContact": lambda s: (
            operator(s),
            contacts_pb2.GetContactRequest(id=s.contact().contact.id),
        ),
        "ListContacts": lambda s: (operator(s), contacts_pb2.ListContactsRequest(page_size=2)),
        "UpdateContact": change,
        "GetReferenceStatus": caller(contacts_pb2.GetReferenceStatusRequest),
        "WithdrawConsentByReference": caller(contacts_pb2.WithdrawConsentByReferenceRequest),
        "ConfirmHelp": caller(contacts_pb2.ConfirmHelpRequest),
        "ListReadingsByReference": caller(contacts_pb2.ListReadingsByReferenceRequest),
        "AddNoteByReference": caller(
            partial(contacts_pb2.AddNoteByReferenceRequest, note="she found a phone")
        ),
    }


def campaign_beginnings() -> dict[str, Beginning]:
    def campaign(make: Callable[..., Any]) -> Beginning:
        return lambda story: (story.coordinator, make(id=story.campaign().id))

    return {
        "CreateCampaign": lambda s: (
            s.coordinator,
            campaigns_pb2.CreateCampaignRequest(
                campaign=campaigns_pb2.LineCampaign(
                    name="Llama y Vive", country="NI", media_codes=[contacts_pb2.CAMPAIGN_RADIO]
                )
            ),
        ),
        "ListCampaigns": lambda s: (s.coordinator, campaigns_pb2.ListCampaignsRequest(page_size=2)),
        "EndCampaign": campaign(campaigns_pb2.EndCampaignRequest),
        "GetCampaignFigures": campaign(campaigns_pb2.GetCampaignFiguresRequest),
        "GetPlacement": lambda s: (
            s.service.public(),
            campaigns_pb2.GetPlacementRequest(code=s.campaign().placements[0].code),
        ),
    }


def plan_beginnings() -> dict[str, Beginning]:
    def plan(make: Callable[..., Any], **values: Any) -> Beginning:
        def beginning(story: Story) -> tuple[Client, Any]:
            created = story.ngo.CreatePlan(
                plans_pb2.CreatePlanRequest(person_id=story.child().id, pathway_id="child")
            )
            known = {"id": created.id, "etag": created.etag, "person_id": created.person_id}
            return story.ngo, make(
                **{name: known[name] for name in make.DESCRIPTOR.fields_by_name if name in known},  # type: ignore[attr-defined]
                **values,
            )

        return beginning

    def publish(story: Story) -> tuple[Client, Any]:
        number = len(
            story.ngo.ListPathwayVersions(plans_pb2.ListPathwayVersionsRequest(id="child")).versions
        )
        text = (SHIPPED / "child.yaml").read_text().replace("version: 1", f"version: {number + 1}")
        return story.coordinator, plans_pb2.PublishPathwayRequest(text=text)

    def move(story: Story) -> tuple[Client, Any]:
        client, request = plan(plans_pb2.MovePlanRequest)(story)
        story.coordinator.PublishPathway(publish(story)[1])
        request.version = len(
            story.ngo.ListPathwayVersions(plans_pb2.ListPathwayVersionsRequest(id="child")).versions
        )
        return client, request

    return {
        "ListPathways": lambda s: (s.ngo, plans_pb2.ListPathwaysRequest()),
        "GetPathway": lambda s: (s.ngo, plans_pb2.GetPathwayRequest(id="child", version=1)),
        "ListPathwayVersions": lambda s: (s.ngo, plans_pb2.ListPathwayVersionsRequest(id="child")),
        "PublishPathway": publish,
        "CreatePlan": lambda s: (
            s.ngo,
            at(
                plans_pb2.CreatePlanRequest(person_id=s.child().id, pathway_id="child"),
                "start_time",
                s,
            ),
        ),
        "GetPlan": plan(plans_pb2.GetPlanRequest),
        "ListPlans": plan(plans_pb2.ListPlansRequest),
        "UpdatePlanStep": plan(
            plans_pb2.UpdatePlanStepRequest, step_key="care", state=plans_pb2.PLAN_STEP_STATE_MET
        ),
        "MovePlan": move,
        "ClosePlan": plan(
            plans_pb2.ClosePlanRequest, reason_code=plans_pb2.PLAN_CLOSE_REASON_CONTACT_LOST
        ),
        "ListLateSteps": lambda s: (s.ngo, plans_pb2.ListLateStepsRequest(page_size=2)),
        "GetCompliance": lambda s: (s.coordinator, plans_pb2.GetComplianceRequest()),
    }


def enquiry_beginnings() -> dict[str, Beginning]:
    content = e.EnquiryContent(
        need_code="HOU.EMG",
        urgency=pb.URGENCY_URGENT,
        dependants=1,
        languages=["es"],
        country="NI",
        department="NI-CI",
    )
    to: dict[str, Any] = {
        "content": content,
        "service_ids": [SERVICE["shelter_bed"], SERVICE["clinic_visit"]],
    }

    def create_enquiry(story: Story) -> e.Enquiry:
        with story.service.database.transaction(SYSTEM) as tx:  # at most twenty may be open
            tx.execute("DELETE FROM enquiry_offers")
            tx.execute("DELETE FROM enquiries")
        answer: e.Enquiry = story.ngo.CreateEnquiry(e.CreateEnquiryRequest(**ASKED, **to))
        return answer

    def looking(story: Story) -> tuple[Client, Any]:
        """Returns a new caller each time, because each may make only sixty previews."""
        caller = Caller(new_id(), "worker", ORG["ngo"], frozenset({"WORKER"}), kin=NONE)
        return replace(story.ngo, caller=caller), e.PreviewEnquiryRequest(**to)

    def create(story: Story) -> tuple[Client, Any]:
        create_enquiry(story)
        return story.ngo, e.CreateEnquiryRequest(**ASKED, **to, person_id=story.person().id)

    def answer_request(story: Story) -> tuple[Client, Any]:
        enquiry = create_enquiry(story)
        tag = story.shelter.GetEnquiry(e.GetEnquiryRequest(id=enquiry.id)).etag
        return story.shelter, e.AnswerEnquiryRequest(
            id=enquiry.id, etag=tag, service_id=SERVICE["shelter_bed"], answer=e.OFFER_ANSWER_YES
        )

    def offered(story: Story) -> tuple[Client, Any]:
        client, answer = answer_request(story)
        client.AnswerEnquiry(answer)
        return story.ngo, e.TakeOfferRequest(
            id=answer.id, service_id=answer.service_id, answer=answer.answer
        )

    def cancelling(story: Story) -> tuple[Client, Any]:
        enquiry = create_enquiry(story)
        return story.ngo, e.CancelEnquiryRequest(id=enquiry.id, etag=enquiry.etag)

    return {
        "PreviewEnquiry": looking,
        "CreateEnquiry": create,
        "GetEnquiry": lambda s: (s.shelter, e.GetEnquiryRequest(id=create_enquiry(s).id)),
        "ListEnquiries": lambda s: (
            s.ngo,
            e.ListEnquiriesRequest(box=e.ENQUIRY_BOX_ASKED, page_size=2),
        ),
        "AnswerEnquiry": answer_request,
        "TakeOffer": offered,
        "CancelEnquiry": cancelling,
        "ListUnmetNeeds": lambda s: (s.coordinator, e.ListUnmetNeedsRequest()),
    }


BEGINNINGS = (
    referral_beginnings()
    | people_beginnings()
    | line_beginnings()
    | campaign_beginnings()
    | plan_beginnings()
    | enquiry_beginnings()
)


def answer_of(client: Client, rpc: str, request: Any) -> tuple[str, str]:
    """Returns ("OK", "") or (code, reason).

    The reason is empty if the service itself did not refuse the request.
    """
    try:
        getattr(client, rpc)(request)
    except grpc.RpcError as caught:
        error: Any = caught
        status = rpc_status.from_call(error)
        info = error_details_pb2.ErrorInfo()
        for detail in status.details if status else ():
            if detail.Is(info.DESCRIPTOR):
                detail.Unpack(info)
        return error.code().name, info.reason
    return "OK", ""


@pytest.mark.long
@pytest.mark.parametrize("name", BEGINNINGS)
def test_no_spoiled_field_of_a_request_causes_a_fault(name: str, story: Story) -> None:
    spoil_each_field(name.split(" ")[0], BEGINNINGS[name], story)


def spoil_each_field(rpc: str, begin: Beginning, story: Story) -> None:
    """Sends a request once for each wrong value of each of its fields, and then as it is.

    Every wrong value has to be accepted, or refused with a reason.
    """
    client, honest = begin(story)
    wrong: list[tuple[str, str, str]] = []
    fresh = True
    for spoil in mutations(honest):
        if not fresh:
            client, honest = begin(story)
            fresh = True
        request = type(honest)()
        request.CopyFrom(honest)
        spoil(request)
        code, reason = answer_of(client, rpc, request)
        if code == "OK" or rpc in (
            "GetReferenceStatus",
            "WithdrawConsentByReference",
            "ConfirmHelp",
        ):
            fresh = (
                rpc.startswith(("Get", "List", "Count", "Create", "Open", "Verify"))
                and rpc != "GetReferenceStatus"
            )
        elif code not in TYPED or not reason:
            wrong.append((code, reason, str(request)[:120]))
    client, honest = begin(story)
    code, reason = answer_of(client, rpc, honest)
    assert code == "OK" or reason == "nothing_to_confirm", (
        f"the honest request itself: {code} {reason}"
    )
    assert not wrong, f"{len(wrong)}: {wrong[:5]}"


@pytest.mark.parametrize("value", ["HOU\n", "hou", "XXX", "HOU.EMG.MORE", "HOU.\x00\x00\x00"])
def test_a_need_code_has_to_match_exactly(value: str, story: Story) -> None:
    assert refusal_with_fields(lambda: story.draft(need_code=value)) == (
        "INVALID_ARGUMENT",
        "invalid_fields",
        {"need_code": "unknown_code"},
    )


def test_a_birth_date_is_a_full_iso_date_in_a_plausible_range(story: Story) -> None:
    for value in ("2001-W01-1", "20010101", "2001-02-30", "1-1-2001", "2001-01-01\n"):
        assert refusal_with_fields(partial(story.person, birth_date=value))[2] == {
            "identity.birth_date": "malformed"
        }
    for value in ("1899-12-31", "2026-03-05"):
        assert refusal_with_fields(partial(story.person, birth_date=value))[2] == {
            "identity.birth_date": "out_of_range"
        }


def test_a_refusal_lists_at_most_twenty_fields(story: Story) -> None:
    draft = story.draft()
    code, reason, fields = refusal_with_fields(
        lambda: story.receipt(draft.person_id, purposes=["no need"] * 20, giver="", recipient="")
    )
    assert (code, reason) == ("INVALID_ARGUMENT", "invalid_fields")
    assert len(fields) == 20


def test_an_update_of_a_draft_names_a_wrong_field_by_its_path_in_the_request(story: Story) -> None:
    draft, late = story.draft(), Timestamp(seconds=2**36)
    values: dict[str, Any] = {
        "service_id": "x",
        "receipt_id": "x",
        "contact_id": "x",
        "assault_time": late,
        "unsafe_code": pb.UNSAFE_ANSWER_NAMED,
    }
    for field, wrong, reason in (
        ("urgency", "urgency", "required"),
        ("service_id", "service_id", "malformed"),
        ("receipt_id", "receipt_id", "malformed"),
        ("contact_id", "contact_id", "malformed"),
        ("assault_time", "assault_time", "out_of_range"),
        ("unsafe_code", "unsafe_organization_ids", "required"),
    ):
        request = pb.UpdateReferralRequest(
            referral=pb.Referral(id=draft.id, etag=draft.etag, **values),
            update_mask=FieldMask(paths=[field]),
        )
        assert refusal_with_fields(partial(story.ngo.UpdateReferral, request))[2] == {
            f"referral.{wrong}": reason
        }


def test_a_refusal_never_repeats_what_was_sent(story: Story) -> None:
    draft = story.draft()
    request = pb.UpdateReferralRequest(referral=pb.Referral(id=draft.id, etag=draft.etag))
    request.update_mask.paths.append("Ximena")
    assert refusal_with_fields(lambda: story.ngo.UpdateReferral(request))[2] == {
        "update_mask": "unknown_code"
    }


def test_an_etag_that_never_existed_is_stale_and_a_missing_one_is_required(story: Story) -> None:
    sent = story.sent()
    for etag in ("v0", "v99", "1", "W/v2", "v-2", "v٣", "v" + "9" * 40):
        request = pb.AcknowledgeReferralRequest(id=sent.id, etag=etag)
        assert refusal_with_fields(partial(story.shelter.AcknowledgeReferral, request))[:2] == (
            "ABORTED",
            "stale_etag",
        )
    request = pb.AcknowledgeReferralRequest(id=sent.id)
    assert refusal_with_fields(lambda: story.shelter.AcknowledgeReferral(request))[2] == {
        "etag": "required"
    }


def test_a_page_never_has_more_than_two_hundred_referrals(story: Story) -> None:
    assert (
        len(story.ngo.ListReferrals(pb.ListReferralsRequest(page_size=2**31 - 1)).referrals) <= 200
    )
    assert refusal_with_fields(
        lambda: story.ngo.ListReferrals(pb.ListReferralsRequest(page_size=-1))
    )[2] == {"page_size": "out_of_range"}


def test_a_request_id_that_cannot_be_stored_is_refused(story: Story) -> None:
    request = people_pb2.CreatePersonRequest(request_id="twice\x00")
    assert refusal_with_fields(lambda: story.ngo.CreatePerson(request))[2] == {
        "request_id": "malformed"
    }
