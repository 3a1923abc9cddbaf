"""Enquiries by rpc: the asked services, the views and rights of each side, and taken offers."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest

from protos.referrals.v1 import enquiries_pb2 as e
from protos.referrals.v1 import facts_pb2
from protos.referrals.v1 import referrals_pb2 as pb
from services.referrals.network.usecases.deadlines import DeadlineScheduler
from services.referrals.referrals.store import enquiries as store
from tests.builders import NOT_FOUND, NOTHING_UNSAFE, refusal, wrong_fields
from tests.referrals.conftest import ORG, SERVICE, Client, Service, Story
from tests.referrals.test_subscriptions import PartnersFacts
from tests.referrals.test_withdrawal import run_concurrently

CONTENT = e.EnquiryContent(
    need_code="HOU.EMG",
    urgency=pb.URGENCY_EMERGENCY,
    age_band=pb.AGE_BAND_18_TO_24,
    gender_code=pb.PERSON_GENDER_FEMININE,
    dependants=1,
    languages=["es"],
    country="NI",
    department="NI-CI",
)
SERVICES = [SERVICE["shelter_bed"], SERVICE["clinic_visit"], SERVICE["police_report"]]
CONFLICT = "FAILED_PRECONDITION"
OFFER_GONE = (CONFLICT, "offer_gone")
TOO_MANY = (CONFLICT, "too_many_enquiries")


class EnquiryScene:
    """The clients of an enquiry by the NGO to shelter and clinic; the police is left out."""

    def __init__(self, service: Service, story: Story) -> None:
        self.service, self.story = service, story
        self.ngo, self.shelter, self.clinic = (
            service.as_(name, "WORKER") for name in ("ngo", "shelter", "clinic")
        )

    def create(
        self, content: e.EnquiryContent = CONTENT, client: Client | None = None, **values: Any
    ) -> e.Enquiry:
        values.setdefault("service_ids", SERVICES)
        enquiry: e.Enquiry = (client or self.ngo).CreateEnquiry(
            content=content,
            request_id=self.story.request_id(),
            **(values if "excluded_organization_ids" in values else NOTHING_UNSAFE | values),
        )
        return enquiry

    def seen_by(self, client: Client, enquiry: e.Enquiry) -> e.Enquiry:
        return cast(e.Enquiry, client.GetEnquiry(id=enquiry.id))

    def answer(self, name: str, enquiry: e.Enquiry, answer: str, reason: str = "") -> e.Enquiry:
        client = getattr(self, name)
        etag = self.seen_by(client, enquiry).etag
        return cast(
            e.Enquiry, client.AnswerEnquiry(answer_request(name, enquiry, answer, reason, etag))
        )

    def take(
        self,
        enquiry: e.Enquiry,
        name: str = "shelter",
        answer: str = "yes",
        client: Client | None = None,
    ) -> e.Enquiry:
        return cast(e.Enquiry, (client or self.ngo).TakeOffer(take_request(enquiry, name, answer)))

    def answered(self, **answers: str) -> e.Enquiry:
        """Returns a new enquiry that these organisations have answered."""
        enquiry = self.create()
        for name, answer in answers.items():
            self.answer(name, enquiry, answer, "no_capacity" if answer == "no" else "")
        return enquiry

    def matched(self, answer: str = "yes", **values: Any) -> e.Enquiry:
        """Returns an enquiry whose offer by the shelter was taken."""
        enquiry = self.create(**values)
        self.answer("shelter", enquiry, answer)
        return self.take(enquiry, answer=answer)

    def cancel(self, enquiry: e.Enquiry) -> None:
        self.ngo.CancelEnquiry(id=enquiry.id, etag=enquiry.etag)

    def refer(self, enquiry: e.Enquiry, **values: Any) -> pb.Referral:
        """Opens a draft for the offer that was taken."""
        draft: pb.Referral = self.ngo.CreateReferral(
            **NOTHING_UNSAFE, person_id=self.story.person().id, enquiry_id=enquiry.id, **values
        )
        return draft

    def fire(self, after: timedelta = timedelta()) -> int:
        """Lets this time pass, and fires the deadlines of enquiries that are due then."""
        self.service.clock.advance(after)
        return DeadlineScheduler(
            self.service.made.enquiries,
            self.service.database,
            self.service.clock,
            store.next_time,
            "enquiries",
        ).fire()

    def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        return self.service.rows(statement, *values)

    def facts(self, enquiry: e.Enquiry) -> list[tuple[str, facts_pb2.EnquiryFact]]:
        rows = self.service.rows(
            "SELECT type, payload FROM outbox WHERE subject = %s ORDER BY version", enquiry.id
        )
        return [
            (row["type"].split(".")[2], facts_pb2.EnquiryFact.FromString(row["payload"]))
            for row in rows
        ]


SERVICE_OF = {"shelter": SERVICE["shelter_bed"], "clinic": SERVICE["clinic_visit"]}


def answer_request(
    name: str, enquiry: e.Enquiry, answer: str, reason: str = "", etag: str = "v1"
) -> e.AnswerEnquiryRequest:
    return e.AnswerEnquiryRequest(
        id=enquiry.id,
        etag=etag,
        service_id=SERVICE_OF[name],
        answer=e.OfferAnswer.Value(f"OFFER_ANSWER_{answer.upper()}"),
        reason_code=pb.DeclineReason.Value(f"DECLINE_REASON_{reason.upper()}") if reason else 0,  # type: ignore[arg-type]
    )


def take_request(
    enquiry: e.Enquiry, name: str = "shelter", answer: str = "yes"
) -> e.TakeOfferRequest:
    return e.TakeOfferRequest(
        id=enquiry.id,
        service_id=SERVICE_OF[name],
        answer=e.OfferAnswer.Value(f"OFFER_ANSWER_{answer.upper()}"),
    )


@pytest.fixture
def scene(service: Service, story: Story) -> Iterator[EnquiryScene]:
    yield from new_scene(service, story)


def new_scene(service: Service, story: Story) -> Iterator[EnquiryScene]:
    """Yields the clients of enquiries; deletes all enquiries afterwards.

    Open enquiries are limited for each member, and all tests use the same member.
    """
    yield EnquiryScene(service, story)
    for table in ("enquiry_offers", "enquiries"):
        service.as_owner(f"DELETE FROM {table}")


def enquiry_ids(client: Client, box: e.EnquiryBox.ValueType, **values: Any) -> list[str]:
    return [enquiry.id for enquiry in client.ListEnquiries(box=box, **values).enquiries]


# The asked organisations, and what each side sees.


def test_an_enquiry_asks_neither_the_police_nor_an_unsafe_member_nor_the_asker_itself(
    scene: EnquiryScene,
) -> None:
    assert {offer.service_id for offer in scene.create().offers} == {
        SERVICE["shelter_bed"],
        SERVICE["clinic_visit"],
    }
    enquiry = scene.create(excluded_organization_ids=[ORG["clinic"]])
    assert [offer.organization_id for offer in enquiry.offers] == [ORG["shelter"]]
    assert enquiry.excluded_organization_ids == [ORG["clinic"]]
    for client, service_id in (
        (scene.ngo, SERVICE["police_report"]),
        (scene.ngo, "f" * 32),
        (scene.ngo, "no id"),
        (scene.shelter, SERVICE["shelter_bed"]),
    ):
        create = partial(scene.create, client=client, service_ids=[service_id])
        assert refusal(create) == (CONFLICT, "service_unknown")


def test_a_service_of_a_suspended_member_is_not_asked(scene: EnquiryScene) -> None:
    with scene.service.member_with_status("clinic", "SUSPENDED", active=False):
        assert [offer.organization_id for offer in scene.create().offers] == [ORG["shelter"]]


def test_a_receiver_sees_the_content_of_an_enquiry_but_no_asker_other_receiver_or_answer(
    scene: EnquiryScene,
) -> None:
    person = scene.story.person()
    enquiry = scene.create(person_id=person.id, excluded_organization_ids=[ORG["police"]])
    scene.answer("clinic", enquiry, "no", "no_capacity")
    copy = scene.seen_by(scene.shelter, enquiry)
    assert copy.content == CONTENT
    assert (copy.side, copy.turn) == (pb.SIDE_RECEIVER, pb.TURN_RECEIVER)
    assert [offer.service_id for offer in copy.offers] == [SERVICE["shelter_bed"]]
    secrets = (
        ORG["ngo"],
        ORG["clinic"],
        SERVICE["clinic_visit"],
        person.id,
        ORG["police"],
        scene.ngo.caller.id,
    )
    assert [secret for secret in secrets if secret.encode() in copy.SerializeToString()] == []


def test_the_answer_of_one_receiver_changes_nothing_for_another(scene: EnquiryScene) -> None:
    enquiry = scene.create()

    def shown_to_shelter() -> tuple[e.Enquiry, str]:
        return scene.seen_by(scene.shelter, enquiry), scene.shelter.GetQueueVersion().version

    former_view = shown_to_shelter()
    scene.service.clock.advance(timedelta(minutes=1))
    scene.answer("clinic", enquiry, "yes")
    assert shown_to_shelter() == former_view
    assert scene.seen_by(scene.ngo, enquiry).turn == pb.TURN_SENDER


@pytest.mark.parametrize(
    ("organization", "role"),
    [
        ("hotline", "OPERATOR"),
        ("police", "WORKER"),
        ("coalition", "WORKER"),
        ("coalition", "MANAGER"),
    ],
)
def test_an_uninvolved_worker_cannot_find_an_enquiry(
    scene: EnquiryScene, organization: str, role: str
) -> None:
    client, new_enquiry = scene.service.as_(organization, role), scene.create()
    for enquiry in (new_enquiry, e.Enquiry(id="f" * 32), e.Enquiry(id="no id")):
        for attempt in (
            partial(client.GetEnquiry, id=enquiry.id),
            partial(client.AnswerEnquiry, answer_request("shelter", enquiry, "yes")),
            partial(client.TakeOffer, take_request(enquiry)),
            partial(client.CancelEnquiry, id=enquiry.id, etag="v1"),
        ):
            assert refusal(attempt) == NOT_FOUND
    assert (
        enquiry_ids(client, e.ENQUIRY_BOX_ASKED)
        == enquiry_ids(client, e.ENQUIRY_BOX_RECEIVED)
        == []
    )


def test_a_receiver_of_an_enquiry_can_only_answer_and_only_for_itself(scene: EnquiryScene) -> None:
    enquiry = scene.create()
    etag = scene.answer("shelter", enquiry, "yes").etag
    for attempt in (
        partial(scene.shelter.TakeOffer, take_request(enquiry)),
        partial(scene.shelter.CancelEnquiry, id=enquiry.id, etag="v1"),
        partial(scene.shelter.AnswerEnquiry, answer_request("clinic", enquiry, "yes", etag=etag)),
        partial(scene.ngo.AnswerEnquiry, answer_request("shelter", enquiry, "yes")),
    ):
        assert refusal(attempt) == NOT_FOUND


def test_an_enquiry_needs_a_contact_and_file_of_its_own_organisation(scene: EnquiryScene) -> None:
    foreign_contact, foreign_file = scene.story.contact().contact, scene.story.person()
    for create in (
        partial(scene.create, contact_id=foreign_contact.id),
        partial(scene.create, client=scene.shelter, person_id=foreign_file.id),
    ):
        assert refusal(create) == NOT_FOUND


# Refusals.


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        ({"need_code": ""}, ("content.need_code", "required")),
        ({"need_code": "HOUSE"}, ("content.need_code", "unknown_code")),
        ({"urgency": 0}, ("content.urgency", "required")),
        ({"department": "CR-SJ"}, ("content.department", "unknown_code")),
        ({"department": "NI-ZZ"}, ("content.department", "unknown_code")),
        ({"dependants": 21}, ("content.dependants", "out_of_range")),
        ({"languages": ["spanisch!"]}, ("content.languages.0", "malformed")),
    ],
)
def test_the_refusal_of_an_enquiry_names_its_invalid_field(
    scene: EnquiryScene, change: dict[str, Any], violation: tuple[str, str]
) -> None:
    content = e.EnquiryContent()
    content.CopyFrom(CONTENT)
    for name in change:
        content.ClearField(name)  # type: ignore[arg-type]
    content.MergeFrom(e.EnquiryContent(**change))
    assert wrong_fields(lambda: scene.create(content)) == [violation]


def test_an_enquiry_asks_at_most_fifty_services(scene: EnquiryScene) -> None:
    assert wrong_fields(lambda: scene.create(service_ids=["f" * 32] * 51)) == [
        ("service_ids", "too_long")
    ]


@pytest.mark.parametrize(
    ("answer", "reason", "violation_reason"),
    [("no", "", "required"), ("yes", "other", "out_of_range")],
)
def test_a_reason_is_required_for_the_answer_no_and_refused_for_the_answer_yes(
    scene: EnquiryScene, answer: str, reason: str, violation_reason: str
) -> None:
    enquiry = scene.create()
    assert wrong_fields(lambda: scene.answer("shelter", enquiry, answer, reason)) == [
        ("reason_code", violation_reason)
    ]


def test_a_member_may_have_twenty_open_enquiries_or_two_while_on_probation(
    scene: EnquiryScene,
) -> None:
    enquiries = [scene.create() for _ in range(20)]
    assert refusal(scene.create) == TOO_MANY
    scene.cancel(enquiries[-1])
    scene.create()
    with scene.service.member_with_status("clinic", "PROBATION"):
        create = partial(scene.create, client=scene.clinic, service_ids=[SERVICE["shelter_bed"]])
        for _ in range(2):
            create()
        assert refusal(create) == TOO_MANY


def test_cancelling_enquiries_does_not_evade_the_limit(scene: EnquiryScene) -> None:
    with scene.service.member_with_status("ngo", "PROBATION"):
        for _ in range(5):
            scene.cancel(scene.create())
        assert refusal(scene.create) == TOO_MANY
        scene.service.clock.advance(timedelta(hours=25))
        scene.create()


# Answers, and taking an offer.


def test_an_answer_may_change_while_the_enquiry_is_open_but_not_with_a_stale_etag(
    scene: EnquiryScene,
) -> None:
    enquiry = scene.create()
    first_answer = scene.answer("shelter", enquiry, "yes")
    changed_answer = scene.answer("shelter", enquiry, "waitlist")
    assert changed_answer.offers[0].answer == e.OFFER_ANSWER_WAITLIST
    assert changed_answer.turn == pb.TURN_SENDER
    stale_answer = answer_request("shelter", enquiry, "no", "other", first_answer.etag)
    assert refusal(lambda: scene.shelter.AnswerEnquiry(stale_answer)) == ("ABORTED", "stale_etag")


def test_only_the_first_offer_is_published_as_first_offer(scene: EnquiryScene) -> None:
    enquiry = scene.answered(clinic="no", shelter="maybe")
    scene.answer("shelter", enquiry, "yes")
    scene.answer("clinic", enquiry, "yes")
    facts = scene.facts(enquiry)
    assert [(verb, fact.first_offer) for verb, fact in facts] == [
        ("opened", False),
        ("answered", False),
        ("answered", True),
        ("answered", False),
        ("answered", False),
    ]
    assert list(facts[0][1].asked_organization_ids) == sorted([ORG["shelter"], ORG["clinic"]])
    assert facts[1][1].reason_code == "no_capacity"
    assert (facts[1][1].service_id, facts[1][1].actor_organization_id) == (
        SERVICE["clinic_visit"],
        ORG["clinic"],
    )


def test_once_an_offer_is_taken_the_other_copies_are_closed_and_blanked_in_the_database(
    scene: EnquiryScene,
) -> None:
    enquiry = scene.create(keep_unused=True)
    for name in SERVICE_OF:
        scene.answer(name, enquiry, "yes")
    matched_enquiry = scene.take(enquiry)
    assert (matched_enquiry.state, matched_enquiry.taken_service_id) == (
        e.ENQUIRY_STATE_MATCHED,
        SERVICE["shelter_bed"],
    )
    copy = scene.seen_by(scene.clinic, enquiry)
    assert (copy.state, copy.turn, copy.HasField("content"), copy.taken_service_id) == (
        e.ENQUIRY_STATE_MATCHED,
        0,
        False,
        "",
    )
    assert scene.seen_by(scene.shelter, enquiry).content == CONTENT
    rows = scene.service.rows(
        "SELECT need_code, urgency, age_band, gender_code, dependants, languages,"
        " accessibility_codes, country, department FROM enquiry_offers"
        " WHERE enquiry_id = %s AND NOT taken",
        enquiry.id,
    )
    assert [set(row.values()) for row in rows] == [{None}]


@pytest.mark.parametrize("answer", ["yes", "maybe", "waitlist"])
def test_any_kind_of_offer_may_be_taken(scene: EnquiryScene, answer: str) -> None:
    assert scene.matched(answer=answer).state == e.ENQUIRY_STATE_MATCHED


def test_only_a_current_offer_can_be_taken(scene: EnquiryScene) -> None:
    enquiry = scene.create()
    assert refusal(lambda: scene.take(enquiry)) == OFFER_GONE
    scene.answer("shelter", enquiry, "no", "no_capacity")
    for answer in ("yes", "no"):
        assert refusal(partial(scene.take, enquiry, answer=answer)) == OFFER_GONE
    scene.answer("shelter", enquiry, "maybe")
    assert refusal(lambda: scene.take(enquiry)) == OFFER_GONE, (
        "the offer is no longer a yes, as the request states"
    )
    request = e.TakeOfferRequest(id=enquiry.id, service_id="f" * 32, answer=e.OFFER_ANSWER_YES)
    assert refusal(lambda: scene.ngo.TakeOffer(request)) == OFFER_GONE


def test_the_offer_of_a_suspended_member_cannot_be_taken_and_the_others_stay_open(
    scene: EnquiryScene,
) -> None:
    enquiry, partners_facts = (
        scene.answered(shelter="yes", clinic="yes"),
        PartnersFacts(scene.service),
    )
    partners_facts.organization("shelter", "SUSPENDED")
    assert refusal(lambda: scene.take(enquiry)) == OFFER_GONE
    partners_facts.organization("shelter", "APPROVED")
    partners_facts.service_of("shelter_bed", "shelter", False)
    assert refusal(lambda: scene.take(enquiry)) == OFFER_GONE
    partners_facts.service_of("shelter_bed", "shelter", True)
    assert scene.seen_by(scene.clinic, enquiry).state == e.ENQUIRY_STATE_OPEN
    assert scene.take(enquiry, "clinic").state == e.ENQUIRY_STATE_MATCHED


def test_one_of_two_concurrent_takers_of_an_offer_succeeds(scene: EnquiryScene) -> None:
    for _ in range(5):
        enquiry = scene.answered(shelter="yes", clinic="yes")
        takes = [partial(scene.take, enquiry, name) for name in SERVICE_OF]
        outcomes = dict(zip(run_concurrently(*takes), SERVICE_OF.values(), strict=True))
        assert outcomes.keys() == {"OK", "enquiry_taken"}
        assert scene.seen_by(scene.ngo, enquiry).taken_service_id == outcomes["OK"]
        assert [verb for verb, _ in scene.facts(enquiry)].count("matched") == 1


def test_an_answer_to_a_closed_enquiry_is_refused_with_the_reason_of_its_end(
    scene: EnquiryScene,
) -> None:
    matched_enquiry, cancelled_enquiry = scene.answered(clinic="yes"), scene.create()
    scene.take(matched_enquiry, "clinic")
    scene.refer(matched_enquiry)
    scene.cancel(cancelled_enquiry)
    for enquiry, reason in (
        (matched_enquiry, "enquiry_taken"),
        (cancelled_enquiry, "enquiry_cancelled"),
        (scene.answered(shelter="no", clinic="no"), "enquiry_exhausted"),
    ):
        for attempt in (
            partial(scene.answer, "shelter", enquiry, "yes"),
            partial(scene.take, enquiry),
            partial(scene.ngo.CancelEnquiry, id=enquiry.id, etag="v1"),
        ):
            assert refusal(attempt) == (CONFLICT, reason)
