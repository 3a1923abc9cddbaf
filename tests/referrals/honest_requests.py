"""A caller and a request for each rpc; the unchanged request succeeds."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.ids import new_id
from chassis.second import NONE
from chassis.tokens import Caller
from protos.referrals.v1 import campaigns_pb2, people_pb2, plans_pb2
from protos.referrals.v1 import contacts_pb2 as c
from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.plans.usecases.pathways import SHIPPED
from tests.builders import NOON, NOTHING_UNSAFE
from tests.referrals.conftest import ORG, SERVICE, SEVEN_POINTS, Client, Story
from tests.referrals.contact_calls import credentials
from tests.referrals.honest_referrals import MakeRequest, referral_requests, request_on, timestamp


def people_requests() -> dict[str, MakeRequest]:
    def open_person(story: Story) -> tuple[Client, Any]:
        sent = story.sent()
        return story.shelter, people_pb2.OpenPersonRequest(
            id=sent.person_id,
            purpose_code="HOU",
            referral_id=sent.id,
            field_groups=[people_pb2.FIELD_GROUP_IDENTITY],
        )

    def list_receipts(story: Story) -> tuple[Client, Any]:
        sent = story.sent()
        return story.ngo, people_pb2.ListReceiptsRequest(
            person_id=sent.person_id, referral_id=sent.id
        )

    def receipt(story: Story) -> people_pb2.Receipt:
        return story.receipt(story.person().id)

    def update_person(story: Story) -> tuple[Client, Any]:
        person = story.person()
        return story.ngo, people_pb2.UpdatePersonRequest(
            person=people_pb2.Person(id=person.id, etag=person.etag, exploitation_country="SV"),
            update_mask=FieldMask(paths=["exploitation_country"]),
        )

    return {
        "CreatePerson": lambda s: (
            s.ngo,
            people_pb2.CreatePersonRequest(
                safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_NONE)
            ),
        ),
        "GetPerson": request_on("ngo", Story.person, people_pb2.GetPersonRequest()),
        "ListPeople": lambda s: (s.ngo, people_pb2.ListPeopleRequest(page_size=2)),
        "SearchPeople": lambda s: (s.ngo, people_pb2.SearchPeopleRequest(name="Ximena")),
        "UpdatePerson": update_person,
        "UpdateIdentity": request_on(
            "ngo",
            Story.person,
            people_pb2.UpdateIdentityRequest(identity=people_pb2.Identity(family_name="Rivas")),
        ),
        "OpenPerson": open_person,
        "SetSafeContact": request_on(
            "ngo",
            Story.person,
            people_pb2.SetSafeContactRequest(
                safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE)
            ),
        ),
        "GetSafeContact": lambda s: (
            s.shelter,
            people_pb2.GetSafeContactRequest(referral_id=s.sent().id),
        ),
        "OpenSafeContact": lambda s: (
            s.shelter,
            people_pb2.OpenSafeContactRequest(referral_id=s.sent().id),
        ),
        "CreateReceipt": lambda s: (
            s.ngo,
            people_pb2.CreateReceiptRequest(
                receipt=people_pb2.Receipt(
                    person_id=s.person().id,
                    recipient_organization_id=ORG["shelter"],
                    purpose_codes=["HOU"],
                    field_groups=[people_pb2.FIELD_GROUP_IDENTITY],
                    giver_code=people_pb2.GIVER_PERSON,
                    manner_code=people_pb2.MANNER_SPOKEN,
                    explained_codes=SEVEN_POINTS,
                )
            ),
        ),
        "ConfirmReceipt": lambda s: (
            s.service.as_("ngo", "MANAGER"),
            people_pb2.ConfirmReceiptRequest(
                id=s.receipt(s.child().id, giver="best_interest", assent_code="given").id
            ),
        ),
        "ListReceipts": list_receipts,
        "ListProposedReceipts": lambda story: (story.ngo, people_pb2.ListProposedReceiptsRequest()),
        "GetReceipt": request_on("ngo", receipt, people_pb2.GetReceiptRequest()),
        "WithdrawReceipt": request_on("ngo", receipt, people_pb2.WithdrawReceiptRequest()),
        "WithdrawAllReceipts": lambda s: (
            s.ngo,
            people_pb2.WithdrawAllReceiptsRequest(id=s.person().id),
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


def line_requests() -> dict[str, MakeRequest]:
    def operator(story: Story) -> Client:
        return story.service.as_("hotline", "OPERATOR")

    def public(story: Story) -> Client:
        return story.service.public()

    def by_reference(make: Callable[..., Any], by: Callable[[Story], Client]) -> MakeRequest:
        def make_request(story: Story) -> tuple[Client, Any]:
            call = story.contact()
            return by(story), make(**credentials(call))

        return make_request

    def change(story: Story) -> tuple[Client, Any]:
        contact = story.contact().contact
        contact.note = "calls again at six"
        paths = "triage kind_code speaker_code outcome_code department need_code person_id note"
        return operator(story), c.UpdateContactRequest(
            contact=contact, update_mask=FieldMask(paths=[*paths.split(), "language"])
        )

    def callback(story: Story) -> c.Callback:
        return c.Callback(
            contact_id=story.contact().contact.id,
            day_code=c.DAY_BAND_TOMORROW,
            hour_code=c.HOUR_BAND_EVENING,
        )

    def settle(story: Story) -> tuple[Client, Any]:
        new_callback = operator(story).CreateCallback(callback=callback(story))
        return operator(story), c.SettleCallbackRequest(
            id=new_callback.id,
            etag=new_callback.etag,
            outcome_code=c.CALLBACK_OUTCOME_AGAIN,
            day_code=c.DAY_BAND_TOMORROW,
            hour_code=c.HOUR_BAND_NIGHT,
        )

    def ask_for_call(story: Story) -> tuple[Client, Any]:
        call = story.contact()
        operator(story).CreatePerson(
            contact_id=call.contact.id,
            safe_contact=people_pb2.SafeContact(channel_code=people_pb2.SAFE_CHANNEL_PHONE),
        )
        return public(story), c.AskForCallByReferenceRequest(
            reference=call.reference,
            pin=call.pin,
            day_code=c.DAY_BAND_TOMORROW,
            hour_code=c.HOUR_BAND_EVENING,
        )

    return {
        "TakeOverLine": lambda s: (operator(s), c.TakeOverLineRequest()),
        "ListTakeOvers": lambda s: (operator(s), c.ListTakeOversRequest(page_size=2)),
        "CreateCallback": lambda s: (operator(s), c.CreateCallbackRequest(callback=callback(s))),
        "ListCallbacks": lambda s: (operator(s), c.ListCallbacksRequest(page_size=2)),
        "SettleCallback": settle,
        "AskForCallByReference": ask_for_call,
        "GetContactByReference": by_reference(c.GetContactByReferenceRequest, operator),
        "CreateContact": lambda s: (
            operator(s),
            c.CreateContactRequest(contact=c.Contact(line_country="NI"), pin="4821"),
        ),
        "GetContact": lambda s: (operator(s), c.GetContactRequest(id=s.contact().contact.id)),
        "ListContacts": lambda s: (operator(s), c.ListContactsRequest(page_size=2)),
        "UpdateContact": change,
        "GetReferenceStatus": by_reference(c.GetReferenceStatusRequest, public),
        "WithdrawConsentByReference": by_reference(c.WithdrawConsentByReferenceRequest, public),
        "ConfirmHelp": by_reference(c.ConfirmHelpRequest, public),
        "ListReadingsByReference": by_reference(c.ListReadingsByReferenceRequest, public),
        "AddNoteByReference": by_reference(
            partial(c.AddNoteByReferenceRequest, note="she found a phone"), public
        ),
    }


def campaign_requests() -> dict[str, MakeRequest]:
    return {
        "CreateCampaign": lambda s: (
            s.coordinator,
            campaigns_pb2.CreateCampaignRequest(
                campaign=campaigns_pb2.LineCampaign(
                    name="Llama y Vive", country="NI", media_codes=[c.CAMPAIGN_RADIO]
                )
            ),
        ),
        "ListCampaigns": lambda s: (s.coordinator, campaigns_pb2.ListCampaignsRequest(page_size=2)),
        "EndCampaign": request_on(
            "coordinator", Story.campaign, campaigns_pb2.EndCampaignRequest()
        ),
        "GetCampaignFigures": request_on(
            "coordinator", Story.campaign, campaigns_pb2.GetCampaignFiguresRequest()
        ),
        "GetPlacement": lambda s: (
            s.service.public(),
            campaigns_pb2.GetPlacementRequest(code=s.campaign().placements[0].code),
        ),
    }


def plan_requests() -> dict[str, MakeRequest]:
    def plan(story: Story) -> plans_pb2.Plan:
        new_plan: plans_pb2.Plan = story.ngo.CreatePlan(
            person_id=story.child().id, pathway_id="child"
        )
        return new_plan

    def next_version(story: Story) -> int:
        return len(story.ngo.ListPathwayVersions(id="child").versions) + 1

    def publish(story: Story) -> tuple[Client, Any]:
        version = f"version: {next_version(story)}"
        text = (SHIPPED / "child.yaml").read_text().replace("version: 1", version)
        return story.coordinator, plans_pb2.PublishPathwayRequest(text=text)

    def move(story: Story) -> tuple[Client, Any]:
        new_plan = plan(story)
        coordinator, publication = publish(story)
        published = coordinator.PublishPathway(publication)
        return story.ngo, plans_pb2.MovePlanRequest(
            id=new_plan.id, etag=new_plan.etag, version=published.version
        )

    return {
        "ListPathways": lambda s: (s.ngo, plans_pb2.ListPathwaysRequest()),
        "GetPathway": lambda s: (s.ngo, plans_pb2.GetPathwayRequest(id="child", version=1)),
        "ListPathwayVersions": lambda s: (s.ngo, plans_pb2.ListPathwayVersionsRequest(id="child")),
        "PublishPathway": publish,
        "CreatePlan": lambda s: (
            s.ngo,
            plans_pb2.CreatePlanRequest(
                person_id=s.child().id, pathway_id="child", start_time=timestamp(NOON)
            ),
        ),
        "GetPlan": request_on("ngo", plan, plans_pb2.GetPlanRequest()),
        "ListPlans": lambda s: (s.ngo, plans_pb2.ListPlansRequest(person_id=plan(s).person_id)),
        "UpdatePlanStep": request_on(
            "ngo",
            plan,
            plans_pb2.UpdatePlanStepRequest(step_key="care", state=plans_pb2.PLAN_STEP_STATE_MET),
        ),
        "MovePlan": move,
        "ClosePlan": request_on(
            "ngo",
            plan,
            plans_pb2.ClosePlanRequest(reason_code=plans_pb2.PLAN_CLOSE_REASON_CONTACT_LOST),
        ),
        "ListLateSteps": lambda s: (s.ngo, plans_pb2.ListLateStepsRequest(page_size=2)),
        "GetCompliance": lambda s: (s.coordinator, plans_pb2.GetComplianceRequest()),
    }


def enquiry_requests() -> dict[str, MakeRequest]:
    content = e.EnquiryContent(
        need_code="HOU.EMG",
        urgency=pb.URGENCY_URGENT,
        dependants=1,
        languages=["es"],
        country="NI",
        department="NI-CI",
    )
    enquiry_fields: dict[str, Any] = {
        "content": content,
        "service_ids": [SERVICE["shelter_bed"], SERVICE["clinic_visit"]],
    }

    def enquiry(story: Story) -> e.Enquiry:
        for table in ("enquiry_offers", "enquiries"):  # at most twenty enquiries may be open
            story.service.as_owner(f"DELETE FROM {table}")
        return cast(e.Enquiry, story.ngo.CreateEnquiry(**NOTHING_UNSAFE, **enquiry_fields))

    def preview(story: Story) -> tuple[Client, Any]:
        """Returns a new caller each time, because a caller may make only sixty previews."""
        caller = Caller(new_id(), "worker", ORG["ngo"], frozenset({"WORKER"}), kin=NONE)
        return replace(story.ngo, caller=caller), e.PreviewEnquiryRequest(**enquiry_fields)

    def create(story: Story) -> tuple[Client, Any]:
        enquiry(story)
        return story.ngo, e.CreateEnquiryRequest(
            **NOTHING_UNSAFE, **enquiry_fields, person_id=story.person().id
        )

    def answer(story: Story) -> tuple[Client, Any]:
        received_enquiry = story.shelter.GetEnquiry(id=enquiry(story).id)
        return story.shelter, e.AnswerEnquiryRequest(
            id=received_enquiry.id,
            etag=received_enquiry.etag,
            service_id=SERVICE["shelter_bed"],
            answer=e.OFFER_ANSWER_YES,
        )

    def take(story: Story) -> tuple[Client, Any]:
        client, answer_request = answer(story)
        client.AnswerEnquiry(answer_request)
        return story.ngo, e.TakeOfferRequest(
            id=answer_request.id, service_id=answer_request.service_id, answer=answer_request.answer
        )

    return {
        "PreviewEnquiry": preview,
        "CreateEnquiry": create,
        "GetEnquiry": request_on("shelter", enquiry, e.GetEnquiryRequest()),
        "ListEnquiries": lambda s: (
            s.ngo,
            e.ListEnquiriesRequest(box=e.ENQUIRY_BOX_ASKED, page_size=2),
        ),
        "AnswerEnquiry": answer,
        "TakeOffer": take,
        "CancelEnquiry": request_on("ngo", enquiry, e.CancelEnquiryRequest()),
        "ListUnmetNeeds": lambda s: (s.coordinator, e.ListUnmetNeedsRequest()),
    }


REQUESTS = (
    referral_requests()
    | people_requests()
    | line_requests()
    | campaign_requests()
    | plan_requests()
    | enquiry_requests()
)
